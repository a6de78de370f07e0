// SPDX-License-Identifier: Apache-2.0
//! What can be seen of a process's namespaces only from inside: a child of ours goes there, looks, and tells it through a pipe.
//! This process stays where it is.

use std::net::IpAddr;

use kernel::namespace::{NamespaceSet, child};
use kernel::netlink::{Family, Socket};
use kernel::pidfd::Handle;
use kernel::types::NamespaceKind;
use kernel::{address, event, link, mount, process, route};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// More than any namespace has to tell; a child that tells more is not listened to.
const MOST: usize = 64 << 20;

/// What was seen; nothing of what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Names of the host.
    pub uts: Option<Uts>,
    /// Network devices and ways.
    pub network: Option<Network>,
    /// What processes share by System V IPC and POSIX message queues.
    pub ipc: Option<Ipc>,
    /// Why the rest is not seen.
    pub unseen: Vec<String>,
}

/// What a UTS namespace holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uts {
    /// The host name.
    pub hostname: String,
    /// The NIS domain name.
    pub domainname: String,
}

/// What a network namespace holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its devices.
    pub devices: Vec<Device>,
    /// The main table of routes.
    pub routes: Vec<RouteView>,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its kind (`veth`, `bridge`); none for hardware and the loopback device.
    pub kind: Option<String>,
    /// Its address on the link.
    pub mac: Option<String>,
    /// Is it up?
    pub up: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Its addresses, as `10.0.0.2/24`.
    pub addresses: Vec<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// Where to; `default` for everywhere.
    pub to: String,
    /// By which router.
    pub via: Option<IpAddr>,
    /// Through which device.
    pub device: Option<String>,
}

/// What an IPC namespace holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipc {
    /// Shared memory: key, id, owner, bytes.
    pub memory: Vec<[u64; 4]>,
    /// Semaphore sets: key, id, owner, how many.
    pub semaphores: Vec<[u64; 4]>,
    /// Message queues: key, id, owner, bytes.
    pub messages: Vec<[u64; 4]>,
    /// Names of POSIX message queues.
    pub queues: Vec<String>,
}

/// Offsets of clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Nanoseconds that the monotonic clock is ahead.
    pub monotonic_ns: i128,
    /// Nanoseconds that the clock since boot is ahead.
    pub boottime_ns: i128,
}

impl Clock {
    /// Both offsets of a `timens_offsets` file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let of = |clock: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(clock))?;
            let mut words = line.split_ascii_whitespace().map(|word| word.parse::<i128>().ok());
            Some(words.next()??.checked_mul(1_000_000_000)? + words.next()??)
        };
        Some(Self { monotonic_ns: of("monotonic")?, boottime_ns: of("boottime")? })
    }
}

/// Goes there and looks.
pub(super) fn look(handle: &Handle) -> Result<Inside> {
    let different = handle.different()?;
    let wanted = NamespaceSet::of(&[NamespaceKind::Uts, NamespaceKind::Net, NamespaceKind::Ipc]);
    let mut kinds: NamespaceSet = wanted.iter().filter(|kind| different.has(*kind)).collect();
    // An ordinary user has the right only in their own user namespace; root of the host keeps out of those of others.
    if process::euid() != 0 && different.has(NamespaceKind::User) && !kinds.is_empty() {
        kinds = kinds.with(NamespaceKind::User);
    }
    let (read, write) = event::pipe()?;
    let visitor = child(NamespaceSet::EMPTY, || {
        if process::set_undumpable().is_err() {
            return 1;
        }
        let seen = match kinds.is_empty() || handle.enter(kinds).is_ok() {
            true => seen(),
            false => Inside {
                unseen: vec![format!("{}: to look there needs the right to enter it", wanted)],
                ..Inside::default()
            },
        };
        let text = serde_json::to_vec(&seen).unwrap_or_default();
        i32::from(event::write_all(&write, &text).is_err())
    })?;
    drop(write);
    let text = read_all(&read);
    process::wait(&visitor.pidfd)?;
    serde_json::from_slice(&text?)
        .map_err(|error| Error::new(Kind::Own, format!("the look inside told nothing: {error}")))
}

