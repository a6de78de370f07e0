// SPDX-License-Identifier: Apache-2.0
//! One transaction: what is to come and to go, which the kernel does in one step or not at all.

use super::object::{Chain, Data, Element, Kind, Outcome, Set, Table};
use super::select::Key;
use super::statement::{Statement, Writer};
use super::value::{Type, Value, Verdict};
use super::{SUBSYSTEM, header, kind};
use crate::error::Result;
use crate::netlink::{Failed, Message, Socket, flags};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// The list of elements is one attribute, whose length has 16 bits; an element has about 150 bytes at most.
const FULL: usize = 60_000;
const LIST_ITEM: u16 = 1;

/// The flags of sets (`enum nft_set_flags`).
mod set_flags {
    pub(super) const ANONYMOUS: u32 = 0x1;
    pub(super) const CONSTANT: u32 = 0x2;
    pub(super) const INTERVAL: u32 = 0x4;
    pub(super) const MAP: u32 = 0x8;
    pub(super) const CONCAT: u32 = 0x80;
}

/// What an error calls a message.
#[derive(Debug, Clone)]
enum Name {
    Object(String),
    /// Where in the message each element begins.
    Elements {
        what: String,
        elements: Vec<(usize, Element)>,
    },
}

/// A transaction that is being written. Objects come before those that use them.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    messages: Vec<(Message, Name)>,
    sets: u32,
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that the kernel will be given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.iter().map(|(message, _)| message.len()).sum()
    }

    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds a table, unless it is there.
    pub fn add_table(&mut self, table: &Table) {
        let message = begin(kind::NEW_TABLE, flags::CREATE, table, 1);
        self.push(message, format!("add table {}", table.shown()));
    }

    /// Deletes a table with all that is in it; it must be there.
    pub fn delete_table(&mut self, table: &Table) {
        let message = begin(kind::DELETE_TABLE, 0, table, 1);
        self.push(message, format!("delete table {}", table.shown()));
    }

    /// An empty table in the place of whatever is there.
    pub fn renew_table(&mut self, table: &Table) {
        // A table that is not there cannot be deleted; NFT_MSG_DESTROYTABLE, which can, is of Linux 6.3.
        self.add_table(table);
        self.delete_table(table);
        self.add_table(table);
    }

    /// Adds a chain, unless it is there.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) {
        let mut message = begin(kind::NEW_CHAIN, flags::CREATE, table, 1);
        message.text(3, &chain.name);
        if let Some((kind, hook, priority)) = chain.base {
            message.nest(4, |message| {
                message.be32(1, hook.number(table.family)).be32(2, priority.cast_unsigned());
                write_devices(message, &chain.devices);
            });
            message.be32(5, (chain.policy != Verdict::Drop).into());
            message.text(
                7,
                match kind {
                    Kind::Filter => "filter",
                    Kind::Nat => "nat",
                    Kind::Route => "route",
                },
            );
        }
        self.push(message, format!("add chain {} {}", table.shown(), chain.name));
    }

    /// Deletes a chain without rules.
    pub fn delete_chain(&mut self, table: &Table, name: &str) {
        let mut message = begin(kind::DELETE_CHAIN, 0, table, 1);
        message.text(3, name);
        self.push(message, format!("delete chain {} {name}", table.shown()));
    }

    /// Adds a rule behind those that the chain has.
    pub fn add_rule(&mut self, table: &Table, chain: &str, statements: impl IntoIterator<Item = Statement>) {
        let statements: Vec<Statement> = statements.into_iter().collect();
        let anonymous: Vec<u32> =
            statements.iter().filter_map(|statement| self.add_anonymous(table, statement)).collect();
        let mut message = begin(kind::NEW_RULE, flags::CREATE | flags::APPEND, table, 1);
        message.text(2, chain).nest(4, |list| {
            let mut ids = anonymous.into_iter();
            let mut writer = Writer { family: table.family, list, anonymous: &mut ids, known: Vec::new() };
            for statement in &statements {
                writer.write(statement);
            }
        });
        self.push(message, format!("add rule {} {chain}: {statements:?}", table.shown()));
    }

    /// Deletes the rule of this handle, or all of the chain.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: Option<u64>) {
        let mut message = begin(kind::DELETE_RULE, 0, table, 1);
        message.text(2, chain);
        if let Some(handle) = handle {
            message.be64(3, handle);
        }
        self.push(message, format!("delete rule {} {chain} {handle:?}", table.shown()));
    }

    /// Adds a set or a map.
    pub fn add_set(&mut self, table: &Table, set: &Set) {
        self.new_set(table, set, 0, None);
    }

    /// Deletes a set or a map that no rule uses.
    pub fn delete_set(&mut self, table: &Table, name: &str) {
        let mut message = begin(kind::DELETE_SET, 0, table, 1);
        message.text(2, name);
        self.push(message, format!("delete set {} {name}", table.shown()));
    }

    /// Adds elements to a set, in as many messages as they need; one that is there already is `EEXIST`.
    pub fn add_elements(&mut self, table: &Table, set: &Set, elements: impl IntoIterator<Item = Element>) {
        self.change_elements(true, table, set, None, elements);
    }

    /// Deletes elements of a set; one that is not there is `ENOENT`.
    pub fn delete_elements(&mut self, table: &Table, set: &Set, elements: impl IntoIterator<Item = Element>) {
        self.change_elements(false, table, set, None, elements);
    }

    /// Hands it to the kernel.
    ///
    /// # Errors
    /// The kernel's errno for the first object that it refuses, by name. Then nothing has changed.
    pub fn commit(self, socket: &mut Socket) -> Result<()> {
        let Some(last) = self.messages.len().checked_sub(1) else { return Ok(()) };
        let mark = |kind| Message::new(kind, 0, &header(0, SUBSYSTEM));
        let (mut list, mut names) = (vec![mark(BATCH_BEGIN)], Vec::new());
        for (at, (mut message, name)) in self.messages.into_iter().enumerate() {
            if at == last {
                // That of the end of a batch is answered by newer kernels only.
                message.add_flags(flags::ACK);
            }
            list.push(message);
            names.push(name);
        }
        list.push(mark(BATCH_END));
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let first = socket.send_all(list)?;
        let answered = socket.wait_for(first.wrapping_add(count - 2));
        answered.map_err(|failed| name_failure(failed, first, &names))
    }

    fn push(&mut self, message: Message, name: String) {
        self.messages.push((message, Name::Object(name)));
    }

    /// The set of a statement that has one of its own, and its number.
    fn add_anonymous(&mut self, table: &Table, statement: &Statement) -> Option<u32> {
        let (key, elements, name) = match statement {
            Statement::OneOf { key, elements, .. } => (key, elements, "__set%d"),
            Statement::Verdicts { key, elements } => (key, elements, "__map%d"),
            _ => return None,
        };
        let Key(parts) = key;
        let types: Vec<Type> = parts.iter().map(|part| part.kind).collect();
        let set = if name == "__set%d" { Set::new(name, types) } else { Set::verdicts(name, types) };
        let id = self.new_set(table, &set, set_flags::ANONYMOUS | set_flags::CONSTANT, Some(elements.len()));
        self.change_elements(true, table, &set, Some(id), elements.iter().cloned());
        Some(id)
    }

    fn new_set(&mut self, table: &Table, set: &Set, more: u32, size: Option<usize>) -> u32 {
        self.sets += 1;
        let mut message = begin(kind::NEW_SET, flags::CREATE, table, 1);
        let ranges = set.interval && set.key.len() > 1;
        let bits = more
            | if set.interval { set_flags::INTERVAL } else { 0 }
            | if ranges { set_flags::CONCAT } else { 0 }
            | if set.data == Data::Nothing { 0 } else { set_flags::MAP };
        message.text(2, &set.name).be32(3, bits).be32(4, number(&set.key)).be32(5, length(&set.key));
        match &set.data {
            Data::Nothing => {}
            Data::Values(types) => {
                message.be32(6, number(types)).be32(7, length(types));
            }
            Data::Verdict => {
                message.be32(6, 0xffff_ff00).be32(7, 0);
            }
        }
        write_description(&mut message, set, ranges, size);
        message.be32(10, self.sets).put(13, &user_data(set));
        if set.counts {
            message.nest(17, |expression| {
                expression.text(1, "counter");
            });
        }
        self.push(message, format!("add set {} {}", table.shown(), set.name));
        self.sets
    }

    fn change_elements(
        &mut self,
        add: bool,
        table: &Table,
        set: &Set,
        id: Option<u32>,
        elements: impl IntoIterator<Item = Element>,
    ) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let (number, bits) =
                if add { (kind::NEW_ELEMENT, flags::CREATE | flags::EXCL) } else { (kind::DELETE_ELEMENT, 0) };
            let mut message = begin(number, bits, table, 1);
            message.text(2, &set.name);
            if let Some(id) = id {
                message.be32(4, id);
            }
            let mut written = Vec::new();
            message.nest(3, |list| {
                while let Some(element) = elements.next_if(|_| list.len() < FULL) {
                    written.push((list.len(), element.clone()));
                    write_element(list, set, &element);
                }
            });
            let what = format!("{} {} {}", if add { "add to" } else { "delete from" }, table.shown(), set.name);
            self.messages.push((message, Name::Elements { what, elements: written }));
        }
    }
}

