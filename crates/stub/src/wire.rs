// SPDX-License-Identifier: Apache-2.0
//! The wire format: a header, operations of fixed size, and an arena of bytes that they point into.
//!
//! ```text
//! 0        16              16 + 4·slots                    +56·operations
//! │ Header │ slots: i32 …  │ operations: code, flags, a–f … │ arena: bytes …
//! ```
//!
//! A *slot* is a number by which operations name a descriptor; the table gives the descriptor itself, or -1 for one that
//! an operation brings. A reference into the arena is an offset from the arena's start. Texts end with a zero byte. Lists
//! of texts are words of 8 bytes, each an offset, followed by one zero word.

/// The first bytes of every program.
pub const MAGIC: u32 = 0x4c4c_4543;

/// The version of the format: program and writer are built together, so that it never has to be read by another.
pub const VERSION: u32 = 1;

/// The most slots that a program can have.
pub const SLOTS: usize = 2048;

/// Bytes of the header.
pub const HEADER: usize = 16;

/// Bytes of an operation.
pub const OPERATION: usize = 56;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done.
    pub code: u16,
    /// How.
    pub flags: u16,
    /// The step of the plan that it belongs to.
    pub step: u32,
    /// Its six operands.
    pub operands: [u64; 6],
}

/// No slot.
pub const NONE: u64 = u64::MAX;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What an operation does. Operands are given in order; `slot`s are numbers of slots, `text`s and `bytes` offsets.
        pub mod code {
            $($(#[$doc])* pub const $name: u16 = $value;)*
        }
    };
}

codes! {
    /// flags, second: makes a child (a sibling when bit 0 of the flags is set) that goes on with the next operation; this
    /// process says `P` and the child's number, and ends.
    CLONE = 1,
    /// slot, namespace flags: joins.
    JOIN = 2,
    /// namespace flags: leaves.
    UNSHARE = 3,
    /// slot, bytes, length: writes, and closes the slot.
    WRITE = 4,
    /// first slot, count: waits for the launcher's word, which brings that many descriptors. An end instead ends this process.
    WAIT = 5,
    /// Says `S`, then waits as [`WAIT`].
    PAUSE = 6,
    /// user, group, groups (u32 each), count; flag 1: supplementary groups that may not be changed stay.
    IDENTITY = 7,
    /// mask.
    UMASK = 8,
    /// option, second, third; flag 1: a refusal does no harm.
    PRCTL = 9,
    /// A new session keyring.
    KEYRING = 10,
    /// text, length.
    HOSTNAME = 11,
    /// text, length.
    DOMAINNAME = 12,
    /// Brings the loopback device up.
    LOOPBACK = 13,
    /// text (absolute path), bytes, length: writes a file of the kernel in one call.
    WRITE_FILE = 14,
    /// text (absolute path), namespace flags: joins what the file stands for.
    JOIN_PATH = 15,
    /// `MS_*` flags: changes the propagation of all mounts.
    PROPAGATION = 16,
    /// slot of a detached mount, text (absolute path where it is attached): makes it the root of all look-ups, and stands
    /// in it. Without a mount the root is the one that is.
    ROOT = 17,
    /// result slot, text, kind (1 directory, 2 file), mode; flags: 1 make, 2 no symbolic links.
    FIND = 18,
    /// result slot, text (type), parameters, mount attributes: a new file system, detached. Parameters: a byte (1 flag, 2
    /// text, 0 end), key, and value for 2; each ends with a zero byte.
    MOUNT = 19,
    /// slot of a mount, slot of a place: attaches it there, and closes both unless flag 1 (keep the mount).
    ATTACH = 20,
    /// slot, set, clear, propagation, slot of a user namespace; flag 1: recursive.
    ATTRIBUTES = 21,
    /// result slot, slot; flag 1: recursive: a detached copy.
    COPY = 22,
    /// slot.
    CLOSE = 23,
    /// text (path), text (link): a symbolic link unless something is there.
    LINK = 24,
    /// text (path), mode with type, device number, user, group: a device node.
    NODE = 25,
    /// slot of a devpts, user, group, rows and columns (16 bits each), slot of the socket that gets the master; flag 1: it
    /// is also shown as /dev/console.
    TERMINAL = 26,
    /// slot of a directory, text (relative path), bytes, length: writes a file below it; crosses no mount, and no
    /// link but with flag 1.
    WRITE_BELOW = 27,
    /// text (path), slot of an empty directory or [`super::NONE`], slot of a null device, slot of the mount that the path
    /// is below or [`super::NONE`] for the root: hides what is there.
    MASK = 28,
    /// text (path), slot of the mount that it is below or [`super::NONE`] for the root: makes what is there read-only with
    /// all below it; missing is passed over.
    READ_ONLY = 29,
    /// Makes the current directory the root, and lets the old one go.
    PIVOT = 30,
    /// The same by moving the mount over the root and chroot(2).
    MOVE_ROOT = 31,
    /// text (path); flag 1: made when missing. Stands in a directory.
    DIRECTORY = 32,
    /// handled rights, rights below `/dev`: Landlock.
    LANDLOCK = 33,
    /// keep: the bounding set.
    BOUNDING = 34,
    /// effective, permitted, inheritable, ambient.
    CAPABILITIES = 35,
    /// flags, bytes (instructions), count, slot that gets the listener or [`super::NONE`].
    SECCOMP = 36,
    /// list (paths), list (arguments), list (environment): the program. The last operation.
    EXECUTE = 37,
    /// slot that is read from until somebody writes; closes the channel first. Errors after it go to the second slot.
    PARK = 38,
    /// text (path), list (arguments), list (environment), milliseconds or 0, slot of its standard input.
    HOOK = 39,
    /// A first process in front that reaps.
    INIT = 40,
    /// slot, number: a standard stream.
    STREAM = 41,
    /// first descriptor that is closed at execve.
    CLOSE_FROM = 42,
    /// A new session.
    SESSION = 43,
    /// bytes (`struct sched_attr`).
    SCHEDULER = 44,
    /// value of ioprio_set(2).
    IO_PRIORITY = 45,
    /// bytes (mask), length.
    AFFINITY = 46,
    /// value.
    PERSONALITY = 47,
    /// mode, bytes (mask), bits.
    MEMORY_POLICY = 48,
    /// resource, soft, hard: what this session may not raise is set as high as it goes, and told by `W`.
    LIMIT = 49,
    /// All signals at their default, none blocked.
    SIGNALS = 50,
    /// attributes, clear: of the root mount; flag 1: recursive.
    ROOT_ATTRIBUTES = 51,
    /// text (name), bytes: the process's name.
    NAME = 53,
    /// `MS_*` flags: changes the propagation of the root mount; flag 1 of `MS_REC` is in them.
    ROOT_PROPAGATION = 54,
    /// list (paths): one of them has to be a file that may be run.
    LOOK = 56,
    /// result slot, text (absolute path).
    OPEN = 55,
    /// text (path): takes away what is mounted there last.
    DETACH = 57,
    /// user: what the standard streams are of belongs to it from now on, as far as that is allowed.
    OWN_STREAMS = 60,
    /// Ends well.
    END = 58,
    /// result slot, text (absolute path of the host), type that it has to have (0: any), device number; flags: 1
    /// recursive, 2 no symbolic link in place of the last name. A detached copy, made inside: for a launcher that has no
    /// right to.
    TREE = 59,
}

