// SPDX-License-Identifier: Apache-2.0
//! The plan in words, for people and for error messages.

use std::fmt;

use kernel::types::attr;

use crate::step::{Idmap, Plan, Source, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "control group {}", self.cgroup.name)?;
        for setting in &self.cgroup.settings {
            writeln!(f, "  {}/{} = {}", setting.0.controller, setting.0.file, setting.0.value)?;
        }
        let new: Vec<&str> = self.new_namespaces.iter().map(|kind| kind.file()).collect();
        writeln!(f, "new namespaces: {}", new.join(" "))?;
        for join in &self.join_namespaces {
            writeln!(f, "join namespace {} of {}", join.kind, join.path.display())?;
        }
        for map in &self.uid_map {
            let (last, outside) = (map.inside + (map.count - 1), map.outside + (map.count - 1));
            writeln!(f, "users {}–{last} inside are {}–{outside} outside", map.inside, map.outside)?;
        }
        for limit in &self.limits {
            writeln!(f, "limit {} {}:{}", limit.name, Number(limit.soft), Number(limit.hard))?;
        }
        for tree in &self.trees {
            writeln!(f, "tree {} = {} below {}", tree.target.display(), Layers(&tree.lowers), tree.upper.display())?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Attach { source, target } => {
                    let source = self.sources.get(*source);
                    writeln!(f, "{index:3}  attach {} on {}", Told(source), target.display())?;
                }
                Step::AttachRootSource { source } => {
                    writeln!(f, "{index:3}  attach {} as the root", Told(self.sources.get(*source)))?;
                }
                step => writeln!(f, "{index:3}  {step}")?,
            }
        }
        Ok(())
    }
}

struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("unlimited") } else { write!(f, "{}", self.0) }
    }
}

struct Layers<'a>(&'a [std::path::PathBuf]);

impl fmt::Display for Layers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " : " }, layer.display())?;
        }
        Ok(())
    }
}

struct Told<'a>(Option<&'a Source>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Source::Bind { path, set, set_below, idmap, .. }) => {
                let shifted = if *idmap == Idmap::None { "" } else { " with shifted ids" };
                write!(f, "{}{}{shifted}", path.display(), Attributes(*set | *set_below))
            }
            Some(Source::CopyUp { path, attributes, .. }) => {
                write!(f, "tmpfs with a copy of {}{}", path.display(), Attributes(*attributes))
            }
            Some(Source::View { path, .. }) => write!(f, "its own {}", path.display()),
            Some(Source::Device { path, .. }) => write!(f, "device {}", path.display()),
            Some(Source::Node { character, major, minor, .. }) => {
                write!(f, "device {} {major}:{minor}", if *character { 'c' } else { 'b' })
            }
            None => f.write_str("nothing"),
        }
    }
}

struct Attributes(u64);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [(attr::RDONLY, "ro"), (attr::NOSUID, "nosuid"), (attr::NODEV, "nodev"), (attr::NOEXEC, "noexec")];
        let names: Vec<&str> = known.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| *name).collect();
        if names.is_empty() { Ok(()) } else { write!(f, " ({})", names.join(",")) }
    }
}

