// SPDX-License-Identifier: Apache-2.0
//! Limits of a container's control group, as they are asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::size::parse_bytes;

/// In place of a list of processors.
pub const AUTO: &str = "auto";

/// Limits of the control group; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; `u64::MAX` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; `u64::MAX` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<u64>,
    /// Bytes of memory that it keeps while others have more; `u64::MAX` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u64>,
    /// Thousandths of a processor; `u64::MAX` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milli_cpus: Option<u64>,
    /// Weight, 2 to 262144.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// List of processors; [`AUTO`] is as many as the processor limit asks for, wherever there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// List of memory nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads; `u64::MAX` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Weight, 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
    /// Rates of block devices, each device and kind once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<IoRate>,
    /// Bytes of huge pages, by their size as the kernel names it (`2MB`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<String, u64>,
    /// Further files of the version 2 group, as they are (`io.latency`, `misc.max`…).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// What of a block device is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoKind {
    /// Bytes read per second.
    ReadBps,
    /// Bytes written per second.
    WriteBps,
    /// Reads per second.
    ReadIops,
    /// Writes per second.
    WriteIops,
}

/// A rate of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoRate {
    /// Its path on the host.
    pub device: String,
    /// What.
    pub kind: IoKind,
    /// How much in a second; 0 is no limit.
    pub rate: u64,
}

impl IoRate {
    /// `PATH:RATE`; bytes have units.
    ///
    /// # Errors
    /// A path that is none, or a number that is none.
    pub fn parse(kind: IoKind, text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: &str| Invalid::new("rate of a device", text, reason).hint("write /dev/NAME:10m");
        let (device, rate) = text.rsplit_once(':').ok_or_else(|| refuse("it has no colon"))?;
        if !device.starts_with("/dev/") {
            return Err(refuse("it does not name a device below /dev"));
        }
        let rate = match kind {
            IoKind::ReadBps | IoKind::WriteBps => parse_bytes("rate of a device", rate)?,
            IoKind::ReadIops | IoKind::WriteIops => rate.parse().map_err(|_| refuse("the rate is not a number"))?,
        };
        Ok(Self { device: device.to_owned(), kind, rate })
    }
}

/// `SIZE=BYTES`, e.g. `2MB=1g`.
///
/// # Errors
/// What is malformed.
pub fn parse_hugetlb(text: &str) -> Result<(String, u64), Invalid> {
    let refuse = |reason: &str| Invalid::new("limit of huge pages", text, reason).hint("write 2MB=64m");
    let (size, bytes) = text.split_once('=').ok_or_else(|| refuse("it has no ="))?;
    if size.is_empty() || !size.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(refuse("the size of a page is not one"));
    }
    Ok((size.to_owned(), parse_bytes("limit of huge pages", bytes)?))
}

impl Limits {
    /// These limits with those of `change` in their place where it has one.
    #[must_use]
    pub fn changed_by(&self, change: &Self) -> Self {
        let mut io = self.io.clone();
        for one in &change.io {
            io.retain(|old| (&old.device, old.kind) != (&one.device, one.kind));
            io.push(one.clone());
        }
        let (mut hugetlb, mut files) = (self.hugetlb.clone(), self.files.clone());
        hugetlb.extend(change.hugetlb.clone());
        files.extend(change.files.clone());
        Self {
            memory: change.memory.or(self.memory),
            memory_swap: change.memory_swap.or(self.memory_swap),
            memory_reservation: change.memory_reservation.or(self.memory_reservation),
            milli_cpus: change.milli_cpus.or(self.milli_cpus),
            cpu_shares: change.cpu_shares.or(self.cpu_shares),
            cpuset_cpus: change.cpuset_cpus.clone().or_else(|| self.cpuset_cpus.clone()),
            cpuset_mems: change.cpuset_mems.clone().or_else(|| self.cpuset_mems.clone()),
            pids: change.pids.or(self.pids),
            blkio_weight: change.blkio_weight.or(self.blkio_weight),
            io,
            hugetlb,
            files,
        }
    }

    /// Are they consistent with each other?
    ///
    /// # Errors
    /// The limit that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        const SMALLEST: u64 = 512 * 1024;
        let refuse = |what, value: u64, reason: &str| Err(Invalid::new(what, value.to_string(), reason));
        match (self.memory, self.memory_swap) {
            (Some(memory), _) if memory < SMALLEST => {
                return refuse("memory limit", memory, "no program starts in less than 512K");
            }
            (Some(memory), Some(swap)) if swap < memory => {
                return refuse("memory and swap limit", swap, "it is below the memory limit, which it includes");
            }
            (None, Some(swap)) if swap != u64::MAX => {
                return refuse("memory and swap limit", swap, "it needs a memory limit (--memory) too");
            }
            _ => {}
        }
        if let (Some(memory), Some(kept)) = (self.memory, self.memory_reservation)
            && kept > memory
            && kept != u64::MAX
        {
            return refuse("memory reservation", kept, "it is above the memory limit");
        }
        if self.cpuset_cpus.as_deref() == Some(AUTO) && self.milli_cpus.is_none_or(|milli| milli == u64::MAX) {
            let error = Invalid::new("processor list", AUTO, "it has no number of processors to look for");
            return Err(error.hint("say how many: --cpus 2 --cpuset-cpus auto"));
        }
        match (self.cpu_shares, self.blkio_weight, self.pids) {
            (Some(shares), ..) if !(2..=262_144).contains(&shares) => {
                refuse("processor shares", shares, "they must be 2 to 262144")
            }
            (_, Some(weight), _) if !(10..=1000).contains(&weight) => {
                refuse("I/O weight", weight.into(), "it must be 10 to 1000")
            }
            (.., Some(0)) => refuse("process limit", 0, "it must be at least 1 (-1 for none)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_pages() {
        let rate = IoRate::parse(IoKind::ReadBps, "/dev/vda:10m").unwrap();
        assert_eq!((rate.device.as_str(), rate.rate), ("/dev/vda", 10 << 20));
        assert_eq!(IoRate::parse(IoKind::WriteIops, "/dev/vda:100").unwrap().rate, 100);
        for bad in ["/dev/vda", "vda:1", "/dev/vda:x", "/dev/vda:-1"] {
            assert!(IoRate::parse(IoKind::ReadIops, bad).is_err(), "{bad}");
        }
        assert_eq!(parse_hugetlb("2MB=64m").unwrap(), ("2MB".to_owned(), 64 << 20));
        assert!(parse_hugetlb("2MB").is_err() && parse_hugetlb("../x=1").is_err());
    }

    #[test]
    fn a_change_replaces_what_it_names() {
        let rate = |device: &str, rate| IoRate { device: device.to_owned(), kind: IoKind::ReadBps, rate };
        let old = Limits { io: vec![rate("/dev/a", 1), rate("/dev/b", 2)], pids: Some(5), ..Limits::default() };
        let new = old.changed_by(&Limits { io: vec![rate("/dev/a", 9)], ..Limits::default() });
        assert_eq!((new.io, new.pids), (vec![rate("/dev/b", 2), rate("/dev/a", 9)], Some(5)));
    }
}
