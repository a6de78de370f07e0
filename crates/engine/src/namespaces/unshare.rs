// SPDX-License-Identifier: Apache-2.0
//! Running a program in new namespaces (unshare(2)).

use std::path::PathBuf;

use kernel::idmap::{self, Map, Maps};
use kernel::mount::{self, Depth};
use kernel::namespace::NamespaceSet;
use kernel::process;
use kernel::types::{IdRange, NamespaceKind, Propagation, attr};
use kernel::{Call, Errno};

use super::enter::kinds_of;
use super::program::{self, Program};
use crate::error::{Doing, Error, Kind, Result};

/// Which namespaces are new, and how they begin.
#[derive(Debug, Clone, Default)]
pub struct Unsharing {
    /// Kinds, with commas between them.
    pub kinds: Option<String>,
    /// The caller alone is mapped, as root.
    pub map_root: bool,
    /// `INSIDE:OUTSIDE:COUNT`, of users and groups.
    pub maps: Vec<String>,
    /// The same of users only.
    pub user_maps: Vec<String>,
    /// The same of groups only.
    pub group_maps: Vec<String>,
    /// The program is a child: in a new pid namespace its process 1.
    pub fork: bool,
    /// A `/proc` of the new pid namespace.
    pub mount_proc: bool,
    /// The host name there.
    pub hostname: Option<String>,
    /// The NIS domain name there.
    pub domainname: Option<String>,
    /// Seconds that the monotonic clock is ahead there.
    pub monotonic: Option<i64>,
    /// Seconds that the clock since boot is ahead there.
    pub boottime: Option<i64>,
    /// How mounts propagate there; private otherwise.
    pub propagation: Option<String>,
    /// User and group inside.
    pub user: Option<(u32, u32)>,
    /// Where the program starts.
    pub workdir: Option<PathBuf>,
}

/// The same when everything has been looked at.
struct Ready {
    kinds: NamespaceSet,
    maps: Option<Maps>,
    propagation: Option<Propagation>,
    user: Option<(u32, u32)>,
}

pub(super) fn unshare(asked: &Unsharing, program: &Program) -> Result<i32> {
    let ready = check(asked)?;
    let done = match &ready.maps {
        Some(maps) => idmap::unshare_with(ready.kinds.without(NamespaceKind::User), |pid| set_ids(pid, maps)),
        None => kernel::namespace::unshare(ready.kinds.flags()),
    };
    done.map_err(|error| refused(&ready, error))?;
    furnish(asked, &ready)?;
    let forks = asked.fork;
    if forks && let Some(code) = program::go_on_in_child()? {
        return Ok(code);
    }
    if asked.mount_proc {
        mount_proc().doing(|| "mount /proc")?;
    }
    if let Some((uid, gid)) = ready.user {
        program::become_user(uid, gid).map_err(|error| match error.errno {
            Errno::INVAL => {
                let error = Error::new(
                    Kind::Invalid,
                    format!("cannot become {uid}:{gid}: the new user namespace has no such id"),
                );
                error.hint("map it, e.g. --map 0:100000:65536")
            }
            _ => error.into(),
        })?;
    }
    program::stand_in(asked.workdir.as_deref())?;
    if forks {
        process::die_with_parent().doing(|| "run a child")?;
    }
    program.execute()
}

fn check(asked: &Unsharing) -> Result<Ready> {
    let invalid = |message: &str, hint: &str| Err(Error::new(Kind::Invalid, message.to_owned()).hint(hint.to_owned()));
    let mut kinds = asked.kinds.as_deref().map(kinds_of).transpose()?.unwrap_or_default();
    let maps = maps_of(asked)?;
    // What is asked for about a kind of namespace asks for it.
    let implied = [
        (maps.is_some(), NamespaceKind::User),
        (asked.mount_proc || asked.propagation.is_some(), NamespaceKind::Mount),
        (asked.hostname.is_some() || asked.domainname.is_some(), NamespaceKind::Uts),
        (asked.monotonic.is_some() || asked.boottime.is_some(), NamespaceKind::Time),
    ];
    for (_, kind) in implied.into_iter().filter(|(asked, _)| *asked) {
        kinds = kinds.with(kind);
    }
    if kinds.is_empty() {
        return invalid("it is not said which namespaces are to be new", "write --types mnt,net,…");
    }
    if asked.mount_proc && kinds.has(NamespaceKind::Pid) && !asked.fork {
        return invalid(
            "--mount-proc shows a new pid namespace, and the program would not be in it",
            "write --fork, too: only a child is in a new pid namespace",
        );
    }
    for (what, name) in [("host name", &asked.hostname), ("domain name", &asked.domainname)] {
        const LONGEST: usize = 64;
        if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > LONGEST) {
            return invalid(&format!("a {what} has 1 to {LONGEST} bytes"), "write a shorter one");
        }
    }
    let propagation = match asked.propagation.as_deref() {
        None if !kinds.has(NamespaceKind::Mount) => None,
        None | Some("private") => Some(Propagation::Private),
        Some("slave") => Some(Propagation::Slave),
        Some("shared") => Some(Propagation::Shared),
        Some("unchanged") => None,
        Some(other) => {
            return invalid(&format!("there is no propagation {other:?}"), "write private, slave, shared or unchanged");
        }
    };
    // Who has no id inside is nobody there, and would lose all rights at the program's start.
    let root = maps.as_ref().is_some_and(|maps| maps.users.outside(0).is_some() && maps.groups.outside(0).is_some());
    let user = asked.user.or((root && !asked.map_root).then_some((0, 0)));
    Ok(Ready { kinds, maps, propagation, user })
}

