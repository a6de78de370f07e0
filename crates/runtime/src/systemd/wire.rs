// SPDX-License-Identifier: Apache-2.0
//! The D-Bus wire format, the writing side: method calls, little endian.

use super::{Property, Value};

/// The largest message that is sent or taken.
pub(crate) const LARGEST: usize = 1 << 20;

/// Bytes of a message before its fields: enough to know its length.
pub(crate) const START: usize = 16;

/// Kinds of messages.
pub(crate) const CALL: u8 = 1;
pub(crate) const RETURN: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const SIGNAL: u8 = 4;

/// Header fields.
pub(crate) const PATH: u8 = 1;
pub(crate) const INTERFACE: u8 = 2;
pub(crate) const MEMBER: u8 = 3;
pub(crate) const ERROR_NAME: u8 = 4;
pub(crate) const REPLY_SERIAL: u8 = 5;
pub(crate) const DESTINATION: u8 = 6;
pub(crate) const SENDER: u8 = 7;
pub(crate) const SIGNATURE: u8 = 8;

/// Whoever owns the name is there or is not: nothing is started for us.
const NO_AUTO_START: u8 = 2;

/// Appends values, aligned as they have to be; what D-Bus cannot say is remembered.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    unsayable: bool,
}

impl Writer {
    pub(crate) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self, text: &str) {
        self.unsayable |= text.contains('\0');
        let length = self.length(text.len());
        self.u32(length);
        self.bytes.extend_from_slice(text.as_bytes());
        self.u8(0);
    }

    pub(crate) fn signature(&mut self, signature: &str) {
        let length = u8::try_from(signature.len()).unwrap_or_else(|_| {
            self.unsayable = true;
            0
        });
        self.u8(length);
        self.bytes.extend_from_slice(signature.as_bytes());
        self.u8(0);
    }

    /// An array whose elements are aligned to `to`: the padding before the first one is not part of its length.
    pub(crate) fn array(&mut self, to: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.bytes.len();
        self.align(to);
        let first = self.bytes.len();
        elements(self);
        let length = self.length(self.bytes.len() - first);
        if let Some(place) = self.bytes.get_mut(at - 4..at) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::U32(value) => self.u32(*value),
            Value::U64(value) => self.u64(*value),
            Value::Str(text) => self.string(text),
            Value::StrArray(list) => self.array(4, |to| list.iter().for_each(|text| to.string(text))),
            Value::U32Array(list) => self.array(4, |to| list.iter().for_each(|value| to.u32(*value))),
            Value::Bytes(bytes) => self.array(1, |to| to.bytes.extend_from_slice(bytes)),
        }
    }

    /// `a(sv)`.
    pub(crate) fn properties(&mut self, properties: &[Property]) {
        self.array(8, |to| {
            for property in properties {
                to.align(8);
                to.string(&property.name);
                to.variant(&property.value);
            }
        });
    }

    fn length(&mut self, length: usize) -> u32 {
        u32::try_from(length).unwrap_or_else(|_| {
            self.unsayable = true;
            0
        })
    }

    fn field(&mut self, code: u8, kind: &str, text: &str) {
        self.align(8);
        self.u8(code);
        self.signature(kind);
        if kind == "g" { self.signature(text) } else { self.string(text) }
    }
}

/// A method call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Whom; nobody where there is only one other side.
    pub(crate) destination: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    /// The types of what is in the body.
    pub(crate) signature: &'a str,
    pub(crate) body: Writer,
}

impl Call<'_> {
    /// The message; nothing when it cannot be said: too long, or a NUL in a string.
    pub(crate) fn encode(&self, serial: u32) -> Option<Vec<u8>> {
        let mut to = Writer::default();
        to.bytes.extend_from_slice(&[b'l', CALL, NO_AUTO_START, 1]);
        let length = to.length(self.body.bytes.len());
        to.u32(length);
        to.u32(serial);
        to.array(8, |to| {
            to.field(PATH, "o", self.path);
            to.field(INTERFACE, "s", self.interface);
            to.field(MEMBER, "s", self.member);
            if let Some(destination) = self.destination {
                to.field(DESTINATION, "s", destination);
            }
            if !self.signature.is_empty() {
                to.field(SIGNATURE, "g", self.signature);
            }
        });
        to.align(8);
        to.bytes.extend_from_slice(&self.body.bytes);
        let sayable = !to.unsayable && !self.body.unsayable && to.bytes.len() <= LARGEST;
        sayable.then_some(to.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{Message, Reader};
    use super::*;

    fn stop(unit: &str) -> Call<'_> {
        let mut body = Writer::default();
        body.string(unit);
        body.string("replace");
        Call { destination: Some("a.b"), path: "/p", interface: "i.f", member: "StopUnit", signature: "ss", body }
    }

    #[test]
    fn golden_bytes_of_a_call() {
        let expected: &[&[u8]] = &[
            b"l\x01\x02\x01",
            b"\x18\x00\x00\x00", // body: 24
            b"\x07\x00\x00\x00", // serial
            b"\x50\x00\x00\x00", // fields: 80
            b"\x01\x01o\x00\x02\x00\x00\x00/p\x00\x00\x00\x00\x00\x00",
            b"\x02\x01s\x00\x03\x00\x00\x00i.f\x00\x00\x00\x00\x00",
            b"\x03\x01s\x00\x08\x00\x00\x00StopUnit\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x06\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x02ss\x00",
            b"\x07\x00\x00\x00x.scope\x00",
            b"\x07\x00\x00\x00replace\x00",
        ];
        assert_eq!(stop("x.scope").encode(7).unwrap(), expected.concat());
    }

    #[test]
    fn values_go_there_and_back() {
        let values = [
            (Value::Bool(true), "b"),
            (Value::U32(7), "u"),
            (Value::U64(u64::MAX), "t"),
            (Value::Str("text".into()), "s"),
            (Value::StrArray(vec!["a".into(), "bcd".into()]), "as"),
            (Value::U32Array(vec![1, 2]), "au"),
            (Value::U32Array(vec![]), "au"),
            (Value::Bytes(vec![1, 2, 3]), "ay"),
        ];
        let properties: Vec<Property> =
            values.iter().map(|(value, name)| Property { name: (*name).into(), value: value.clone() }).collect();
        let mut body = Writer::default();
        body.properties(&properties);
        let call = Call { destination: None, path: "/", interface: "i", member: "M", signature: "a(sv)", body };
        let message = Message::parse(&call.encode(9).unwrap()).unwrap();
        assert_eq!((message.kind, message.serial, message.signature.as_str()), (CALL, 9, "a(sv)"));
        assert_eq!((message.path.as_deref(), message.member.as_deref()), (Some("/"), Some("M")));
        let mut reader = Reader::of(&message);
        assert_eq!(reader.skip(b"a(sv)"), Some(&b""[..]));
        assert!(reader.is_empty());
    }

    #[test]
    fn what_cannot_be_said_is_not_sent() {
        assert_eq!(stop("a\0b").encode(1), None);
        assert_eq!(stop(&"a".repeat(LARGEST)).encode(1), None);
    }
}