/// What a program is read as; every reference is checked against the bytes that are there.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    bytes: &'a [u8],
    slots: usize,
    operations: usize,
}

impl<'a> Program<'a> {
    /// Reads the header.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let (slots, operations) = (word(8)? as usize, word(12)? as usize);
        let start = HEADER.checked_add(slots.checked_mul(4)?)?.checked_add(operations.checked_mul(OPERATION)?)?;
        let fits = word(0)? == MAGIC && word(4)? == VERSION && slots <= SLOTS && start <= bytes.len();
        fits.then_some(Self { bytes, slots, operations })
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    fn word(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }

    /// The descriptor in a slot.
    #[must_use]
    pub fn slot(&self, number: usize) -> Option<i32> {
        (number < self.slots).then_some(())?;
        let at = HEADER + number * 4;
        Some(i32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    /// An operation.
    #[must_use]
    pub fn operation(&self, number: usize) -> Option<Operation> {
        (number < self.operations).then_some(())?;
        let at = HEADER + self.slots * 4 + number * OPERATION;
        let head = self.word(at)?;
        let mut operands = [0; 6];
        for (index, operand) in operands.iter_mut().enumerate() {
            *operand = self.word(at + 8 + index * 8)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the parts of one word")]
        Some(Operation { code: head as u16, flags: (head >> 16) as u16, step: (head >> 32) as u32, operands })
    }

    /// Where the arena starts.
    #[must_use]
    pub fn arena_start(&self) -> usize {
        HEADER + self.slots * 4 + self.operations * OPERATION
    }

    fn arena(&self) -> &'a [u8] {
        self.bytes.get(self.arena_start()..).unwrap_or_default()
    }

    /// Bytes of the arena.
    #[must_use]
    pub fn bytes(&self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let offset = usize::try_from(offset).ok()?;
        self.arena().get(offset..offset.checked_add(usize::try_from(length).ok()?)?)
    }

    /// A text of the arena, with its zero byte.
    #[must_use]
    pub fn text(&self, offset: u64) -> Option<&'a [u8]> {
        let rest = self.arena().get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        rest.get(..=end)
    }

    /// The offsets of a list: each is of a text, and a zero word ends it.
    pub fn list(&self, offset: u64) -> impl Iterator<Item = u64> + 'a {
        let program = *self;
        let mut at = offset;
        core::iter::from_fn(move || {
            let bytes = program.bytes(at, 8)?;
            at = at.checked_add(8)?;
            let one = u64::from_le_bytes(bytes.try_into().ok()?);
            (one != 0).then_some(one)
        })
    }

    /// Is every element of the list a text, and the list ended?
    #[must_use]
    pub fn is_list(&self, offset: u64) -> bool {
        let mut count = 0;
        for one in self.list(offset) {
            if self.text(one).is_none() {
                return false;
            }
            count += 1;
        }
        offset.is_multiple_of(8) && self.bytes(offset + count * 8, 8) == Some(&[0; 8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_beyond_all_memory_is_none_and_no_overflow() {
        let empty = [MAGIC, VERSION, 0, 0].map(u32::to_le_bytes);
        let program = Program::new(empty.as_flattened()).unwrap();
        assert_eq!(program.slot(usize::MAX / 4), None);
    }
}
