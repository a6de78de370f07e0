// SPDX-License-Identifier: Apache-2.0
//! One life of the machine: qemu, its two serial lines, its three disks, and the end within a time.

use super::image::Image;
use super::{fresh, fresh_or_there};
use crate::{Result, cargo};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The emulator, of the package qemu-system-x86.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Emulated, it is up in a minute; on a machine that has much else to do, in some.
const BOOT_LIMIT: Duration = Duration::from_secs(6 * 60);

/// The first line of the second serial line.
const UP: &str = "cella-vm: up";

/// What can be brought out; its file is sparse.
const OUT_SIZE: u64 = 1 << 30;

/// Lines of the console that are shown when the machine does not come up.
const TAIL: usize = 15;

/// Root with project quota, as a machine with limits of disk space has it. AppArmor and control groups are as Debian has them.
const KERNEL: &str =
    "root=LABEL=cella-root rw rootflags=prjquota console=ttyS0 panic=-1 fsck.mode=skip net.ifnames=0 loglevel=5";

/// How the error of a machine that was not heard to the end begins.
pub(crate) const NO_RESULT: &str = "the machine ended without a result";

pub(crate) struct Machine<'a> {
    pub(crate) image: &'a Image,
    pub(crate) stock_kernel: bool,
    pub(crate) job: &'a Path,
    pub(crate) place: &'a Path,
    pub(crate) limit: Duration,
}

/// What the job has left.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: PathBuf,
}

impl Machine<'_> {
    /// Boots, prints what the job prints, and waits for the end.
    pub(crate) fn run(&self) -> Result<Ended> {
        fresh(self.place)?;
        let (out, start) = (self.place.join("out.img"), Instant::now());
        let made = File::create(&out).and_then(|file| file.set_len(OUT_SIZE));
        made.map_err(|error| format!("{}: {error}", out.display()))?;
        let mut qemu = self.command();
        let mut running = Running::start(&mut qemu)?;
        let wait = BOOT_LIMIT.min(self.limit);
        running.line(start + wait).and_then(|line| if line.starts_with(UP) { Ok(()) } else { Err(line) }).map_err(
            |why| format!("the machine did not come up within {} s: {why}\n{}", wait.as_secs(), self.console_end()),
        )?;
        println!("vm: up after {} s", start.elapsed().as_secs());
        let up = Instant::now();
        while let Some(line) = running.more(start + self.limit).map_err(|why| self.unfinished(&why))? {
            print!("{line}");
            // What can not be shown is not worth an end of the machine.
            std::io::stdout().flush().ok();
        }
        running.end(start + self.limit).map_err(|why| self.unfinished(&why))?;
        println!("vm: the job took {} s", up.elapsed().as_secs());
        self.results(&out)
    }

    fn console(&self) -> PathBuf {
        self.place.join("console.log")
    }

    fn command(&self) -> Command {
        let path = |path: &Path| path.display().to_string();
        // Whoever ends us, even by kill -9, ends the machine.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"]);
        // Emulated even where there is KVM: what it takes, and how it fails, is the same everywhere. Page tables of five
        // levels would be slow.
        // Linux 6.12 does not survive processors that run what another one is just patching (`Oops: int3`).
        let threads = if self.stock_kernel { "tcg,thread=single" } else { "tcg,thread=multi" };
        qemu.args(["-accel", threads, "-cpu", "max,la57=off"]);
        qemu.args(["-smp", "2", "-m", "3072", "-nic", "none"]);
        qemu.arg("-kernel").arg(self.image.boot(self.stock_kernel, "kernel"));
        qemu.arg("-initrd").arg(self.image.boot(self.stock_kernel, "initrd"));
        qemu.args(["-append", KERNEL]);
        qemu.args(["-serial", &format!("file:{}", path(&self.console())), "-serial", "stdio"]);
        // The image stays as it was made: what is written to it is in a file that nobody sees.
        let disks = [
            (self.image.root.clone(), "cella-root", ",snapshot=on"),
            (self.job.to_owned(), "cella-job", ""),
            (self.place.join("out.img"), "cella-out", ""),
        ];
        for (file, name, more) in disks {
            let file = path(&file).replace(',', ",,");
            qemu.arg("-drive").arg(format!("if=none,id={name},format=raw,cache=unsafe,file={file}{more}"));
            qemu.arg("-device").arg(format!("virtio-blk-pci,drive={name},serial={name}"));
        }
        qemu.env("TMPDIR", self.place).stdin(Stdio::null()).stdout(Stdio::piped());
        qemu
    }

    /// The archive on the third disk.
    fn results(&self, disk: &Path) -> Result<Ended> {
        let out = self.place.join("out");
        fresh_or_there(&out)?;
        let nothing = |why: String| format!("{NO_RESULT}: {why}\n{}", self.console_end());
        cargo::succeed(Command::new("tar").arg("-C").arg(&out).arg("-xf").arg(disk)).map_err(nothing)?;
        let code = std::fs::read_to_string(out.join("code")).map_err(|error| nothing(error.to_string()))?;
        let code = code.trim().parse().map_err(|_| nothing(format!("the exit code {code:?}")))?;
        std::fs::remove_file(disk).map_err(|error| format!("{}: {error}", disk.display()))?;
        Ok(Ended { code, out })
    }

    fn unfinished(&self, why: &str) -> String {
        format!("the machine was not done after {} s (--limit): {why}\n{}", self.limit.as_secs(), self.console_end())
    }

    fn console_end(&self) -> String {
        let bytes = std::fs::read(self.console()).unwrap_or_default();
        format!("the end of {}:\n{}", self.console().display(), tail(&String::from_utf8_lossy(&bytes)))
    }
}

