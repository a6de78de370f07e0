// SPDX-License-Identifier: Apache-2.0
//! Which compression an archive has, told by its first bytes, and its bytes without it.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

/// The bytes of an archive as they came.
type Raw = BufReader<std::fs::File>;

/// The bytes of an archive without compression.
pub(crate) enum Plain {
    /// They had none.
    Stored(Raw),
    /// gzip (RFC 1952), one member after the other.
    Gzip(Box<flate2::bufread::MultiGzDecoder<Raw>>),
    /// xz.
    Xz(Box<lzma_rust2::XzReader<Raw>>),
    /// Zstandard (RFC 8878), the first frame.
    Zstd(Box<ruzstd::decoding::StreamingDecoder<Raw, ruzstd::decoding::FrameDecoder>>),
}

/// Looks at the first bytes.
pub(crate) fn decompress(mut raw: Raw) -> Result<Plain> {
    let magic = raw.fill_buf()?;
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Plain::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(raw)))
    } else if magic.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Plain::Xz(Box::new(lzma_rust2::XzReader::new(raw, true)))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(raw);
        Plain::Zstd(Box::new(decoder.map_err(|error| Error::new(ErrorKind::InvalidData, error.to_string()))?))
    } else {
        Plain::Stored(raw)
    })
}

impl Plain {
    /// What has not been decompressed yet.
    pub(crate) fn compressed(&mut self) -> &mut dyn Read {
        match self {
            Self::Stored(raw) => raw,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Xz(decoder) => decoder.inner_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Stored(raw) => raw.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
