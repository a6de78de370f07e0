// SPDX-License-Identifier: Apache-2.0
//! Ids on both sides: of users, groups, processes and files.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kernel::Errno;
use kernel::idmap;
use kernel::pidfd::Handle;
use kernel::survey::Survey;
use kernel::types::NamespaceKind;
use serde::Serialize;

use crate::error::{Doing, Error, Kind, Result};

/// What kind of id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A user.
    Uid,
    /// A group.
    Gid,
    /// A process.
    Pid,
}

impl What {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Pid => "pid",
        }
    }
}

/// `uid:33@web`: what user 33 of web is out here. `web@uid:100033` asks the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What kind of id.
    pub what: What,
    /// The id.
    pub number: u32,
    /// Is it one of ours (and not one inside)?
    pub from_outside: bool,
    /// Whose namespace.
    pub target: String,
}

impl FromStr for Question {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let error = Error::new(Kind::Invalid, format!("{text:?} is no id of something"));
            error.hint("write uid:33@web for what is inside, web@uid:100033 for what is outside; also gid: and pid:")
        };
        let id = |word: &str| {
            let (what, number) = word.split_once(':')?;
            let what = match what {
                "uid" => What::Uid,
                "gid" => What::Gid,
                "pid" => What::Pid,
                _ => return None,
            };
            Some((what, number.parse::<u32>().ok()?))
        };
        let (left, right) = text.split_once('@').ok_or_else(refuse)?;
        let (found, from_outside, target) = match (id(left), id(right)) {
            (Some(found), _) => (found, false, right),
            (None, Some(found)) => (found, true, left),
            (None, None) => return Err(refuse()),
        };
        if target.is_empty() {
            return Err(refuse());
        }
        Ok(Self { what: found.0, number: found.1, from_outside, target: target.to_owned() })
    }
}

/// An id on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Translation {
    /// What kind of id.
    pub what: What,
    /// In the namespace.
    pub inside: u32,
    /// As we see it.
    pub outside: u32,
    /// Of a process: what it is called at every level, by us first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<i32>,
}

pub(super) fn translate(handle: &Handle, question: &Question) -> Result<Translation> {
    let Question { what, number, from_outside, target } = question;
    if *what == What::Pid {
        return process(handle, question);
    }
    let (users, groups) = handle.checked(idmap::of(handle.pid())).doing(|| format!("read the id map of {target}"))?;
    let map = if *what == What::Uid { users } else { groups };
    let found = if *from_outside { map.inside(*number) } else { map.outside(*number) };
    let other = found.ok_or_else(|| {
        let side = if *from_outside { "inside" } else { "outside" };
        let error = Error::new(Kind::NotFound, format!("{} {number} is nobody {side} of {target}", what.word()));
        error.hint(format!("cella ns show {target} shows the ids that it has"))
    })?;
    let (inside, outside) = if *from_outside { (other, *number) } else { (*number, other) };
    Ok(Translation { what: *what, inside, outside, levels: Vec::new() })
}