/// The last lines of a text, each indented.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL)).map(|line| format!("  {line}\n")).collect()
}

/// A qemu whose second serial line is read; its end is ours to see to.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(qemu: &mut Command) -> Result<Self> {
        let mut child = qemu.spawn().map_err(|error| format!("{QEMU}: {error}"))?;
        let output = child.stdout.take().ok_or("qemu has no output")?;
        Ok(Self { child, lines: lines(output) })
    }

    /// The next line, which must come.
    fn line(&self, until: Instant) -> Result<String> {
        self.more(until)?.ok_or_else(|| "it ended".into())
    }

    /// The next line, or none at the end of the machine.
    fn more(&self, until: Instant) -> Result<Option<String>> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err("too late".into()),
        }
    }

    /// Waits for qemu itself, which closes its output shortly before.
    fn end(&mut self, until: Instant) -> Result<()> {
        loop {
            match self.child.try_wait().map_err(|error| format!("{QEMU}: {error}"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{QEMU}: {status}")),
                None if Instant::now() > until => return Err(format!("{QEMU} does not end")),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_)))
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            eprintln!("vm: {QEMU}: {error}");
        }
    }
}

/// Reads lines in a thread of its own, so that they can be waited for.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        Running::start(Command::new("sh").args(["-c", script]).stdout(Stdio::piped())).unwrap()
    }

    #[test]
    fn the_end_of_a_console_is_its_last_lines() {
        let text: String = (0..20).map(|n| format!("line {n}\r\n\r\n")).collect();
        let end = tail(&text);
        assert!(end.starts_with("  line 5\n") && end.ends_with("  line 19\n"), "{end}");
        assert_eq!(tail(""), "");
    }

    #[test]
    fn lines_come_until_the_end() {
        let mut running = shell("echo 'cella-vm: up'; printf half");
        let until = Instant::now() + Duration::from_secs(30);
        assert_eq!(running.line(until).unwrap(), "cella-vm: up\n");
        assert_eq!((running.line(until).unwrap().as_str(), running.more(until)), ("half", Ok(None)));
        assert_eq!(running.end(until), Ok(()));
        assert!(shell("exit 3").end(until).is_err());
    }

    #[test]
    fn nobody_waits_longer_than_the_limit() {
        let running = shell("exec sleep 100");
        assert_eq!(running.more(Instant::now() + Duration::from_millis(10)), Err("too late".into()));
    }
}
