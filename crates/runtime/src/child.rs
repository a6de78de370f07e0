// SPDX-License-Identifier: Apache-2.0
//! The child's side of a launch: follows the plan's steps inside the namespaces. It parses nothing and decides nothing.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::mount::{self, Depth, Parameter};
use kernel::root::{Kind, Root};
use kernel::types::{NamespaceKind, Propagation, attr};
use kernel::{Errno, Error, Result};
use plan::{Plan, Step, TimeOffset};

use crate::init;
use crate::launch::{Report, exec_kind};

/// What the child has been given.
pub(crate) struct Child<'a> {
    pub(crate) plan: &'a Plan,
    /// To the launcher.
    pub(crate) channel: OwnedFd,
    /// Files of version 1 groups.
    pub(crate) groups: Vec<OwnedFd>,
    /// Standard input, output, error.
    pub(crate) streams: Option<[OwnedFd; 3]>,
}

/// What the steps have made so far.
#[derive(Default)]
struct Made {
    trees: Vec<Option<OwnedFd>>,
    sources: Vec<Option<OwnedFd>>,
    root: Option<Root>,
    proc: Option<OwnedFd>,
    pts: Option<OwnedFd>,
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Child<'_> {
    /// Waits for the launcher's word, then follows the plan; comes back only to say which step failed.
    pub(crate) fn follow(mut self) -> Report {
        let mut made = match self.prepare() {
            Ok(made) => made,
            Err(error) => return Report::failed(u32::MAX, &error),
        };
        for (index, step) in self.plan.steps.iter().enumerate() {
            if let Err(error) = self.take(step, &mut made) {
                return Report::failed(u32::try_from(index).unwrap_or(u32::MAX), &error);
            }
        }
        Report::failed(u32::MAX, &Error::new("the plan has no Step::Execute", Errno::INVAL))
    }

    fn prepare(&mut self) -> Result<Made> {
        kernel::process::die_with_parent()?;
        kernel::signal::reset()?;
        kernel::process::set_undumpable()?;
        kernel::process::new_session()?;
        let mut buffer = [0; 16];
        let (length, descriptors) = kernel::socket::receive(&self.channel, &mut buffer)?;
        if length == 0 {
            // The launcher has died: so do we.
            kernel::process::exit_now(125);
        }
        let mut descriptors = descriptors.into_iter().map(Some);
        let trees = descriptors.by_ref().take(self.plan.trees.len()).collect();
        let made = Made { trees, sources: descriptors.collect(), ..Made::default() };
        if let Some(streams) = self.streams.take() {
            for (stream, number) in streams.iter().zip(0..) {
                kernel::process::place(stream, number)?;
            }
        }
        Ok(made)
    }

    fn take(&self, step: &Step, made: &mut Made) -> Result<()> {
        match step {
            Step::DieWithParent => kernel::process::die_with_parent(),
            Step::BecomeRoot => kernel::process::set_groups(&[]).and_then(|()| kernel::process::set_ids(0, 0)),
            Step::JoinGroups => self.groups.iter().try_for_each(|group| kernel::event::write(group, b"0").map(drop)),
            Step::UnshareCgroup => kernel::namespace::unshare(NamespaceKind::Cgroup.flag()),
            Step::TimeOffsets { offsets } => set_clocks(offsets),
            Step::NewKeyring => new_keyring(),
            Step::Hostname { name } => kernel::namespace::set_hostname(name),
            Step::Domainname { name } => kernel::namespace::set_domainname(name),
            Step::LoopbackUp => kernel::net::loopback_up(),
            Step::PrivateMounts => mount::set_all_propagation(Propagation::Private),
            Step::AttachRoot => made.attach_root(),
            Step::AttachTree { tree, target } => made.attach_tree(*tree, target),
            Step::Mount { target, kind, parameters, attributes, strict } => {
                made.mount(target, kind, parameters, *attributes, *strict)
            }
            Step::Attach { source, target } => made.attach(*source, target),
            Step::Directory { target, mode } => {
                made.root()?.find_or_make(target, Kind::Directory, *mode, false).map(drop)
            }
            Step::Symlink { target, link } => made.root()?.symlink(target, link),
            Step::Terminal { uid } => self.open_terminal(*uid, made),
            Step::Sysctl { file, value } => made.write_sysctl(file, value),
            Step::Mask { targets } => targets.iter().try_for_each(|target| made.mask(target)),
            Step::ReadOnly { targets } => targets.iter().try_for_each(|target| made.make_read_only(target)),
            Step::RootReadOnly => mount::set_attributes(made.root()?, attr::RDONLY, 0, Depth::One),
            Step::Pivot => mount::pivot_here(),
            Step::WorkingDirectory { path } => enter(made.root()?, path),
            Step::Label { file, value } => write_label(file, value),
            Step::Landlock { handled, dev } => restrict(*handled, *dev),
            Step::BoundingSet { keep } => {
                kernel::capability::keep(true)?;
                kernel::capability::limit_bounding(*keep)
            }
            Step::Identity { uid, gid, groups, umask } => {
                kernel::process::set_umask(*umask);
                kernel::process::set_groups(groups)?;
                kernel::process::set_ids(*uid, *gid)
            }
            Step::Capabilities { effective, permitted, inheritable, ambient } => {
                kernel::capability::set(*effective, *permitted, *inheritable)?;
                kernel::capability::set_ambient(*ambient)
            }
            Step::NoNewPrivileges => kernel::process::set_no_new_privileges(),
            Step::Seccomp { program } => kernel::seccomp::install(&program.instructions, program.flags),
            Step::Init => init::fork(&self.channel),
            Step::Execute { candidates, arguments, environment } => {
                execute(candidates, arguments, environment).map(drop)
            }
        }
    }

