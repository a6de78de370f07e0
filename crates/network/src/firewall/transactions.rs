// SPDX-License-Identifier: Apache-2.0
//! The transactions: all anew, a change of elements, away; and what has been counted.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use kernel::netlink::{self, Socket};
use kernel::nft::{self, Batch, Counter, Family, Table};

use super::elements::{self, Elements};
use super::{Publication, Rules, rules};

/// What may go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A device with a name that no device can have.
    #[error("invalid device name {0:?}")]
    Device(String),
    /// A port is published at an address that it cannot be reached by.
    #[error("invalid publication {0:?}: port 0, or addresses of two families")]
    Publication(Box<Publication>),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
}

/// What a device of a container has sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From the container, with what was refused.
    pub sent: Counter,
    /// To the container.
    pub received: Counter,
}

/// Our tables in one network namespace.
#[derive(Debug)]
pub struct Firewall {
    socket: Socket,
    /// What our tables are called.
    name: String,
    /// Ports are published at ::1, too.
    v6_loopback: bool,
}

impl Firewall {
    /// That of the current network namespace, in tables of this name. Nothing is changed yet.
    ///
    /// # Errors
    /// socket(2)'s: `EPROTONOSUPPORT` when the kernel has no nfnetlink.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(netlink::Family::Netfilter)?, name: name.to_owned(), v6_loopback: true })
    }

    /// That of another network namespace.
    ///
    /// # Errors
    /// setns(2)'s or socket(2)'s.
    pub fn open_in(namespace: impl AsFd, name: &str) -> Result<Self, Error> {
        let socket = Socket::open_in(namespace, netlink::Family::Netfilter)?;
        Ok(Self { socket, name: name.to_owned(), v6_loopback: true })
    }

    /// Leaves ::1 alone from the next [`Self::replace`] on.
    #[must_use]
    pub fn without_v6_loopback(self) -> Self {
        Self { v6_loopback: false, ..self }
    }

    /// Our tables with just these rules, in one step: at no moment is anything open that is closed before and after.
    ///
    /// # Errors
    /// A name or an address that cannot be, or the kernel's errno with the object that it is about. Nothing has changed then.
    pub fn replace(&mut self, rules: &Rules) -> Result<(), Error> {
        let elements = Elements::of(rules)?;
        let mut batch = Batch::new();
        rules::renew(&mut batch, &self.name, self.v6_loopback);
        elements.add_to(&mut batch, &self.name);
        Ok(batch.commit(&mut self.socket)?)
    }

    /// Takes `remove` away and adds `add`, in one step, in tables that [`Self::replace`] has made. The kernel has as
    /// much to do as these two are long.
    ///
    /// # Errors
    /// As [`Self::replace`]; `EEXIST` for what is there already, e.g. a published port, `ENOENT` for what is not there.
    pub fn change(&mut self, add: &Rules, remove: &Rules) -> Result<(), Error> {
        let (add, remove) = (Elements::of(add)?, Elements::of(remove)?);
        let mut batch = Batch::new();
        remove.delete_from(&mut batch, &self.name);
        add.add_to(&mut batch, &self.name);
        Ok(batch.commit(&mut self.socket)?)
    }

    /// Leaves the socket open until this process ends: to close it, the kernel waits until what a transaction has taken away is
    /// freed, which is some 10 ms.
    pub fn keep_open(self) {
        std::mem::forget(self);
    }

    /// Our tables are gone; it is no error if they are already.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn remove(&mut self) -> Result<(), Error> {
        let mut batch = Batch::new();
        for family in elements::FAMILIES {
            let table = Table::new(family, &self.name);
            batch.add_table(&table);
            batch.delete_table(&table);
        }
        Ok(batch.commit(&mut self.socket)?)
    }

    /// Are all our tables there? Somebody may have flushed the whole rule set.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn is_there(&mut self) -> Result<bool, Error> {
        let tables = nft::tables(&mut self.socket)?;
        Ok(elements::FAMILIES.into_iter().all(|family| tables.contains(&Table::new(family, &self.name))))
    }

    /// What each device has sent and received since it was added or all was replaced.
    ///
    /// # Errors
    /// The kernel's errno: `ENOENT` when our tables are not there.
    pub fn traffic(&mut self) -> Result<BTreeMap<String, Traffic>, Error> {
        let mut traffic: BTreeMap<String, Traffic> = BTreeMap::new();
        for family in [Family::Bridge, Family::Inet] {
            let table = Table::new(family, &self.name);
            for (key, counter) in nft::counters(&mut self.socket, &table, "ports")? {
                traffic.entry(device(&key)).or_default().sent = counter;
            }
            for (key, counter) in nft::counters(&mut self.socket, &table, "received")? {
                traffic.entry(device(&key)).or_default().received = counter;
            }
        }
        Ok(traffic)
    }
}

/// The name that a key of a set of devices holds.
fn device(key: &[u8]) -> String {
    String::from_utf8_lossy(key.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
