// SPDX-License-Identifier: Apache-2.0
//! The D-Bus wire format, the reading side: bytes of somebody else, either endian, every step within bounds.

use super::wire::{self, LARGEST, START};

/// How deep types may be within each other, as the format's specification says.
const DEPTH: u8 = 64;

/// A place in bytes; nothing where there is no such value.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    /// At the first argument.
    pub(crate) fn of(message: &'a Message) -> Self {
        Self { bytes: &message.body, at: 0, big: message.big }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Padding is zero.
    fn align(&mut self, to: usize) -> Option<()> {
        let padding = self.at.checked_next_multiple_of(to)? - self.at;
        self.take(padding)?.iter().all(|byte| *byte == 0).then_some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let text = self.take(length)?;
        (self.u8()? == 0 && !text.contains(&0)).then_some(())?;
        std::str::from_utf8(text).ok()
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        let length = self.u32()?;
        self.text(usize::try_from(length).ok()?)
    }

    pub(crate) fn signature(&mut self) -> Option<&'a str> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    /// Over a value of the first type of `signature`; what is left of that.
    pub(crate) fn skip<'s>(&mut self, signature: &'s [u8]) -> Option<&'s [u8]> {
        self.skip_at(signature, DEPTH)
    }

    fn skip_at<'s>(&mut self, signature: &'s [u8], depth: u8) -> Option<&'s [u8]> {
        let depth = depth.checked_sub(1)?;
        let (kind, rest) = signature.split_first()?;
        match kind {
            b's' | b'o' => drop(self.string()?),
            b'g' => drop(self.signature()?),
            b'v' => {
                let inner = self.signature()?.as_bytes();
                self.skip_at(inner, depth)?.is_empty().then_some(())?;
            }
            b'a' => return self.skip_array(rest, depth),
            b'(' | b'{' => {
                self.align(8)?;
                let mut members = self.skip_at(rest, depth)?;
                loop {
                    match members.split_first()? {
                        (b')' | b'}', rest) => return Some(rest),
                        _ => members = self.skip_at(members, depth)?,
                    }
                }
            }
            basic => {
                let size = alignment(*basic)?;
                self.align(size)?;
                self.take(size)?;
            }
        }
        Some(rest)
    }

    fn skip_array<'s>(&mut self, element: &'s [u8], depth: u8) -> Option<&'s [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.align(alignment(*element.first()?)?)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        while self.at < end {
            self.skip_at(element, depth)?;
        }
        (self.at == end).then_some(())?;
        after_one(element, depth)
    }
}

/// Of a type by its first letter; the size too for those of fixed size.
fn alignment(kind: u8) -> Option<usize> {
    Some(match kind {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => return None,
    })
}

/// What is left of a signature after its first type.
fn after_one(signature: &[u8], depth: u8) -> Option<&[u8]> {
    let depth = depth.checked_sub(1)?;
    let (kind, rest) = signature.split_first()?;
    alignment(*kind)?;
    match kind {
        b'a' => after_one(rest, depth),
        b'(' | b'{' => {
            let mut members = after_one(rest, depth)?;
            loop {
                match members.split_first()? {
                    (b')' | b'}', rest) => return Some(rest),
                    _ => members = after_one(members, depth)?,
                }
            }
        }
        _ => Some(rest),
    }
}

/// A message that has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) serial: u32,
    pub(crate) reply_serial: Option<u32>,
    pub(crate) path: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) sender: Option<String>,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
    big: bool,
}

impl Message {
    /// The length of a message by its first 16 bytes; nothing when it is none, or too long.
    pub(crate) fn length(start: &[u8]) -> Option<usize> {
        let big = match start.first()? {
            b'l' => false,
            b'B' => true,
            _ => return None,
        };
        let mut reader = Reader { bytes: start, at: 3, big };
        (reader.u8()? == 1).then_some(())?;
        let body = usize::try_from(reader.u32()?).ok()?;
        let _serial = reader.u32()?;
        let fields = usize::try_from(reader.u32()?).ok()?;
        let header = START.checked_add(fields)?.checked_next_multiple_of(8)?;
        header.checked_add(body).filter(|length| *length <= LARGEST)
    }