fn read_all(pipe: &std::os::fd::OwnedFd) -> kernel::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match event::read(pipe, &mut buffer)? {
            event::Read::Bytes(count) if all.len() < MOST => all.extend(buffer.get(..count).unwrap_or_default()),
            event::Read::Nothing => {}
            event::Read::Bytes(_) | event::Read::End => return Ok(all),
        }
    }
}

fn seen() -> Inside {
    let mut inside = Inside { uts: Some(uts()), ..Inside::default() };
    match network() {
        Ok(network) => inside.network = Some(network),
        Err(error) => inside.unseen.push(format!("net: {error}")),
    }
    inside.ipc = Some(ipc());
    inside
}

fn uts() -> Uts {
    Uts { hostname: kernel::probe::hostname(), domainname: kernel::probe::domainname() }
}

fn network() -> kernel::Result<Network> {
    let mut socket = Socket::open(Family::Route)?;
    let links = link::list(&mut socket)?;
    let addresses = address::list(&mut socket, None)?;
    let name = |index: Option<u32>| links.iter().find(|link| Some(link.index) == index).map(|link| link.name.clone());
    let routes = route::list(&mut socket, route::MAIN)?.into_iter().map(|route| {
        let (ip, prefix) = route.destination;
        let to = if prefix == 0 { "default".to_owned() } else { format!("{ip}/{prefix}") };
        RouteView { to, via: route.gateway, device: name(route.device) }
    });
    let routes = routes.collect();
    let devices = links.iter().map(|link| Device {
        name: link.name.clone(),
        kind: link.kind.clone(),
        mac: link.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
        up: link.up,
        mtu: link.mtu,
        addresses: addresses
            .iter()
            .filter(|address| address.device == link.index)
            .map(|address| format!("{}/{}", address.ip, address.prefix))
            .collect(),
    });
    Ok(Network { devices: devices.collect(), routes })
}

/// `/proc/sysvipc` shows what the reader's own IPC namespace has, wherever it is mounted.
fn ipc() -> Ipc {
    let table = |file: &str, owner: &str, size: &str| {
        let path = format!("/proc/sysvipc/{file}");
        let text = kernel::file::read_lines(path.as_ref()).unwrap_or_default();
        rows(&String::from_utf8_lossy(&text), owner, size)
    };
    let queues = mount::new("mqueue", &[], 0).and_then(kernel::fs::names).unwrap_or_default();
    let mut queues: Vec<String> = queues.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    queues.sort();
    Ipc {
        memory: table("shm", "uid", "size"),
        semaphores: table("sem", "uid", "nsems"),
        messages: table("msg", "uid", "cbytes"),
        queues,
    }
}

/// Key, id and two further columns, found by the names in the first line.
fn rows(text: &str, owner: &str, size: &str) -> Vec<[u64; 4]> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let at = |name: &str| names.iter().position(|one| *one == name);
    let (Some(owner), Some(size)) = (at(owner), at(size)) else { return Vec::new() };
    let row = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<i64>().ok()).map(i64::cast_unsigned);
        // A key is a signed number there.
        Some([number(0)? & 0xffff_ffff, number(1)?, number(owner)?, number(size)?])
    };
    lines.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_ipc_are_read_by_their_headings() {
        let text = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid\n\
                    -559038737          3   600               4096  1  2 0  1000  0\n";
        assert_eq!(rows(text, "uid", "size"), [[0xdead_beef, 3, 1000, 4096]]);
        assert!(rows("", "uid", "size").is_empty());
    }

    #[test]
    fn offsets_of_clocks_are_read() {
        let clock = Clock::parse("monotonic         -5  500000000\nboottime        86400          0\n").unwrap();
        assert_eq!((clock.monotonic_ns, clock.boottime_ns), (-4_500_000_000, 86_400_000_000_000));
        assert_eq!(Clock::parse("monotonic x 0\nboottime 1 0"), None);
    }

    #[test]
    fn our_own_are_seen_without_going_anywhere() {
        let inside = look(&Handle::open(process::id()).unwrap()).unwrap();
        assert_eq!(inside.uts.unwrap().hostname, kernel::probe::hostname());
        assert!(inside.network.unwrap().devices.iter().any(|device| device.name == "lo"));
    }
}
