// SPDX-License-Identifier: Apache-2.0
//! Writes a program for the stub: slots, operations, arena.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use stub::wire;

/// A program in the making.
#[derive(Debug)]
pub(crate) struct Writer<'fd> {
    slots: Vec<i32>,
    inherited: Vec<BorrowedFd<'fd>>,
    operations: Vec<wire::Operation>,
    arena: Vec<u8>,
    texts: HashMap<Vec<u8>, u64, std::hash::BuildHasherDefault<Fnv>>,
    step: u32,
}

/// A hash without a random key: nobody else chooses what is in this table, and no entropy is asked for.
#[derive(Default)]
pub(crate) struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl<'fd> Writer<'fd> {
    /// `channel` goes to slot 0: the stub reports there.
    pub(crate) fn new(channel: BorrowedFd<'fd>) -> Self {
        // Offset 0 ends lists: nothing may be there.
        let arena = Vec::with_capacity(8192);
        let mut writer = Self {
            slots: Vec::new(),
            inherited: Vec::new(),
            operations: Vec::with_capacity(128),
            arena,
            texts: HashMap::default(),
            step: u32::MAX,
        };
        writer.arena.extend([0; 8]);
        writer.slot(channel);
        writer
    }

    /// Operations from now on belong to this step of the plan.
    pub(crate) fn at(&mut self, step: usize) {
        self.step = u32::try_from(step).unwrap_or(u32::MAX);
    }

    /// A slot that holds a descriptor which the program inherits.
    pub(crate) fn slot(&mut self, fd: BorrowedFd<'fd>) -> u64 {
        self.inherited.push(fd);
        self.slots.push(fd.as_raw_fd());
        self.slots.len() as u64 - 1
    }

    /// A slot that some operation will fill.
    pub(crate) fn empty_slot(&mut self) -> u64 {
        self.slots.push(-1);
        self.slots.len() as u64 - 1
    }

    pub(crate) fn text(&mut self, text: impl AsRef<OsStr>) -> u64 {
        let bytes = text.as_ref().as_bytes();
        if let Some(known) = self.texts.get(bytes) {
            return *known;
        }
        let at = self.arena.len() as u64;
        self.arena.extend(bytes.iter().filter(|byte| **byte != 0));
        self.arena.push(0);
        self.texts.insert(bytes.to_vec(), at);
        at
    }

    pub(crate) fn path(&mut self, path: &Path) -> u64 {
        self.text(path.as_os_str())
    }

    /// Bytes, aligned as words.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u64 {
        self.arena.resize(self.arena.len().next_multiple_of(8), 0);
        let at = self.arena.len() as u64;
        self.arena.extend(bytes);
        at
    }

    pub(crate) fn list<T: AsRef<OsStr>>(&mut self, texts: &[T]) -> u64 {
        let mut words = Vec::with_capacity(texts.len() * 8 + 8);
        for text in texts {
            words.extend(self.text(text.as_ref()).to_le_bytes());
        }
        words.extend([0; 8]);
        self.bytes(&words)
    }

    /// Parameters of a file system: `key` or `key=value`.
    pub(crate) fn parameters<T: AsRef<str>>(&mut self, parameters: &[T]) -> u64 {
        let mut bytes = Vec::new();
        for parameter in parameters {
            let (kind, key, value) = match parameter.as_ref().split_once('=') {
                Some((key, value)) => (2, key, Some(value)),
                None => (1, parameter.as_ref(), None),
            };
            bytes.push(kind);
            for part in [Some(key), value].into_iter().flatten() {
                bytes.extend(part.bytes().filter(|byte| *byte != 0));
                bytes.push(0);
            }
        }
        bytes.push(0);
        self.bytes(&bytes)
    }

    pub(crate) fn push(&mut self, code: u16, operands: &[u64]) {
        self.push_with(code, 0, operands);
    }

    pub(crate) fn push_with(&mut self, code: u16, flags: u16, operands: &[u64]) {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(operands) {
            *to = *from;
        }
        self.operations.push(wire::Operation { code, flags, step: self.step, operands: all });
    }

    /// The bytes of the program. One that the stub would not take must not start at all: its silence means success.
    pub(crate) fn finish(mut self) -> kernel::Result<(Vec<u8>, Vec<BorrowedFd<'fd>>)> {
        if self.slots.len() > wire::SLOTS {
            let call = format!("plan: {} mounts and descriptors, more than {}", self.slots.len(), wire::SLOTS);
            return Err(kernel::Error::new(call, kernel::Errno::TOOBIG));
        }
        if !self.slots.len().is_multiple_of(2) {
            self.slots.push(-1);
        }
        let mut bytes = Vec::with_capacity(
            wire::HEADER + self.slots.len() * 4 + self.operations.len() * wire::OPERATION + self.arena.len(),
        );
        for word in [wire::MAGIC, wire::VERSION, number(self.slots.len()), number(self.operations.len())] {
            bytes.extend(word.to_le_bytes());
        }
        for slot in &self.slots {
            bytes.extend(slot.to_le_bytes());
        }
        for one in &self.operations {
            bytes.extend(one.code.to_le_bytes());
            bytes.extend(one.flags.to_le_bytes());
            bytes.extend(one.step.to_le_bytes());
            for operand in one.operands {
                bytes.extend(operand.to_le_bytes());
            }
        }
        bytes.extend(&self.arena);
        Ok((bytes, self.inherited))
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut writer = Writer::new(file.as_fd());
        writer.at(7);
        let path = writer.text("/bin/sh");
        let list = writer.list(&["a", "bc"]);
        writer.push_with(wire::code::EXECUTE, 3, &[path, list]);
        let (bytes, inherited) = writer.finish().unwrap();
        assert_eq!(inherited.len(), 1);
        let program = wire::Program::new(&bytes).unwrap();
        assert_eq!((program.len(), program.slot(0)), (1, Some(file.as_raw_fd())));
        let one = program.operation(0).unwrap();
        assert_eq!((one.code, one.flags, one.step), (wire::code::EXECUTE, 3, 7));
        assert_eq!(program.text(one.operands[0]), Some(&b"/bin/sh\0"[..]));
        assert!(program.is_list(one.operands[1]));
        let texts: Vec<_> = program.list(one.operands[1]).map(|at| program.text(at).unwrap()).collect();
        assert_eq!(texts, [&b"a\0"[..], b"bc\0"]);
    }
}
