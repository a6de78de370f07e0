// SPDX-License-Identifier: Apache-2.0
//! Running a program in namespaces that are there (setns(2)).

use std::path::PathBuf;

use kernel::namespace::{Namespace, NamespaceSet};
use kernel::pidfd::Handle;
use kernel::types::NamespaceKind;
use kernel::{Errno, process};

use super::program::{self, Program};
use super::target::Target;
use crate::error::{Doing, Error, Kind, Result};

/// What is entered, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Entering {
    /// A process, a container, or a file.
    pub target: String,
    /// Kinds, with commas between them; all in which the target differs from us otherwise.
    pub kinds: Option<String>,
    /// User and group inside; root where a user namespace is entered.
    pub user: Option<(u32, u32)>,
    /// Ids and groups stay what they are.
    pub keep_ids: bool,
    /// The target's root directory, too: of a process that has changed it without a mount namespace.
    pub chroot: bool,
    /// Where the program starts.
    pub workdir: Option<PathBuf>,
}

pub(super) fn enter(target: Target, entering: &Entering, program: &Program) -> Result<i32> {
    let name = &entering.target;
    let asked = entering.kinds.as_deref().map(kinds_of).transpose()?;
    let kinds = match &target {
        Target::Process(handle) => {
            let different = handle.different().map_err(super::details::unseen).doing(|| format!("enter {name}"))?;
            asked.map_or(different, |asked| asked.iter().filter(|kind| different.has(*kind)).collect())
        }
        Target::File(namespace) => of_file(namespace, asked, entering)?,
    };
    if kinds.has(NamespaceKind::Mount) && !kinds.has(NamespaceKind::User) {
        program::seal()?;
    }
    // Everything is opened before the first step: afterwards neither paths nor rights are what they were.
    let root = match &target {
        Target::Process(handle) if entering.chroot => Some(handle.root().doing(|| format!("enter {name}"))?),
        Target::Process(_) | Target::File(_) => None,
    };
    // Whoever is in there and may trace us, or write to what we are, has nothing of us before the program begins.
    process::set_undumpable()?;
    if kinds.has(NamespaceKind::User) && !entering.keep_ids {
        // Only who has rights out here can; who has not, tries inside.
        process::set_groups(&[]).ok();
    }
    match &target {
        Target::Process(handle) => join_process(handle, kinds),
        Target::File(_) if kinds.is_empty() => Ok(()),
        Target::File(namespace) => namespace.enter(),
    }
    .map_err(|error| refused(name, kinds, error))?;
    if let Some(root) = root {
        process::change_root(root).doing(|| format!("enter {name}"))?;
    }
    if kinds.has(NamespaceKind::Pid)
        && let Some(code) = program::go_on_in_child()?
    {
        return Ok(code);
    }
    settle(entering, kinds)?;
    program.execute()
}

fn of_file(namespace: &Namespace, asked: Option<NamespaceSet>, entering: &Entering) -> Result<NamespaceSet> {
    let own = NamespaceSet::of(&[namespace.id().kind]);
    if asked.is_some_and(|asked| asked != own) {
        let message = format!("{} is a {} namespace, and no other", entering.target, namespace.id().kind);
        return Err(Error::new(Kind::Invalid, message).hint("leave --types out"));
    }
    if entering.chroot {
        let error = Error::new(Kind::Invalid, format!("{} has no root directory", entering.target));
        return Err(error.hint("--chroot is for a process or a container"));
    }
    let ours = Namespace::current(namespace.id().kind)?.id();
    Ok(if ours == namespace.id() { NamespaceSet::EMPTY } else { own })
}

/// All at once, or none. Before Linux 5.8 a pidfd was not taken: by files then, which are opened before the first is joined.
fn join_process(handle: &Handle, kinds: NamespaceSet) -> kernel::Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    match handle.enter(kinds) {
        Err(error) if error.is(Errno::INVAL) && !kernel::probe::at_least(5, 8) => {}
        other => return other,
    }
    let files = kinds.iter().map(|kind| handle.namespace(kind)).collect::<kernel::Result<Vec<_>>>()?;
    files.iter().try_for_each(Namespace::enter)
}

fn refused(name: &str, kinds: NamespaceSet, error: kernel::Error) -> Error {
    let ended = error.is(Errno::SRCH);
    let is_root = process::euid() == 0;
    let without_user = !kinds.has(NamespaceKind::User);
    let hint = match error.errno {
        Errno::PERM if !is_root && without_user => {
            Some("enter its user namespace too (--types user,…), or run it as root (sudo)")
        }
        Errno::PERM if !is_root => Some("run it as root (sudo)"),
        Errno::PERM => Some("whoever made its user namespace has the right, and who has CAP_SYS_ADMIN above it"),
        _ => None,
    };
    let message =
        if ended { format!("cannot enter {name}: it has ended") } else { format!("cannot enter {name}: {error}") };
    let error = Error::new(if ended { Kind::NotFound } else { Kind::Own }, message);
    hint.into_iter().fold(error, Error::hint)
}

/// Who we are and where we stand, as the last step before the program.
fn settle(entering: &Entering, kinds: NamespaceSet) -> Result<()> {
    let user = entering.user.or((kinds.has(NamespaceKind::User) && !entering.keep_ids).then_some((0, 0)));
    if let Some((uid, gid)) = user {
        program::become_user(uid, gid).map_err(|error| match error.errno {
            Errno::INVAL => {
                let message = format!("cannot become {uid}:{gid}: the user namespace has no such id");
                Error::new(Kind::Invalid, message).hint("write --user UID:GID or --keep-ids")
            }
            _ => Error::from(error),
        })?;
    }
    program::stand_in(entering.workdir.as_deref())?;
    // A change of ids would have forgotten it.
    if kinds.has(NamespaceKind::Pid) {
        process::die_with_parent().doing(|| "run a child")?;
    }
    Ok(())
}

/// Kinds with commas between them.
pub(super) fn kinds_of(text: &str) -> Result<NamespaceSet> {
    text.split(',').map(|word| super::kind_of(word.trim())).collect()
}
