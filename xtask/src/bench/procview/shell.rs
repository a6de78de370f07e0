// SPDX-License-Identifier: Apache-2.0
//! The least that is a container to lxcfs: control groups with limits, and mount, pid and cgroup namespaces around a shell
//! that starts readers.

use super::lxcfs::Lxcfs;
use super::reader::Reading;
use super::stage::{MEMORY, PROCESSORS};
use crate::Result;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Enters the groups, and makes the namespaces; each line of input is what a reader is asked.
const CONTAINER: &str = r#"
reader=$1 files=$2; shift 2
for group; do echo 0 > "$group/cgroup.procs"; done
exec unshare --mount --pid --cgroup --fork --kill-child --propagation private -- sh -ec '
    mount -t proc proc /proc
    if [ -n "$2" ]; then
        for one in cpuinfo diskstats loadavg meminfo stat swaps uptime; do mount --bind "$2/$one" /proc/$one; done
    fi
    echo ready
    while read -r words; do "$1" $words; done' sh "$reader" "$files"
"#;

/// The control groups of a container: one in each hierarchy that limits or counts what the files show.
pub(super) struct Groups(Vec<PathBuf>);

impl Groups {
    pub(super) fn new(name: &str) -> Result<Self> {
        let mounts =
            std::fs::read_to_string("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
        let mut groups = Self(Vec::new());
        for top in hierarchies(&mounts) {
            let group = top.join(format!("cella-bench-{}-{name}", std::process::id()));
            let fail = |error| format!("{}: {error}", group.display());
            std::fs::create_dir(&group).map_err(fail)?;
            groups.0.push(group.clone());
            for (file, text) in limits() {
                if group.join(file).exists() {
                    std::fs::write(group.join(file), text).map_err(fail)?;
                }
            }
        }
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            // A process that has ended stays counted for a moment longer. What stays is told of by the scratch directory.
            let gone = (0..50).any(|_| {
                let gone = std::fs::remove_dir(group).is_ok();
                if !gone {
                    std::thread::sleep(Duration::from_millis(10));
                }
                gone
            });
            if !gone {
                eprintln!("bench: left over: {}", group.display());
            }
        }
    }
}

/// Version 1: those of memory and processors. Version 2: its one, when it is the only one.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let of = |kind: &str, wanted: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
        let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = lines.filter(|one| one.get(2) == Some(&kind) && one.get(3).is_some_and(|options| wanted(options)));
        found.filter_map(|one| one.get(1).map(PathBuf::from)).collect()
    };
    let counts = |options: &str| options.split(',').any(|word| ["memory", "cpu", "cpuacct"].contains(&word));
    let first = of("cgroup", &counts);
    if first.is_empty() { of("cgroup2", &|_| true).into_iter().take(1).collect() } else { first }
}

fn limits() -> [(&'static str, String); 4] {
    let quota = PROCESSORS * 100_000;
    [
        ("memory.limit_in_bytes", MEMORY.to_string()),
        ("memory.max", MEMORY.to_string()),
        ("cpu.cfs_quota_us", quota.to_string()),
        ("cpu.max", format!("{quota} 100000")),
    ]
}

pub(super) struct Shell {
    child: Child,
    /// Its end is the shell's.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    // Removed after the last process is gone.
    _groups: Groups,
}

impl Shell {
    /// `lxcfs` lends its files; without it they are the kernel's.
    pub(super) fn new(reader: &Path, lxcfs: Option<&Lxcfs>, groups: Groups) -> Result<Self> {
        let (mut command, files) = match lxcfs {
            None => (Command::new("sh"), Path::new("")),
            Some(lxcfs) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &lxcfs.init.to_string(), "--mount", "--pid", "sh"]);
                (command, lxcfs.files.as_path())
            }
        };
        command.args(["-ec", CONTAINER, "sh"]).arg(reader).arg(files).args(&groups.0);
        let fail = |error| format!("container: {error}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(fail)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or("container: no pipe")?);
        let mut shell = Self { child, input, output: BufReader::new(output), _groups: groups };
        if shell.line()?.trim() == "ready" { Ok(shell) } else { Err("container: does not start".to_owned()) }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("container: {error}"))?;
        Ok(line)
    }

    pub(super) fn start(&mut self, words: &[String]) -> Result<()> {
        let input = self.input.as_mut().ok_or("container: has ended")?;
        writeln!(input, "{}", words.join(" ")).map_err(|error| format!("container: {error}"))
    }

    pub(super) fn finish(&mut self) -> Result<Reading> {
        Reading::parse(&self.line()?)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.input = None;
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_where_limits_are() {
        let hybrid = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/pids cgroup rw,pids 0 0\n\
                      cgroup2 /c/unified cgroup2 rw 0 0\n";
        assert_eq!(hierarchies(hybrid), [PathBuf::from("/c/cpu"), PathBuf::from("/c/memory")]);
        assert_eq!(hierarchies("none /c cgroup2 rw,nsdelegate 0 0\n"), [PathBuf::from("/c")]);
    }
}