fn process(handle: &Handle, question: &Question) -> Result<Translation> {
    let Question { number, from_outside, target, .. } = question;
    let side = if *from_outside { "out here that is in" } else { "in" };
    let unknown = || Error::new(Kind::NotFound, format!("there is no process {number} {side} {target}"));
    let namespace = handle.namespace(NamespaceKind::Pid).doing(|| format!("look into {target}"))?;
    let pid = i32::try_from(*number).ok().filter(|pid| *pid > 0).ok_or_else(unknown)?;
    let answer = if *from_outside { namespace.pid_inside(pid) } else { namespace.pid_outside(pid) };
    let (inside, outside) = match answer {
        Ok(other) if *from_outside => (other, pid),
        Ok(other) => (pid, other),
        Err(error) if error.is(Errno::NOTTY) => search(handle, pid, *from_outside)?.ok_or_else(unknown)?,
        Err(error) if error.is(Errno::SRCH) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    let levels = kernel::procfs::process(outside).map(|process| process.pids).unwrap_or_default();
    let plain = |pid: i32| u32::try_from(pid).unwrap_or(0);
    Ok(Translation { what: What::Pid, inside: plain(inside), outside: plain(outside), levels })
}

/// Before Linux 6.11: every process of the same level is asked, then its namespace.
fn search(handle: &Handle, wanted: i32, from_outside: bool) -> Result<Option<(i32, i32)>> {
    let level = handle.checked(kernel::procfs::process(handle.pid()))?.pids.len();
    let mut survey = Survey::open()?;
    let index = NamespaceKind::ALL.iter().position(|kind| *kind == NamespaceKind::Pid).unwrap_or(0);
    let of = |links: kernel::survey::Links| links.own.get(index).copied();
    let own = survey.links(handle.pid()).map(of)?;
    for pid in survey.pids()? {
        if from_outside && pid != wanted {
            continue;
        }
        let Ok(process) = kernel::procfs::process(pid) else { continue };
        // One of a namespace below has a number in this one, too.
        let Some(inside) = process.pids.get(level - 1) else { continue };
        let is_in = process.pids.len() > level || survey.links(pid).map(of).ok() == Some(own);
        if is_in && (from_outside || *inside == wanted) {
            return Ok(Some((*inside, pid)));
        }
    }
    Ok(None)
}

/// Who owns a file, on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileOwners {
    /// The path, as the process has it.
    pub path: PathBuf,
    /// User outside.
    pub uid: u32,
    /// Group outside.
    pub gid: u32,
    /// User inside; `None` is nobody there.
    pub inside_uid: Option<u32>,
    /// Group inside.
    pub inside_gid: Option<u32>,
    /// Permission bits.
    pub mode: u32,
}

/// The path is one of the process's own: links in it stay below its root.
pub(super) fn stat(handle: &Handle, path: &Path) -> Result<FileOwners> {
    let root = kernel::root::Root::new(handle.root()?);
    let file = root.find(path, false)?;
    let entry = kernel::fs::look_fd(&file)?;
    let (users, groups) = handle.checked(idmap::of(handle.pid()))?;
    Ok(FileOwners {
        path: path.to_owned(),
        uid: entry.uid,
        gid: entry.gid,
        inside_uid: users.inside(entry.uid),
        inside_gid: groups.inside(entry.gid),
        mode: entry.mode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_or_refused() {
        let question: Question = "uid:33@web".parse().unwrap();
        assert_eq!(question, Question { what: What::Uid, number: 33, from_outside: false, target: "web".into() });
        let question: Question = "1234@pid:7".parse().unwrap();
        assert_eq!(question, Question { what: What::Pid, number: 7, from_outside: true, target: "1234".into() });
        for bad in
            ["uid:33", "33@web", "uid:@web", "uid:-1@web", "xid:1@web", "uid:1@", "@uid:1", "uid:4294967296@web", ""]
        {
            let error = bad.parse::<Question>().unwrap_err();
            assert!(error.kind == Kind::Invalid && error.hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn in_our_own_namespaces_everything_is_the_same() {
        let own = Handle::open(kernel::process::id()).unwrap();
        let target = own.pid().to_string();
        for what in [What::Uid, What::Gid, What::Pid] {
            let number = if what == What::Pid { own.pid().cast_unsigned() } else { 0 };
            for from_outside in [false, true] {
                let question = Question { what, number, from_outside, target: target.clone() };
                let answer = translate(&own, &question).unwrap();
                assert_eq!((answer.inside, answer.outside), (number, number), "{what:?}");
            }
        }
        assert_eq!(search(&own, own.pid(), false).unwrap(), Some((own.pid(), own.pid())));
        let nobody = Question { what: What::Pid, number: 4_000_000_000, from_outside: false, target };
        assert_eq!(translate(&own, &nobody).unwrap_err().kind, Kind::NotFound);
    }
}