/// A message about something in a table; `attribute` is where it is named.
fn begin(number: u16, more: u16, table: &Table, attribute: u16) -> Message {
    let mut message = Message::new(SUBSYSTEM << 8 | number, more, &header(table.family.number(), 0));
    message.text(attribute, &table.name);
    message
}

fn write_devices(message: &mut Message, devices: &[String]) {
    match devices {
        [] => {}
        [one] => {
            message.text(3, one);
        }
        several => {
            message.nest(4, |list| {
                for device in several {
                    list.text(1, device);
                }
            });
        }
    }
}

/// The lengths of the parts of a key that has ranges, and how many elements there will be.
fn write_description(message: &mut Message, set: &Set, ranges: bool, size: Option<usize>) {
    message.nest(9, |description| {
        if let Some(size) = size {
            description.be32(1, u32::try_from(size).unwrap_or(u32::MAX));
        }
        if ranges {
            description.nest(2, |fields| {
                for part in &set.key {
                    fields.nest(LIST_ITEM, |field| {
                        field.be32(1, part.len());
                    });
                }
            });
        }
    });
}

/// What nft(8) keeps beside a set to show it well: the orders of the bytes of key and data.
fn user_data(set: &Set) -> Vec<u8> {
    let order = |types: &[Type]| -> u32 {
        match types {
            [one] if one.is_native() => 1,
            [_] => 2,
            _ => 0,
        }
    };
    let mut bytes = vec![0, 4];
    bytes.extend(order(&set.key).to_ne_bytes());
    if let Data::Values(types) = &set.data {
        bytes.extend([1, 4]);
        bytes.extend(order(types).to_ne_bytes());
    }
    bytes
}

