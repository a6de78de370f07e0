// SPDX-License-Identifier: Apache-2.0
//! What a keeper does for a whole system besides: it hears how far the init is, tells it to end or to begin again, and knows
//! from its death which of both it did.

use kernel::Result;
use kernel::process::Exit;
use spec::timestamp;

use super::{Loop, Next, SIGHUP, SIGINT, again};
use crate::init::{self, Init, Order};
use crate::launch::Failure;
use crate::protocol::Answer;
use crate::state::{Exited, Phase};

/// The most that is read of one message of an init.
const LARGEST: usize = 4096;

/// The most messages that are read in one turn: others have theirs, too.
const MOST: usize = 64;

/// The socket in the runtime directory to which the init sends its messages (sd_notify(3)).
const MAILBOX: &str = "notify";

/// Does a message of an init say that everything is up?
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

impl Loop {
    /// An init that says nothing is taken to be up when it runs.
    pub(super) fn look_ready(&mut self, pid: i32) {
        if self.keeper.system.is_some() && !Init::of(pid).notifies() {
            self.ready();
        }
    }

    fn ready(&mut self) {
        if self.state.ready.is_some() || self.running.is_none() {
            return;
        }
        self.state.ready = Some(timestamp::format(kernel::time::now_ns()));
        // Nothing more is to be heard, and nothing more can be sent to us.
        self.mailbox = None;
        // Who waits hears it in any case.
        self.state.write(&self.keeper.run).ok();
        self.tell_event("ready", &[]);
        self.clients.tell_ready();
    }

    /// A new place for the messages of the init that is about to be started.
    pub(super) fn open_mailbox(&mut self) -> Result<()> {
        if self.keeper.system.is_some() {
            self.mailbox = None;
            kernel::fs::remove_file(&self.keeper.run, MAILBOX)?;
            self.mailbox = Some(kernel::socket::mailbox_at(&self.keeper.run, MAILBOX)?);
        }
        Ok(())
    }

    /// Only the init itself is heard: everybody inside can write to it.
    pub(super) fn read_mail(&mut self) {
        let mut buffer = [0; LARGEST];
        for _ in 0..MOST {
            let Some(mailbox) = &self.mailbox else { return };
            let Ok(Some((length, sender))) = kernel::socket::mail(mailbox, &mut buffer) else { return };
            let is_init = self.running.as_ref().is_some_and(|running| running.child.pid == sender);
            if is_init && says_ready(buffer.get(..length).unwrap_or_default()) {
                self.ready();
            }
        }
    }

    /// Tells the init; kills it when it takes too long.
    pub(super) fn order(&mut self, order: Order, timeout_ms: u64) {
        match order {
            Order::PowerOff => self.stopping = true,
            Order::Reboot => self.rebooting = true,
        }
        if self.running.is_none() {
            return;
        }
        self.thaw();
        self.kill_after(timeout_ms);
        let told = self.running.as_ref().map_or(Ok(()), |running| init::tell(&running.child, order));
        if let Err(error) = told {
            self.clients.tell_first(&Answer::Warning(format!("tell the init: {error}")));
        }
    }

    /// How the init of a whole system ended: the kernel kills it with one signal for a reboot and with another for a power-off
    /// (reboot(2) in a process namespace).
    pub(super) fn code_of(&mut self, exit: Exit) -> i32 {
        match exit {
            Exit::Signal(SIGHUP) if self.keeper.system.is_some() => {
                self.rebooting = true;
                0
            }
            Exit::Signal(SIGINT) if self.keeper.system.is_some() => {
                self.stopping = true;
                0
            }
            exit => exit.shell(),
        }
    }

    pub(super) fn next(&self, exited: &Exited) -> Next {
        match (self.stopping, self.rebooting) {
            (true, _) => Next::End,
            (false, true) => Next::Reboot { short: self.short },
            (false, false) if again(self.keeper.restart, exited, self.state.restarts) => Next::Again,
            (false, false) => Next::End,
        }
    }

    /// Begins again, at once when it ran for a while.
    pub(super) fn reboot(&mut self, short: bool) {
        self.tell_event("reboot", &[]);
        self.log.finish().ok();
        if let Some(wire) = &mut self.keeper.wire {
            // What is left of it is in the way of the next start, which tells.
            wire.unwire();
        }
        if short {
            // One that does nothing else would keep the host busy with it.
            self.wait_ms(Phase::Restarting);
            return;
        }
        self.start_again();
    }

    /// A further start, as the container is defined now; what can not be started has ended.
    pub(super) fn start_again(&mut self) {
        self.rebooting = false;
        let again = self.replan().and_then(|()| Ok(self.renew_group()?)).and_then(|()| self.start());
        if let Err(failure) = again {
            self.ended = Some(self.exited_without_start(&failure));
        }
    }

    fn replan(&mut self) -> std::result::Result<(), Failure> {
        let (mut plan, properties) = (self.keeper.replan)()?;
        // The group stays the one that there is, also under another name of the container.
        plan.cgroup.name.clone_from(&self.keeper.plan.cgroup.name);
        self.keeper.plan = plan;
        if let Some(unit) = &mut self.keeper.unit {
            unit.scope.properties = properties;
        }
        Ok(())
    }

    /// The groups that its init made below its own are in the way of the next one; so is a unit that is going.
    pub(super) fn renew_group(&mut self) -> Result<()> {
        if self.keeper.system.is_none() && self.keeper.unit.is_none() {
            return Ok(());
        }
        self.keeper.group.remove()?;
        if let Some(unit) = &self.keeper.unit {
            unit.stop()?;
        }
        self.make_group()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_says_ready_on_a_line_of_its_own() {
        assert!(says_ready(b"READY=1") && says_ready(b"STATUS=up\nREADY=1\nX_SYSTEMD=1\n"));
        assert!(!says_ready(b"") && !says_ready(b"READY=10") && !says_ready(b"STATUS=READY=1"));
    }
}
