// SPDX-License-Identifier: Apache-2.0
//! A program that takes this process's place, or a child's.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use kernel::event::{self, Interest};
use kernel::process::{self, Child, Exit, Forked};
use kernel::{Errno, signal};

use std::os::fd::AsFd;

use crate::error::{Doing, Error, Kind, Result};

const SIGINT: i32 = 2;
const SIGHUP: i32 = 1;
const SIGQUIT: i32 = 3;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;

/// Becomes this user and group, in no other group. Where the user namespace forbids to change groups, an ordinary user keeps
/// their own: rights that they have anyhow.
pub(super) fn become_user(uid: u32, gid: u32) -> kernel::Result<()> {
    match process::set_groups(&[]) {
        Err(error) if !error.is(Errno::PERM) => return Err(error),
        _ => {}
    }
    process::set_ids(uid, gid)
}

/// Goes on as a sealed copy of our own program, which no file leads to. In a mount namespace of root's own making a program may be
/// a link to `/proc/self/exe`: ours, to be written to when it has ended (CVE-2019-5736). In a user namespace it has no right to.
pub(super) fn seal() -> Result<()> {
    const NAME: &str = "cella-ns";
    let own = std::path::Path::new("/proc/self/exe");
    if process::euid() != 0 || kernel::file::read_link(own)?.starts_with(&format!("/memfd:{NAME}")) {
        return Ok(());
    }
    let doing = || "make a sealed copy of this program";
    let list = |file: &str| -> kernel::Result<Vec<CString>> {
        let bytes = kernel::file::read_lines(file.as_ref())?;
        Ok(bytes
            .strip_suffix(&[0])
            .unwrap_or(&bytes)
            .split(|byte| *byte == 0)
            .filter_map(|word| CString::new(word).ok())
            .collect())
    };
    let copy = kernel::spawn::sealed_program(NAME, &kernel::file::read_lines(own).doing(doing)?).doing(doing)?;
    let arguments = list("/proc/self/cmdline").doing(doing)?;
    let environment = list("/proc/self/environ").doing(doing)?;
    process::execute_file(copy, &arguments, &environment).doing(doing).map(drop)
}

/// Stands in this directory, which is looked for only now: in the namespaces that the program runs in.
pub(super) fn stand_in(directory: Option<&std::path::Path>) -> Result<()> {
    let Some(directory) = directory else { return Ok(()) };
    kernel::root::open_directory_path(directory)
        .and_then(process::change_directory)
        .doing(|| format!("start in {}", directory.display()))
}

/// What is run, and with what.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<CString>,
    environment: Vec<CString>,
    /// Where it is looked for when its name has no slash.
    path: String,
}

impl Program {
    /// A program by its words; variables are `NAME=VALUE`.
    ///
    /// # Errors
    /// A word with a zero byte.
    pub fn new(words: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> Result<Self> {
        let text = |word: OsString| {
            CString::new(word.into_vec())
                .map_err(|_| Error::new(Kind::Invalid, "a word of the command has a zero byte"))
        };
        let path =
            environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.to_string_lossy().into_owned());
        let join = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            text(name)
        };
        Ok(Self {
            words: words.into_iter().map(text).collect::<Result<_>>()?,
            environment: environment.into_iter().map(join).collect::<Result<_>>()?,
            path: path.unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        })
    }

    fn name(&self) -> String {
        self.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs it in this process's place; returns only to say why not.
    pub(super) fn execute(&self) -> Result<i32> {
        signal::unignore(SIGPIPE);
        let name = self.name();
        let places: Vec<String> = match name.contains('/') {
            true => vec![name.clone()],
            false => self
                .path
                .split(':')
                .map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }))
                .collect(),
        };
        let mut denied = None;
        for place in places {
            let Ok(program) = CString::new(place) else { continue };
            let Err(error) = process::execute(&program, &self.words, &self.environment);
            match error.errno {
                Errno::NOENT | Errno::NOTDIR => {}
                // Another directory may have one that can be run.
                Errno::ACCESS => denied = Some(error),
                _ => return Err(Error::new(Kind::NotExecutable, format!("cannot run {name}: {error}"))),
            }
        }
        match denied {
            Some(error) => Err(Error::new(Kind::NotExecutable, format!("cannot run {name}: {error}"))),
            None => Err(Error::new(Kind::NoProgram, format!("there is no program {name:?}"))
                .hint("it is looked for in the namespaces that it runs in")),
        }
    }
}

/// Goes on in a child: `None` there. Here it waits until the child has ended, and gives its exit code.
///
/// Signals that would end this process go to the child. Those of a terminal it has from there itself.
pub(super) fn go_on_in_child() -> Result<Option<i32>> {
    let doing = || "run a child";
    let blocked = signal::unblock_all().doing(doing)?;
    let signals = signal::descriptor(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM]).doing(doing)?;
    let cloned = process::clone(0, None).map_err(|error| match error.errno {
        // What the kernel says of a namespace whose process 1 has ended.
        Errno::NOMEM => Error::from(error).hint("a pid namespace whose first process has ended takes no further one"),
        _ => error.into(),
    });
    match cloned.doing(doing)? {
        Forked::Child => {
            signal::restore(&blocked).doing(doing)?;
            Ok(None)
        }
        Forked::Parent(child) => wait(&child, &signals).map(|exit| Some(exit.shell())).doing(|| "wait for a child"),
    }
}

fn wait(child: &Child, signals: &std::os::fd::OwnedFd) -> kernel::Result<Exit> {
    loop {
        event::wait(&[(child.pidfd.as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)], None)?;
        if let Some(exit) = process::try_wait(&child.pidfd)? {
            return Ok(exit);
        }
        while let Some(number) = signal::next(signals) {
            // From the terminal the child has got it, too.
            if [SIGHUP, SIGTERM].contains(&number) {
                process::signal(&child.pidfd, number).ok();
            }
        }
    }
}
