// SPDX-License-Identifier: Apache-2.0
//! What is there: tables, and the counters of elements.

use super::object::{Family, Table};
use super::{SUBSYSTEM, header, kind};
use crate::error::Result;
use crate::netlink::{Attributes, Message, Socket, flags};

/// What an element has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the headers that the family sees.
    pub bytes: u64,
}

/// All tables of the families that we know, everybody's.
///
/// # Errors
/// The kernel's errno.
pub fn tables(socket: &mut Socket) -> Result<Vec<Table>> {
    let message = Message::new(SUBSYSTEM << 8 | kind::GET_TABLE, flags::DUMP, &header(0, 0));
    let mut tables = Vec::new();
    socket.ask(message, || "nf_tables: list tables", &mut |one| {
        let number = one.body.first().copied().unwrap_or_default();
        let families = [Family::Inet, Family::Ip, Family::Ip6, Family::Arp, Family::Bridge, Family::Netdev];
        let family = families.into_iter().find(|family| family.number() == number);
        if let (Some(family), Some(name)) = (family, one.attributes(4).get_text(1)) {
            tables.push(Table { family, name });
        }
    })?;
    Ok(tables)
}

/// A base chain that drops what it does not know: its table, its name, and the hook's number (`NF_INET_FORWARD` is 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// The table.
    pub table: Table,
    /// The chain.
    pub chain: String,
    /// Where it is hooked.
    pub hook: u32,
}

/// The base chains whose policy is to drop, everybody's.
///
/// # Errors
/// The kernel's errno.
pub fn dropping(socket: &mut Socket) -> Result<Vec<Dropping>> {
    const GET_CHAIN: u16 = 4;
    const DROP: [u8; 4] = [0; 4];
    let message = Message::new(SUBSYSTEM << 8 | GET_CHAIN, flags::DUMP, &header(0, 0));
    let mut list = Vec::new();
    socket.ask(message, || "nf_tables: list chains", &mut |one| {
        let number = one.body.first().copied().unwrap_or_default();
        let families = [Family::Inet, Family::Ip, Family::Ip6];
        let family = families.into_iter().find(|family| family.number() == number);
        let attributes = one.attributes(4);
        let hook = attributes.get(4).and_then(|hook| Attributes::of(hook).get(1)?.first_chunk().copied());
        let (Some(family), Some(hook), Some(DROP)) =
            (family, hook, attributes.get(5).and_then(|policy| policy.first_chunk().copied()))
        else {
            return;
        };
        if let (Some(name), Some(chain)) = (attributes.get_text(1), attributes.get_text(3)) {
            list.push(Dropping { table: Table { family, name }, chain, hook: u32::from_be_bytes(hook) });
        }
    })?;
    Ok(list)
}

/// The keys of the elements of a set that counts, as bytes, and what each has counted.
///
/// # Errors
/// The kernel's errno: `ENOENT` without such a table or set.
pub fn counters(socket: &mut Socket, table: &Table, set: &str) -> Result<Vec<(Vec<u8>, Counter)>> {
    const ELEMENTS: u16 = 3;
    let number = SUBSYSTEM << 8 | kind::GET_ELEMENT;
    let mut message = Message::new(number, flags::DUMP, &header(table.family.number(), 0));
    message.text(1, &table.name).text(2, set);
    let mut list = Vec::new();
    socket.ask(message, || format!("nf_tables: list set {} {set}", table.shown()), &mut |one| {
        let elements = one.attributes(4).get(ELEMENTS).unwrap_or_default();
        list.extend(Attributes::of(elements).filter_map(|(_, element)| counted(Attributes::of(element))));
    })?;
    Ok(list)
}

/// Key and counter of one element.
fn counted(element: Attributes<'_>) -> Option<(Vec<u8>, Counter)> {
    let key = Attributes::of(element.get(1)?).get(1)?.to_vec();
    let data = Attributes::of(Attributes::of(element.get(7)?).get(2)?);
    let number = |kind| data.get(kind).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_be_bytes(*bytes));
    Some((key, Counter { bytes: number(1)?, packets: number(2)? }))
}