/// nft(8)'s number of a key of several parts: six bits for each.
fn number(types: &[Type]) -> u32 {
    types.iter().fold(0, |sum, part| sum << 6 | part.number())
}

/// Bytes of a key.
fn length(types: &[Type]) -> u32 {
    match types {
        [one] => one.len(),
        several => several.iter().map(|part| part.len().next_multiple_of(4)).sum(),
    }
}

fn write_element(list: &mut Message, set: &Set, element: &Element) {
    const KEY_END: u16 = 10;
    const IS_END: u16 = 3;
    let key = Value::joined(&element.key);
    let last = element.end.as_ref().filter(|_| set.interval).or(set.interval.then_some(&element.key));
    match last {
        Some(last) if set.key.len() == 1 => {
            // The sets of plain ranges know beginnings and ends, and the end is the first that does not belong to it.
            write_one(list, &key, element.outcome.as_ref(), |_| {});
            if let Some(end) = following(Value::joined(last)) {
                write_one(list, &end, None, |item| {
                    item.be32(IS_END, 1);
                });
            }
        }
        last => write_one(list, &key, element.outcome.as_ref(), |item| {
            if let Some(last) = last {
                item.nest(KEY_END, |data| {
                    data.put(1, &Value::joined(last));
                });
            }
        }),
    }
}