fn join<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn paths(list: &[std::path::PathBuf]) -> String {
    list.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithParent => f.write_str("die with the keeper"),
            Self::BecomeRoot => f.write_str("become root inside"),
            Self::JoinGroups => f.write_str("join the control groups"),
            Self::UnshareCgroup => f.write_str("own view of the control groups"),
            Self::TimeOffsets { offsets } => {
                let told: Vec<String> =
                    offsets.iter().map(|one| format!("{}={}.{:09}", one.clock, one.seconds, one.nanoseconds)).collect();
                write!(f, "own clocks {}", told.join(" "))
            }
            Self::NewKeyring => f.write_str("new session keyring"),
            Self::Hostname { name } => write!(f, "set host name {name}"),
            Self::Domainname { name } => write!(f, "set domain name {name}"),
            Self::LoopbackUp => f.write_str("bring up the loopback device"),
            Self::CutMounts { propagation } => write!(f, "make mounts {propagation}"),
            Self::AttachRootSource { .. } => f.write_str("attach the root file system"),
            Self::Remount { target, set, .. } => write!(f, "remount {}{}", target.display(), Attributes(*set)),
            Self::Node { target, mode, major, minor, .. } => {
                write!(f, "make node {} {major}:{minor} mode {:o}", target.display(), mode & 0o7777)
            }
            Self::Pause => f.write_str("wait for the launcher"),
            Self::JoinNetwork => f.write_str("join the network namespace, its loopback device up"),
            Self::Limited => f.write_str("wait for the limits"),
            Self::Hook { hook } => write!(f, "run hook {}", hook.path),
            Self::Look { candidates } => write!(f, "look for {}", candidates.join(" or ")),
            Self::Park => f.write_str("wait for start"),
            Self::Scheduler { scheduler } => write!(f, "set scheduling policy {}", scheduler.policy),
            Self::IoPriority { value } => write!(f, "set I/O priority {}.{}", value >> 13, value & 0x1fff),
            Self::Affinity { processors } => write!(f, "run on processors {}", join(processors)),
            Self::Personality { value } => write!(f, "set personality {value:#x}"),
            Self::MemoryPolicy { mode, nodes } => {
                write!(f, "take memory by policy {mode:#x} from nodes {}", join(nodes))
            }
            Self::MoveRoot => f.write_str("move the root over the old one"),
            Self::RootPropagation { propagation, .. } => write!(f, "make the root {propagation}"),
            Self::CloseOnExec { first } => write!(f, "close descriptors from {first} on at execve"),
            Self::AttachRoot => f.write_str("attach the root file system"),
            Self::AttachTree { target, .. } => write!(f, "attach tree {}", target.display()),
            Self::Mount { target, kind, parameters, attributes, .. } => {
                write!(f, "mount {kind} on {}{}", target.display(), Attributes(*attributes))?;
                if parameters.is_empty() { Ok(()) } else { write!(f, " {}", parameters.join(",")) }
            }
            Self::Attach { target, .. } => write!(f, "mount on {}", target.display()),
            Self::Directory { target, mode } => write!(f, "make directory {} mode {mode:o}", target.display()),
            Self::Symlink { target, link } => write!(f, "link {} -> {link}", target.display()),
            Self::Terminal { .. } => f.write_str("open the terminal"),
            Self::Sysctl { file, value } => write!(f, "set /proc/sys/{} = {value}", file.display()),
            Self::Mask { targets } => write!(f, "mask {}", paths(targets)),
            Self::ReadOnly { targets } => write!(f, "make read-only {}", paths(targets)),
            Self::RootReadOnly => f.write_str("make the root read-only"),
            Self::Pivot => f.write_str("change the root"),
            Self::WorkingDirectory { path } => write!(f, "enter working directory {}", path.display()),
            Self::Label { file, value } => write!(f, "set label {value} ({file})"),
            Self::Landlock { .. } => f.write_str("give up device nodes (Landlock)"),
            Self::BoundingSet { keep } => {
                write!(f, "keep capabilities {}", join(&keep.names().collect::<Vec<_>>()))
            }
            Self::OwnStreams { uid } => write!(f, "give the standard streams to user {uid}"),
            Self::Identity { uid, gid, groups, umask, .. } => {
                write!(f, "become user {uid} group {gid} groups [{}] umask {umask:03o}", join(groups))
            }
            Self::Capabilities { effective, .. } => {
                write!(f, "have capabilities {}", join(&effective.names().collect::<Vec<_>>()))
            }
            Self::NoNewPrivileges => f.write_str("no new privileges"),
            Self::Seccomp { program } => write!(f, "filter system calls ({} instructions)", program.instructions.len()),
            Self::Init => f.write_str("start init"),
            Self::Execute { arguments, .. } => write!(f, "run {:?}", arguments.first().map_or("", String::as_str)),
        }
    }
}