    /// The one message that `bytes` are.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        (Self::length(bytes)? == bytes.len()).then_some(())?;
        let mut reader = Reader { bytes, at: 1, big: bytes.first() == Some(&b'B') };
        let mut message = Self { kind: reader.u8()?, big: reader.big, ..Self::default() };
        reader.take(2)?;
        let body = usize::try_from(reader.u32()?).ok()?;
        message.serial = reader.u32().filter(|serial| *serial != 0)?;
        let fields = usize::try_from(reader.u32()?).ok()?;
        let end = START.checked_add(fields)?;
        while reader.at < end {
            message.field(&mut reader)?;
        }
        (reader.at == end).then_some(())?;
        reader.align(8)?;
        message.body = reader.take(body)?.to_vec();
        message.is_whole().then_some(message)
    }

    fn field(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.align(8)?;
        let code = reader.u8()?;
        let kind = reader.signature()?;
        let expected = match code {
            wire::PATH => "o",
            wire::INTERFACE | wire::MEMBER | wire::ERROR_NAME | wire::DESTINATION | wire::SENDER => "s",
            wire::REPLY_SERIAL => "u",
            wire::SIGNATURE => "g",
            0 => return None,
            _ => return reader.skip(kind.as_bytes())?.is_empty().then_some(()),
        };
        (kind == expected).then_some(())?;
        match code {
            wire::REPLY_SERIAL => self.reply_serial = Some(reader.u32()?),
            wire::SIGNATURE => reader.signature()?.clone_into(&mut self.signature),
            _ => {
                let text = Some(reader.string()?.to_owned());
                match code {
                    wire::PATH => self.path = text,
                    wire::INTERFACE => self.interface = text,
                    wire::MEMBER => self.member = text,
                    wire::ERROR_NAME => self.error = text,
                    wire::SENDER => self.sender = text,
                    _ => {}
                }
            }
        }
        Some(())
    }

    /// The fields that its kind must have.
    fn is_whole(&self) -> bool {
        match self.kind {
            wire::CALL => self.path.is_some() && self.member.is_some(),
            wire::RETURN => self.reply_serial.is_some(),
            wire::ERROR => self.reply_serial.is_some() && self.error.is_some(),
            wire::SIGNAL => self.path.is_some() && self.interface.is_some() && self.member.is_some(),
            kind => kind != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A `JobRemoved` as sd-bus writes it, with a field of a later protocol that nobody knows: `a{sv}`.
    fn signal(big: bool) -> Vec<u8> {
        let u32 = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let string = |out: &mut Vec<u8>, text: &str| {
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(u32(u32::try_from(text.len()).unwrap()));
            out.extend(text.as_bytes());
            out.push(0);
        };
        let mut body = u32(7).to_vec();
        for text in ["/org/freedesktop/systemd1/job/7", "x.scope", "done"] {
            string(&mut body, text);
        }
        let mut fields = Vec::new();
        let texts = [
            (1, b'o', "/org/freedesktop/systemd1"),
            (2, b's', "a.Manager"),
            (3, b's', "JobRemoved"),
            (7, b's', ":1.1"),
        ];
        for (code, kind, text) in texts {
            fields.resize(fields.len().next_multiple_of(8), 0);
            fields.extend([code, 1, kind, 0]);
            string(&mut fields, text);
        }
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend(b"\x08\x01g\x00\x04uoss\x00");
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend(b"\x63\x05a{sv}\x00");
        let mut bytes = vec![if big { b'B' } else { b'l' }, 4, 1, 1];
        bytes.extend(u32(u32::try_from(body.len()).unwrap()));
        bytes.extend(u32(99));
        let at = fields.len();
        fields.extend([0; 4]); // the array's length, for now
        fields.resize(fields.len().next_multiple_of(8), 0);
        let first = fields.len();
        string(&mut fields, "k");
        fields.extend(b"\x02at\x00");
        fields.resize(fields.len().next_multiple_of(4), 0);
        fields.extend(u32(8));
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([1; 8]);
        let length = u32(u32::try_from(fields.len() - first).unwrap());
        fields[at..at + 4].copy_from_slice(&length);
        bytes.extend(u32(u32::try_from(fields.len()).unwrap()));
        bytes.extend(&fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(&body);
        bytes
    }

    #[test]
    fn signals_of_either_endian() {
        for big in [false, true] {
            let message = Message::parse(&signal(big)).unwrap();
            assert_eq!((message.kind, message.serial, message.signature.as_str()), (wire::SIGNAL, 99, "uoss"));
            assert_eq!((message.member.as_deref(), message.sender.as_deref()), (Some("JobRemoved"), Some(":1.1")));
            let mut reader = Reader::of(&message);
            assert_eq!(reader.u32(), Some(7));
            assert_eq!(reader.string(), Some("/org/freedesktop/systemd1/job/7"));
            assert_eq!((reader.string(), reader.string(), reader.string()), (Some("x.scope"), Some("done"), None));
        }
    }

    /// Everything that is done with a message that has come.
    fn exercise(bytes: &[u8]) {
        let _ = Message::length(bytes);
        let Some(message) = Message::parse(bytes) else { return };
        let mut signature = message.signature.as_bytes();
        let mut reader = Reader::of(&message);
        while let Some(rest) = reader.skip(signature) {
            signature = rest;
        }
        let mut reader = Reader::of(&message);
        let _ = (reader.u32(), reader.string(), reader.signature());
    }

    #[test]
    fn every_truncation_and_every_changed_byte() {
        for big in [false, true] {
            let whole = signal(big);
            for length in 0..whole.len() {
                assert_eq!(Message::parse(&whole[..length]), None);
                exercise(&whole[..length]);
            }
            for at in 0..whole.len() {
                for value in 0..=u8::MAX {
                    let mut bytes = whole.clone();
                    bytes[at] = value;
                    exercise(&bytes);
                }
            }
        }
    }

    #[test]
    fn too_long_and_too_deep() {
        let start = |body: u32, fields: u32| {
            [b"l\x02\x00\x01".as_slice(), &body.to_le_bytes(), &[1, 0, 0, 0], &fields.to_le_bytes()].concat()
        };
        assert_eq!(Message::length(&start(5, 1)), Some(29));
        assert_eq!(Message::length(&start((1 << 20) - 16, 0)), Some(1 << 20));
        assert_eq!(Message::length(&start((1 << 20) - 15, 0)), None);
        assert_eq!(Message::length(&start(u32::MAX, u32::MAX)), None);
        let deep = Message { body: b"\x01v\x00".repeat(1000), ..Message::default() };
        assert_eq!(Reader::of(&deep).skip(b"v"), None);
        assert_eq!(Reader::of(&deep).skip(&[b'('; 1000]), None);
        assert_eq!(after_one(&[b'a'; 255], DEPTH), None);
        assert_eq!(Reader::of(&deep).skip(b"a()"), None, "nothing in it, and so no end");
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            exercise(&bytes);
        }

        #[test]
        fn no_signature_is_a_panic(signature in "[ybnqiuxtdsogva(){}]{0,40}", body in proptest::collection::vec(0u8..4, 0..200)) {
            let message = Message { body, ..Message::default() };
            let mut reader = Reader::of(&message);
            let _ = reader.skip(signature.as_bytes());
        }
    }
}
