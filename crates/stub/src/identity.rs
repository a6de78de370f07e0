// SPDX-License-Identifier: Apache-2.0
//! Operations on who the process is and what it may.

use crate::find;
use crate::follow::{AT_FDCWD, Follower};
use crate::sys::{Call, Failure, Result, Stat, Text, call, close, errno, nr, same};
use crate::wire::NONE;

pub(crate) const PR_SET_NAME: u64 = 15;

pub(crate) fn identity(on: &Follower<'_>, operands: &[u64; 6], keep_groups: bool) -> Result<()> {
    let [user, group, groups, count, ..] = *operands;
    let list = on.bytes(groups, count * 4)?;
    match call!(nr::SETGROUPS, count, list.as_ptr()) {
        // A user namespace that was mapped by an ordinary user: nobody in it changes groups.
        Err(errno::EPERM) if keep_groups => {}
        other => {
            other.call("setgroups", b"")?;
        }
    }
    call!(nr::SETRESGID, group, group, group).call("setresgid", b"")?;
    call!(nr::SETRESUID, user, user, user).call("setresuid", b"").map(drop)
}

/// A pipe that root has made can not be opened again by another user (`/dev/stdout`) unless it is that user's.
pub(crate) fn own_streams(user: u64) {
    const NULL: (u32, u32) = (1, 3);
    const EMPTY_PATH: usize = 0x1000;
    for number in 0..3 {
        // What is closed, the null device, and what may not be changed stays as it is.
        let Ok(stat) = Stat::of(number) else { continue };
        if stat.device != NULL && u64::from(stat.user) != user {
            call!(nr::FCHOWNAT, number, c"".as_ptr(), user, u32::MAX, EMPTY_PATH).ok();
        }
    }
}

pub(crate) fn prctl(option: u64, second: u64, third: u64, harmless: bool) -> Result<()> {
    match call!(nr::PRCTL, option, second, third, 0, 0) {
        Err(_) if harmless => Ok(()),
        other => other.call("prctl", b"").map(drop),
    }
}

/// A kernel without keyrings has none to leave.
pub(crate) fn keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    match call!(nr::KEYCTL, JOIN_SESSION_KEYRING, 0) {
        Err(errno::ENOSYS) => Ok(()),
        other => other.call("keyctl", b"KEYCTL_JOIN_SESSION_KEYRING").map(drop),
    }
}

pub(crate) fn landlock(handled: u64, dev: u64) -> Result<()> {
    const PATH_BENEATH: usize = 1;
    let made = call!(same::LANDLOCK_CREATE_RULESET, &raw const handled, 8, 0).call("landlock_create_ruleset", b"")?;
    match find::open_at(AT_FDCWD, b"/dev\0", find::O_PATH | find::O_CLOEXEC, 0) {
        Err(errno::ENOENT) => {}
        Err(errno) => return Err(Failure { errno, call: "open", about: Text::new(b"/dev") }),
        Ok(fd) => {
            // struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of a descriptor.
            let rule = [dev, u64::from(fd.cast_unsigned())];
            call!(same::LANDLOCK_ADD_RULE, made, PATH_BENEATH, rule.as_ptr(), 0).call("landlock_add_rule", b"/dev")?;
            close(fd);
        }
    }
    call!(same::LANDLOCK_RESTRICT_SELF, made, 0).call("landlock_restrict_self", b"").map(drop)
}

pub(crate) fn bounding(keep: u64) -> Result<()> {
    const DROP: usize = 24;
    const SET_KEEPCAPS: u64 = 8;
    prctl(SET_KEEPCAPS, 1, 0, false)?;
    for number in 0..64 {
        if keep >> number & 1 == 1 {
            continue;
        }
        match call!(nr::PRCTL, DROP, number, 0, 0, 0) {
            // The first number that this kernel does not know ends the list.
            Err(errno::EINVAL) => break,
            other => other.call("prctl", b"PR_CAPBSET_DROP")?,
        };
    }
    Ok(())
}

pub(crate) fn capabilities(effective: u64, permitted: u64, inheritable: u64, ambient: u64) -> Result<()> {
    const VERSION_3: u64 = 0x2008_0522;
    const AMBIENT: u64 = 47;
    const RAISE: u64 = 2;
    const CLEAR_ALL: u64 = 4;
    let header = VERSION_3;
    let low = |set: u64| set & 0xffff_ffff;
    // struct cap_user_data: effective, permitted, inheritable; once for each half.
    let words = [
        low(effective) | low(permitted) << 32,
        low(inheritable) | (effective >> 32) << 32,
        permitted >> 32 | (inheritable >> 32) << 32,
    ];
    call!(nr::CAPSET, &raw const header, words.as_ptr()).call("capset", b"")?;
    prctl(AMBIENT, CLEAR_ALL, 0, false)?;
    for number in 0..64 {
        if ambient >> number & 1 == 1 {
            prctl(AMBIENT, RAISE, number, false)?;
        }
    }
    Ok(())
}

/// Installs a filter. With a listener, the launcher is told its number and takes a copy before we go on.
pub(crate) fn seccomp(on: &Follower<'_>, operands: &[u64; 6]) -> Result<()> {
    const SET_MODE_FILTER: usize = 1;
    let [flags, instructions, count, listener, ..] = *operands;
    let bytes = on.bytes(instructions, count * 8)?;
    // struct sock_fprog: a count, and where the instructions are.
    let program = [count as usize, bytes.as_ptr() as usize];
    let fd = call!(nr::SECCOMP, SET_MODE_FILTER, flags, program.as_ptr()).call("seccomp", b"")?;
    if listener == NONE {
        return Ok(());
    }
    // write(2) and read(2), as runc does: a profile may have the listener decide on sendmsg(2), which nobody hears yet.
    let [a, b, c, d, ..] = fd.to_le_bytes();
    on.say(&[b'L', a, b, c, d]);
    let mut byte = [0_u8; 8];
    if call!(nr::READ, on.channel, byte.as_mut_ptr(), byte.len()).call("read", b"listener")? == 0 {
        // Nobody has taken it: calls that are left to the listener would be left to nobody.
        crate::sys::exit(125);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a descriptor")]
    close(fd as i32);
    Ok(())
}

/// What this session may not raise is set as high as it goes, and told.
pub(crate) fn limit(on: &Follower<'_>, resource: u64, soft: u64, hard: u64) -> Result<()> {
    let wanted = [soft, hard];
    match call!(nr::PRLIMIT64, 0, resource, wanted.as_ptr(), 0) {
        Err(errno::EPERM) => {}
        other => return other.call("prlimit", b"").map(drop),
    }
    let mut today = [0_u64; 2];
    call!(nr::PRLIMIT64, 0, resource, 0, today.as_mut_ptr()).call("prlimit", b"")?;
    let lowered = [soft.min(today[1]), hard.min(today[1])];
    call!(nr::PRLIMIT64, 0, resource, lowered.as_ptr(), 0).call("prlimit", b"")?;
    #[expect(clippy::cast_possible_truncation, reason = "there are 16")]
    on.say(&[b'W', resource as u8]);
    Ok(())
}
