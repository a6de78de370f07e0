// SPDX-License-Identifier: Apache-2.0
//! Netlink messages as bytes: written with nested attributes, and read without trust in their lengths.

/// The request flags of netlink(7).
pub mod flags {
    /// It is a request.
    pub const REQUEST: u16 = 0x1;
    /// Who asks hears what others hear who listen.
    pub const ECHO: u16 = 0x8;
    /// The kernel answers with an acknowledgement.
    pub const ACK: u16 = 0x4;
    /// All objects, not one.
    pub const DUMP: u16 = 0x300;
    /// An existing object is replaced.
    pub const REPLACE: u16 = 0x100;
    /// It is an error when the object exists.
    pub const EXCL: u16 = 0x200;
    /// The object is made when it is not there.
    pub const CREATE: u16 = 0x400;
    /// Of an answer: what is listed changed meanwhile.
    pub const INTERRUPTED: u16 = 0x10;
    /// Behind those that are there.
    pub const APPEND: u16 = 0x800;
}

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 16;

/// A message that is being written: header, the family's own header, attributes.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of this type with `flags` besides [`flags::REQUEST`]; `header` is the family's own (e.g. `struct ifinfomsg`).
    #[must_use]
    pub fn new(kind: u16, more: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0_u8; HEADER];
        bytes.splice(4..8, kind.to_ne_bytes().into_iter().chain((flags::REQUEST | more).to_ne_bytes()));
        bytes.extend(header);
        align(&mut bytes);
        Self { bytes }
    }

    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes().into_iter().chain(kind.to_ne_bytes()));
        self.bytes.extend(value);
        align(&mut self.bytes);
        self
    }

    /// Adds a text that ends with a zero byte.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds a number in this machine's order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds a number in the network's order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a number in the network's order.
    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds a byte.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    /// Adds a number in this machine's order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds bytes that are no attribute: a family's header within a nested one.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        align(&mut self.bytes);
        self
    }

    /// Adds an attribute that holds those which `fill` writes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        let head = length.to_ne_bytes().into_iter().chain((kind | NLA_F_NESTED).to_ne_bytes());
        self.bytes.splice(start..start + 4, head);
        self
    }

    /// Bytes so far. A nested attribute must stay below 65,536 of them.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a message has a header at least")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The type of the message.
    #[must_use]
    pub fn kind(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[4], self.bytes[5]])
    }

    /// The message with its length and sequence number.
    #[must_use]
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.splice(0..4, length.to_ne_bytes());
        self.bytes.splice(8..12, sequence.to_ne_bytes());
        self.bytes
    }

    pub(super) fn has_flags(&self, some: u16) -> bool {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) & some == some
    }

    pub(crate) fn add_flags(&mut self, more: u16) {
        let now = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        self.bytes.splice(6..8, (now | more).to_ne_bytes());
    }
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message that came from the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its type.
    pub kind: u16,
    /// Its sequence number: that of the request it answers.
    pub sequence: u32,
    /// Its [`flags`].
    pub flags: u16,
    /// All behind the common header.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The attributes behind a family header of `header` bytes.
    #[must_use]
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes { rest: self.body.get(header.next_multiple_of(4)..).unwrap_or_default() }
    }
}

/// The messages of one datagram; ends at the first that is broken.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let one = bytes.get(..length).filter(|one| one.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes(*one.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*one.get(6..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*one.get(8..)?.first_chunk()?);
        Some(Received { kind, sequence, flags, body: one.get(HEADER..)? })
    })
}

/// Attributes one after the other: type and value; ends at the first that is broken.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes that a nested one holds.
    #[must_use]
    pub fn of(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// The value of the first attribute of this type.
    #[must_use]
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The same as a number in this machine's order.
    #[must_use]
    pub fn get_u32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// The same as a number of one byte.
    #[must_use]
    pub fn get_u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    /// The same as attributes; none when it is not there.
    #[must_use]
    pub fn nested(self, kind: u16) -> Self {
        Self::of(self.get(kind).unwrap_or_default())
    }

    /// The same as a text without its zero byte.
    #[must_use]
    pub fn get_text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        value.get(..end).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.rest.get(2..)?.first_chunk()?) & NLA_TYPE_MASK;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::new(16, flags::ACK, &[1, 2, 3]);
        message.text(3, "eth0").nest(18, |inner| {
            inner.u32(1, 7).u8(2, 9);
        });
        let bytes = message.finish(42);
        let one = messages(&bytes).next().unwrap();
        assert_eq!((one.kind, one.sequence), (16, 42));
        let attributes = one.attributes(3);
        assert_eq!(attributes.get_text(3).unwrap(), "eth0");
        let inner = Attributes::of(attributes.get(18).unwrap());
        assert_eq!((inner.get_u32(1), inner.get(2)), (Some(7), Some(&[9_u8][..])));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic_or_endless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for one in messages(&bytes) {
                prop_assert!(one.attributes(16).count() < 200);
            }
        }
    }
}