fn maps_of(asked: &Unsharing) -> Result<Option<Maps>> {
    let (only_users, only_groups) = (asked.user_maps.is_empty(), asked.group_maps.is_empty());
    if asked.map_root {
        if !asked.maps.is_empty() || !only_users || !only_groups {
            let error = Error::new(Kind::Invalid, "--map-root and another map can not be used together");
            return Err(error.hint("a map that has root is e.g. --map 0:100000:65536"));
        }
        return Ok(Some(Maps::only_me_as_root()));
    }
    if asked.maps.is_empty() && only_users && only_groups {
        return Ok(None);
    }
    let side = |own: &[String], what: &str| {
        let all: Vec<String> = asked.maps.iter().chain(own).cloned().collect();
        map_of(&all).map_err(|mut error| {
            error.message = format!("{what}: {}", error.message);
            error
        })
    };
    let (users, groups) = (side(&asked.user_maps, "map of users")?, side(&asked.group_maps, "map of groups")?);
    // Of who has no rights outside the kernel wants the groups' right given up first; unless others lend them ids.
    let deny_groups = process::euid() != 0 && is_own(&groups, process::real_ids().1);
    Ok(Some(Maps { users, groups, deny_groups }))
}

/// Is it the map that everybody may set, of their own id alone?
fn is_own(map: &Map, id: u32) -> bool {
    matches!(map.ranges(), [one] if one.outside == id && one.count == 1)
}

/// Sets the ids of the process `pid`. An ordinary user has further ones lent by `/etc/subuid` and `/etc/subgid`, which two small
/// programs of the host look after.
fn set_ids(pid: i32, maps: &Maps) -> kernel::Result<()> {
    let (uid, gid) = process::real_ids();
    if process::euid() == 0 || (is_own(&maps.users, uid) && is_own(&maps.groups, gid)) {
        return maps.write(pid);
    }
    match is_own(&maps.groups, gid) {
        true => idmap::deny_groups(pid).and_then(|()| idmap::write_groups(pid, maps.groups.ranges()))?,
        false => lend("newgidmap", pid, &maps.groups)?,
    }
    match is_own(&maps.users, uid) {
        true => idmap::write_users(pid, maps.users.ranges()),
        false => lend("newuidmap", pid, &maps.users),
    }
}