fn write_one(list: &mut Message, key: &[u8], outcome: Option<&Outcome>, more: impl FnOnce(&mut Message)) {
    list.nest(LIST_ITEM, |item| {
        item.nest(1, |data| {
            data.put(1, key);
        });
        match outcome {
            None => {}
            Some(Outcome::Verdict(verdict)) => {
                item.nest(2, |data| verdict.write(data));
            }
            Some(Outcome::Values(values)) => {
                item.nest(2, |data| {
                    data.put(1, &Value::joined(values));
                });
            }
        }
        more(item);
    });
}

/// The key behind this one; none behind the last.
fn following(mut key: Vec<u8>) -> Option<Vec<u8>> {
    for byte in key.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(key);
        }
    }
    None
}

fn name_failure(failed: Failed, first: u32, names: &[Name]) -> crate::Error {
    // The first message is the mark of the beginning: what concerns all.
    let at = failed.sequence.wrapping_sub(first).checked_sub(1).and_then(|at| usize::try_from(at).ok());
    let offset = failed.offset.and_then(|offset| usize::try_from(offset).ok());
    let name = match at.and_then(|at| names.get(at)) {
        None => "nf_tables: commit".to_owned(),
        Some(Name::Object(name)) => format!("nf_tables: {name}"),
        Some(Name::Elements { what, elements }) => {
            let element = elements.iter().rev().find(|(start, _)| offset.is_some_and(|offset| *start <= offset));
            match element {
                Some((_, element)) => format!("nf_tables: {what}: {}", element.shown()),
                None => format!("nf_tables: {what}: one of {} elements", elements.len()),
            }
        }
    };
    failed.named(|| name)
}

#[cfg(test)]
mod tests {
    use super::super::object::Family;
    use super::super::select::{IIFNAME, IP_SADDR};
    use super::super::statement::{accept, counter};
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn thousands_of_elements_are_several_messages() {
        let (table, set) = (Table::new(Family::Inet, "t"), Set::new("s", [Type::Device, Type::V4]));
        let mut batch = Batch::new();
        let element = |n: u32| Element::new([Value::from("veth"), Ipv4Addr::from(n).into()]);
        batch.add_elements(&table, &set, (0..10_000).map(element));
        assert!(batch.messages.len() > 5);
        assert!(batch.messages.iter().all(|(message, _)| message.len() < 65_536));
        let total: usize = batch
            .messages
            .iter()
            .map(|(_, name)| match name {
                Name::Elements { elements, .. } => elements.len(),
                Name::Object(_) => 0,
            })
            .sum();
        assert_eq!(total, 10_000);
    }

    #[test]
    fn failures_name_the_element() {
        let (table, set) = (Table::new(Family::Inet, "t"), Set::new("s", [Type::V4]));
        let mut batch = Batch::new();
        batch.add_rule(&table, "c", [IIFNAME.and(IP_SADDR).within("s"), counter(), accept()]);
        batch.add_elements(&table, &set, (1..4).map(|n: u32| Element::new([Ipv4Addr::from(n).into()])));
        let names: Vec<Name> = batch.messages.into_iter().map(|(_, name)| name).collect();
        let Name::Elements { elements, .. } = &names[1] else { panic!() };
        let offset = u32::try_from(elements[1].0).ok();
        let failed = Failed { sequence: 9, errno: crate::Errno::EXIST, words: None, offset };
        let shown = name_failure(failed, 7, &names).to_string();
        assert_eq!(shown, "nf_tables: add to inet t s: 0.0.0.2: EEXIST (File exists)");
    }

    #[test]
    fn ends_of_plain_ranges_are_behind_them() {
        assert_eq!(following(vec![10, 0, 0, 255]), Some(vec![10, 0, 1, 0]));
        assert_eq!(following(vec![255, 255]), None);
    }
}
