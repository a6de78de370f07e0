// SPDX-License-Identifier: Apache-2.0
//! nf_tables: packet filters as typed objects, changed by batches that the kernel takes as a whole or not at all.
//!
//! What is written here reads nearly like the language of nft(8), with the same dependencies between layers added:
//!
//! ```no_run
//! use kernel::nft::{Batch, Chain, Family, Set, Table, Type, select::*, statement::*};
//! let table = Table::new(Family::Inet, "mine");
//! let mut batch = Batch::new();
//! batch.add_table(&table);
//! batch.add_set(&table, &Set::new("friends", [Type::Device, Type::V4]));
//! batch.add_chain(&table, &Chain::new("guard"));
//! // iifname . ip saddr != @friends counter drop
//! batch.add_rule(&table, "guard", [IIFNAME.and(IP_SADDR).not_in("friends"), counter(), drop()]);
//! // udp dport { 53, 67 } accept
//! batch.add_rule(&table, "guard", [UDP_DPORT.one_of([53_u16, 67]), accept()]);
//! ```

mod batch;
mod dump;
mod object;
pub mod select;
pub mod statement;
mod value;

pub use batch::Batch;
pub use dump::{Counter, Dropping, counters, dropping, tables};
pub use object::{Chain, Element, Family, Hook, Kind, Outcome, Set, Table};
pub use select::{Key, Selector};
pub use statement::Statement;
pub use value::{Type, Value, Verdict};

/// `NFNL_SUBSYS_NFTABLES`: the upper byte of each message's type.
const SUBSYSTEM: u16 = 10;

/// The types of messages (`enum nf_tables_msg_types` of linux/netfilter/nf_tables.h).
mod kind {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const GET_TABLE: u16 = 1;
    pub(super) const DELETE_TABLE: u16 = 2;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const DELETE_CHAIN: u16 = 5;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const DELETE_RULE: u16 = 8;
    pub(super) const NEW_SET: u16 = 9;
    pub(super) const DELETE_SET: u16 = 11;
    pub(super) const NEW_ELEMENT: u16 = 12;
    pub(super) const GET_ELEMENT: u16 = 13;
    pub(super) const DELETE_ELEMENT: u16 = 14;
}

/// `struct nfgenmsg`: family, version 0, and for the marks of a batch the subsystem.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