fn lend(program: &str, pid: i32, map: &Map) -> kernel::Result<()> {
    let mut command = std::process::Command::new(program);
    command.arg(pid.to_string());
    for range in map.ranges() {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    let output = command.output().call(|| format!("execve({program:?})"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(kernel::Error::new(said, Errno::PERM))
        }
    }
}

/// The map that lines of `INSIDE:OUTSIDE:COUNT` are.
///
/// # Errors
/// The line that is malformed, or why the kernel would not take them all.
pub fn map_of(lines: &[String]) -> Result<Map> {
    let range = |line: &String| {
        let mut words = line.split(':').map(|word| word.parse::<u32>().ok());
        match (words.next().flatten(), words.next().flatten(), words.next().flatten(), words.next()) {
            (Some(inside), Some(outside), Some(count), None) => Ok(IdRange { inside, outside, count }),
            _ => Err(Error::new(Kind::Invalid, format!("invalid id map {line:?}: it is not three numbers"))
                .hint("write INSIDE:OUTSIDE:COUNT, e.g. 0:100000:65536")),
        }
    };
    let ranges = lines.iter().map(range).collect::<Result<Vec<_>>>()?;
    Map::new(ranges).map_err(|error| {
        Error::new(Kind::Invalid, error.to_string())
            .hint("ids of one map may not overlap on either side; the kernel takes 340 lines")
    })
}

fn refused(ready: &Ready, error: kernel::Error) -> Error {
    let is_root = process::euid() == 0;
    let is_map = ["id_map", "idmap", "setgroups"].iter().any(|word| error.call.contains(word));
    let hint = match error.errno {
        Errno::PERM | Errno::NOENT if is_map && !is_root => Some(
            "an ordinary user has their own id (--map-root), and those that newuidmap(1) lends by /etc/subuid and /etc/subgid",
        ),
        Errno::PERM if is_map => {
            Some("the ids outside have to be ones that our own user namespace has (cat /proc/self/uid_map)")
        }
        Errno::PERM if !is_root && !ready.kinds.has(NamespaceKind::User) => {
            Some("add --map-root, or run it as root (sudo)")
        }
        Errno::PERM => Some(
            "the host may forbid user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)",
        ),
        Errno::NOSPC => {
            Some("a limit of the host is reached: see /proc/sys/user/max_*_namespaces, or 32 levels of nesting")
        }
        Errno::INVAL => Some("this kernel has not all of these kinds: see ls /proc/self/ns"),
        _ => None,
    };
    let error = Error::new(Kind::Own, format!("cannot make namespaces {}: {error}", ready.kinds));
    hint.into_iter().fold(error, Error::hint)
}

/// What the new namespaces begin with. The process may still see the host's files: their paths are the kernel's own.
fn furnish(asked: &Unsharing, ready: &Ready) -> Result<()> {
    if let Some(propagation) = ready.propagation {
        mount::set_all_propagation(propagation)?;
    }
    if let Some(name) = &asked.hostname {
        process::set_hostname(name)?;
    }
    if let Some(name) = &asked.domainname {
        process::set_domainname(name)?;
    }
    // Before the first process is in it; afterwards the kernel refuses.
    for (clock, seconds) in [("monotonic", asked.monotonic), ("boottime", asked.boottime)] {
        if let Some(seconds) = seconds {
            let line = format!("{clock} {seconds} 0\n");
            idmap::write_file("/proc/self/timens_offsets".as_ref(), line.as_bytes())
                .doing(|| format!("set the {clock} clock {seconds} s ahead"))?;
        }
    }
    Ok(())
}

fn mount_proc() -> kernel::Result<()> {
    let tree = mount::new("proc", &[], attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    let place = kernel::root::open_directory_path("/proc".as_ref())?;
    mount::attach(&tree, place)?;
    mount::set_propagation(tree, Propagation::Private, Depth::One)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_with(asked: Unsharing) -> String {
        check(&asked).map(|_| ()).unwrap_err().message
    }

    #[test]
    fn what_is_asked_about_a_kind_asks_for_it() {
        let asked = Unsharing {
            map_root: true,
            mount_proc: true,
            hostname: Some("x".into()),
            monotonic: Some(1),
            ..Unsharing::default()
        };
        assert_eq!(check(&asked).unwrap().kinds.to_string(), "user,uts,time,mnt");
        let asked = Unsharing { kinds: Some("net,pid".into()), fork: true, mount_proc: true, ..Unsharing::default() };
        assert_eq!(check(&asked).unwrap().kinds.to_string(), "net,pid,mnt");
    }

    #[test]
    fn what_can_not_be_is_refused_before_anything_is_done() {
        assert!(refused_with(Unsharing::default()).contains("not said"));
        let pid = Unsharing { kinds: Some("pid".into()), mount_proc: true, ..Unsharing::default() };
        assert!(refused_with(pid).contains("would not be in it"));
        let map = |lines: &[&str]| Unsharing {
            maps: lines.iter().map(|line| (*line).to_owned()).collect(),
            ..Unsharing::default()
        };
        assert_eq!(refused_with(map(&["0:0"])), "map of users: invalid id map \"0:0\": it is not three numbers");
        assert_eq!(refused_with(map(&["0:0:5", "4:10:1"])), "map of users: 0:0:5 and 4:10:1 overlap inside");
        assert_eq!(refused_with(map(&["0:7:5", "9:8:1"])), "map of users: 0:7:5 and 9:8:1 overlap outside");
        assert!(refused_with(Unsharing { map_root: true, ..map(&["0:0:1"]) }).contains("can not be used together"));
        assert!(
            refused_with(Unsharing { hostname: Some("x".repeat(65)), ..Unsharing::default() })
                .contains("1 to 64 bytes")
        );
        assert!(refused_with(Unsharing { kinds: Some("nets".into()), ..Unsharing::default() }).contains("\"nets\""));
        assert!(
            refused_with(Unsharing { propagation: Some("x".into()), ..Unsharing::default() }).contains("propagation")
        );
        let lines: Vec<String> = (0..341).map(|n| format!("{}:{}:1", 2 * n, 2 * n)).collect();
        assert_eq!(map_of(&lines).unwrap_err().message, "an id map of 341 lines: the kernel takes 340");
    }
}