    /// The terminal comes from the container's own devpts, so that its name means the same inside.
    fn open_terminal(&self, uid: u32, made: &mut Made) -> Result<()> {
        const TTY_GROUP: u32 = 5;
        let pts = made.pts.as_ref().ok_or_else(|| Error::new("terminal: no devpts is mounted", Errno::NODEV))?;
        let (master, slave) = kernel::pty::open_pair(pts)?;
        kernel::root::set_owner(&slave, uid, TTY_GROUP).or_else(|_| kernel::root::set_owner(&slave, uid, 0))?;
        kernel::socket::send(&self.channel, &[b"T"], &[master.as_fd()])?;
        kernel::pty::set_controlling(&slave)?;
        (0..3).try_for_each(|number| kernel::process::place(&slave, number))?;
        let console = mount::clone_fd(&slave, false)?;
        let place = made.root()?.find_or_make(Path::new("/dev/console"), Kind::File, 0o600, false)?;
        mount::attach(console, place)
    }
}

impl Made {
    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| Error::new("no root is attached", Errno::NOENT))
    }

    fn descriptor(list: &mut [Option<OwnedFd>], index: usize) -> Result<OwnedFd> {
        list.get_mut(index).and_then(Option::take).ok_or_else(|| Error::new(format!("descriptor {index}"), Errno::BADF))
    }

    /// The root is attached over the host's /dev, which is on every host and whose content comes as descriptors; the
    /// host's /proc and /sys have to stay visible until their successors are mounted, or the kernel refuses these.
    fn attach_root(&mut self) -> Result<()> {
        let tree = Self::descriptor(&mut self.trees, 0)?;
        let anchor = kernel::root::open_directory_path(Path::new("/dev"))?;
        mount::attach(&tree, &anchor)?;
        kernel::process::change_directory(&tree)?;
        self.root = Some(Root::new(kernel::root::open_directory(&tree, ".")?));
        Ok(())
    }

    fn attach_tree(&mut self, index: usize, target: &Path) -> Result<()> {
        let tree = Self::descriptor(&mut self.trees, index)?;
        let place = self.root()?.find_or_make(target, Kind::Directory, 0o755, true)?;
        mount::attach(&tree, place)
    }

    fn mount(&mut self, target: &Path, kind: &str, parameters: &[String], attributes: u64, strict: bool) -> Result<()> {
        let place = self.root()?.find_or_make(target, Kind::Directory, 0o755, strict)?;
        let parsed: Vec<Parameter<'_>> = parameters
            .iter()
            .map(|text| match text.split_once('=') {
                Some((key, value)) => Parameter::Text(key, value),
                None => Parameter::Flag(text),
            })
            .collect();
        let mounted = mount::new(kind, &parsed, attributes)?;
        mount::attach(&mounted, place)?;
        match kind {
            "proc" if self.proc.is_none() => self.proc = Some(kernel::root::open_directory(&mounted, ".")?),
            "devpts" if self.pts.is_none() => self.pts = Some(kernel::root::open_directory(&mounted, ".")?),
            _ => {}
        }
        Ok(())
    }

    fn attach(&mut self, index: usize, target: &Path) -> Result<()> {
        let source = Self::descriptor(&mut self.sources, index)?;
        let kind = if kernel::root::is_directory(&source)? { Kind::Directory } else { Kind::File };
        let place = self.root()?.find_or_make(target, kind, if kind == Kind::File { 0o644 } else { 0o755 }, false)?;
        mount::attach(&source, place)?;
        if target == Path::new("/proc") && self.proc.is_none() {
            self.proc = Some(kernel::root::open_directory(&source, ".")?);
        }
        if target == Path::new("/dev/null") {
            self.null = Some(source);
        }
        Ok(())
    }

    fn write_sysctl(&self, file: &Path, value: &str) -> Result<()> {
        let proc = self.proc.as_ref().ok_or_else(|| Error::new("sysctl: no proc is mounted", Errno::NODEV))?;
        kernel::root::write_beneath(proc, &Path::new("sys").join(file), value.as_bytes())
    }

    /// A file is hidden by a copy of the null device that was verified outside, a directory by an empty one.
    fn mask(&mut self, target: &Path) -> Result<()> {
        let place = match self.root()?.find(target, false) {
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let cover = if kernel::root::is_directory(&place)? {
            match &self.empty {
                Some(empty) => mount::clone_fd(empty, false)?,
                None => {
                    let parameters = [Parameter::Text("size", "0"), Parameter::Text("nr_inodes", "1")];
                    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                    let empty = mount::new("tmpfs", &parameters, attributes)?;
                    mount::attach(&empty, place)?;
                    self.empty = Some(empty);
                    return Ok(());
                }
            }
        } else {
            let null = self.null.as_ref().ok_or_else(|| Error::new("mask: no null device", Errno::NODEV))?;
            mount::clone_fd(null, false)?
        };
        mount::attach(cover, place)
    }

    fn make_read_only(&self, target: &Path) -> Result<()> {
        let place = match self.root()?.find(target, false) {
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        if kernel::root::is_mount_root(&place)? {
            return mount::set_attributes(&place, attr::RDONLY, 0, Depth::One);
        }
        let copy = mount::clone_fd(&place, true)?;
        mount::set_attributes(&copy, attr::RDONLY, 0, Depth::Recursive)?;
        mount::attach(copy, place)
    }
}

fn set_clocks(offsets: &[TimeOffset]) -> Result<()> {
    kernel::namespace::unshare(NamespaceKind::Time.flag())?;
    for offset in offsets {
        let line = format!("{} {} {}", offset.clock, offset.seconds, offset.nanoseconds);
        kernel::idmap::write_file(Path::new("/proc/self/timens_offsets"), line.as_bytes())?;
    }
    let own = kernel::namespace::open(Path::new("/proc/self/ns/time_for_children"))?;
    kernel::namespace::join(own, NamespaceKind::Time.flag())
}

/// A kernel without keyrings has none to leave.
fn new_keyring() -> Result<()> {
    match kernel::process::new_session_keyring() {
        Err(error) if error.is(Errno::NOSYS) => Ok(()),
        other => other,
    }
}

/// Stands in the directory, and makes sure that it is inside: a path that leads outside does not begin with a slash.
fn enter(root: &Root, path: &Path) -> Result<()> {
    let directory = match root.find_or_make(path, Kind::Directory, 0o755, false) {
        // Nothing can be made below a read-only root: say what is missing instead.
        Err(error) if error.is(Errno::ROFS) => return Err(Error::new(format!("chdir({path:?})"), Errno::NOENT)),
        other => other?,
    };
    kernel::process::change_directory(directory)?;
    match kernel::process::working_directory()?.first() {
        Some(b'/') => Ok(()),
        _ => Err(Error::new(format!("chdir({path:?}): it is outside of the root"), Errno::XDEV)),
    }
}

fn write_label(file: &str, value: &str) -> Result<()> {
    let path = PathBuf::from("/proc/thread-self/attr").join(file);
    match kernel::idmap::write_file(&path, value.as_bytes()) {
        // Older kernels have AppArmor's file where SELinux has its.
        Err(error) if error.is(Errno::NOENT) && file == "apparmor/exec" => {
            kernel::idmap::write_file(Path::new("/proc/thread-self/attr/exec"), value.as_bytes())
        }
        other => other,
    }
}

pub(crate) fn restrict(handled: u64, dev: u64) -> Result<()> {
    let rules = kernel::landlock::Ruleset::new(handled)?;
    match kernel::root::open_directory_path(Path::new("/dev")) {
        Ok(directory) => rules.allow(directory, dev)?,
        Err(error) if error.is(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    rules.restrict()
}

fn execute(candidates: &[String], arguments: &[String], environment: &[String]) -> Result<Infallible> {
    let texts =
        |list: &[String]| -> Vec<CString> { list.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect() };
    execute_first(&texts(candidates), &texts(arguments), &texts(environment))
}

/// Tries the candidates in order, as execvp(3) does: one that is there but can not be run is told if none can.
pub(crate) fn execute_first(
    candidates: &[CString],
    arguments: &[CString],
    environment: &[CString],
) -> Result<Infallible> {
    kernel::process::close_on_exec_from(3)?;
    let mut worst: Option<Error> = None;
    for candidate in candidates {
        let error = match kernel::process::execute(candidate, arguments, environment) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if worst.as_ref().is_none_or(|worst| exec_kind(worst.errno) < exec_kind(error.errno)) {
            worst = Some(error);
        }
    }
    Err(worst.unwrap_or_else(|| Error::new("execve()", Errno::NOENT)))
}
