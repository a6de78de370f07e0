// SPDX-License-Identifier: Apache-2.0
//! Network devices of the current network namespace that move, and settings below `/proc/sys/net`.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::address::{self, Scope};
use crate::error::{Call, Errno, Error, Result};
use crate::link::{self, Change};
use crate::netlink::{Family, Socket, within};

/// Moves a network device of the current network namespace into the one that `namespace` stands for, under a name that
/// it may change; it keeps its permanent addresses that reach everywhere, and comes up there.
///
/// # Errors
/// `ENODEV` when there is no such device, `EEXIST` for a name that is taken, `EINVAL` for what is no name or a device that must
/// stay where it is; the kernel's when an address cannot be had there.
pub fn move_device(name: &str, namespace: impl AsFd, new_name: &str) -> Result<()> {
    let mut here = Socket::open(Family::Route)?;
    let missing = || Error::new(format!("netlink(find {name:?})"), Errno::NODEV);
    let device = link::find(&mut here, name)?.ok_or_else(missing)?;
    let mut kept = address::list(&mut here, Some(device.index))?;
    kept.retain(|address| address.permanent && address.scope == Scope::Universe);
    let mut there = Socket::open_in(&namespace, Family::Route)?;
    let change =
        Change { up: Some(true), name: Some(new_name), namespace: Some(namespace.as_fd()), ..Change::default() };
    link::set(&mut here, device.index, &change)?;
    let device = link::find(&mut there, new_name)?.ok_or_else(missing)?.index;
    kept.iter().try_for_each(|one| address::add(&mut there, &address::Address { device, ..*one }))
}

/// Writes a setting below `/proc/sys/net` of the current network namespace: `["ipv4", "conf", "eth0", "forwarding"]`, `1`.
/// Each part is one name, so that a device called `eth0.5` is no path.
///
/// # Errors
/// `EINVAL` for a part that is no name, `ENOENT` when the kernel has no such setting; write(2)'s.
pub fn set_sysctl(name: &[&str], value: &str) -> Result<()> {
    let path = sysctl(name)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(&path, flags, Mode::empty()).call(|| format!("open({path:?}, O_WRONLY)"))?;
    // The kernel looks at the first write only.
    let written = rustix::io::write(&file, value.as_bytes()).call(|| format!("write({path:?}, {value:?})"))?;
    if written == value.len() {
        return Ok(());
    }
    Err(Error::new(format!("write({path:?}, {value:?})"), Errno::IO))
}

/// Reads a setting below `/proc/sys/net` of the current network namespace, without the end of the line.
///
/// # Errors
/// `EINVAL` for a part that is no name, `ENOENT` when the kernel has no such setting; read(2)'s.
pub fn read_sysctl(name: &[&str]) -> Result<String> {
    let bytes = crate::file::read_small(&sysctl(name)?)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Writes settings of another network namespace, one after the other until one fails. Which namespace it is depends on who
/// opens the file, so this thread goes there and comes back ([`within`]).
///
/// # Errors
/// Those of [`set_sysctl`]; setns(2)'s.
pub fn set_sysctls_in(namespace: impl AsFd, settings: &[(&[&str], &str)]) -> Result<()> {
    within(namespace, || settings.iter().try_for_each(|(name, value)| set_sysctl(name, value)))?
}

fn sysctl(name: &[&str]) -> Result<PathBuf> {
    let plain = |part: &&str| {
        !part.is_empty()
            && ![".", ".."].contains(part)
            && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    if name.is_empty() || !name.iter().all(plain) {
        return Err(Error::new(format!("{name:?} names no setting of /proc/sys/net"), Errno::INVAL));
    }
    Ok(["/proc/sys/net"].iter().chain(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::link::tests::Scratch;

    #[test]
    fn settings_are_those_of_the_namespace() {
        let Some(mut scratch) = Scratch::new("settings_are_those_of_the_namespace") else { return };
        scratch.device("d0.5");
        let before = read_sysctl(&["ipv4", "conf", "lo", "rp_filter"]).unwrap();
        let proxy: &[&str] = &["ipv4", "conf", "d0.5", "proxy_arp"];
        let settings: &[(&[&str], &str)] = &[
            (&["ipv4", "ip_forward"], "1"),
            (proxy, "1"),
            (&["ipv4", "conf", "all", "route_localnet"], "1"),
            (&["ipv4", "conf", "lo", "rp_filter"], "2"),
            (&["ipv6", "conf", "d0.5", "accept_ra"], "0"),
            (&["ipv6", "conf", "default", "disable_ipv6"], "1"),
        ];
        set_sysctls_in(&scratch.namespace, settings).unwrap();
        for (name, value) in settings {
            assert_eq!(within(&scratch.namespace, || read_sysctl(name)).unwrap().unwrap(), *value, "{name:?}");
        }
        assert_eq!(read_sysctl(&["ipv4", "conf", "lo", "rp_filter"]).unwrap(), before);
        assert!(read_sysctl(proxy).unwrap_err().is(Errno::NOENT));
        let missing: &[(&[&str], &str)] = &[(&["ipv4", "conf", "nobody", "forwarding"], "1")];
        assert!(set_sysctls_in(&scratch.namespace, missing).unwrap_err().is(Errno::NOENT));
    }

    #[test]
    fn a_setting_is_below_proc_sys_net() {
        let bad: [&[&str]; 6] = [&[], &[""], &["..", "kernel"], &["ipv4/conf"], &["ipv4", "."], &["a\n"]];
        for name in bad {
            assert!(set_sysctl(name, "1").unwrap_err().is(Errno::INVAL), "{name:?}");
        }
    }

    #[test]
    fn a_device_that_moves_keeps_its_addresses() {
        let Some(mut here) = Scratch::new("a_device_that_moves_keeps_its_addresses") else { return };
        let mut there = Scratch::new("").unwrap();
        let device = here.device("d0");
        for (ip, prefix) in [("10.9.0.2", 24), ("fd00:9::2", 64)] {
            address::add(&mut here.socket, &Address::new(device, ip.parse().unwrap(), prefix)).unwrap();
        }
        within(&here.namespace, || move_device("d0", &there.namespace, "eth7")).unwrap().unwrap();
        let moved = link::find(&mut there.socket, "eth7").unwrap().unwrap();
        assert!(moved.up);
        let mut kept = address::list(&mut there.socket, Some(moved.index)).unwrap();
        kept.retain(|address| address.scope == Scope::Universe);
        assert_eq!(kept.len(), 2, "{kept:?}");
        let gone = within(&here.namespace, || move_device("d0", &there.namespace, "eth8")).unwrap();
        assert!(gone.unwrap_err().is(Errno::NODEV));
    }
}
