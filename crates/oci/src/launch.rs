// SPDX-License-Identifier: Apache-2.0
//! What `create` and `run` do while the container is being launched: its state, its hooks, its id maps, its unit.

use std::os::fd::OwnedFd;

use kernel::cgroup::Group;
use plan::Plan;
use runtime::{Company, FailureKind};
use spec::oci;

use crate::arguments::Global;
use crate::container::Planned;
use crate::failure::{Failure, Result};
use crate::group::{self, Place};
use crate::state::{Home, State};
use crate::{hooks, rdt, rootless};

pub(crate) struct Launch<'a> {
    pub(crate) global: &'a Global,
    pub(crate) home: &'a Home,
    pub(crate) directory: &'a OwnedFd,
    pub(crate) spec: &'a oci::Spec,
    pub(crate) planned: &'a Planned,
    pub(crate) state: &'a mut State,
    /// What ended the launch, when it was one of ours.
    pub(crate) failure: Option<Failure>,
}

impl Launch<'_> {
    fn ended(&mut self, done: Result<()>) -> std::result::Result<(), runtime::Failure> {
        done.map_err(|failure| {
            let message = failure.message.clone();
            self.failure = Some(failure);
            runtime::Failure { kind: FailureKind::Own, message }
        })
    }

    fn remember(&mut self, pid: i32) -> Result<()> {
        self.state.pid = pid;
        self.state.start_time = kernel::procfs::start_time(pid)?;
        if let Some(wanted) = &self.spec.linux.intel_rdt {
            self.state.rdt = rdt::join(wanted, &self.home.id, pid)?;
        }
        self.home.write(self.directory, self.state)
    }

    fn run_hooks(&self, pid: i32) -> Result<()> {
        let told = self.state.told("creating", pid).to_string();
        hooks::run("prestart", &self.spec.hooks.prestart, &told)?;
        hooks::run("createRuntime", &self.spec.hooks.create_runtime, &told)
    }

    fn unit(&mut self, pid: i32) -> Result<()> {
        let Place::Systemd(scope) = &self.planned.place else { return Ok(()) };
        let name = group::make_unit(self.global, scope, pid)?;
        let group = Group::new(self.planned.layout.clone(), &name);
        self.state.group = Some(name);
        self.home.write(self.directory, self.state)?;
        group.adopt(pid)?;
        group::limit(&group, &self.planned.plan)
    }
}

impl Company for Launch<'_> {
    fn created(&mut self, pid: i32) -> std::result::Result<(), runtime::Failure> {
        let done = self.remember(pid);
        // One that has ended already says the reason itself.
        if done.is_err() && !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            return Ok(());
        }
        self.ended(done)
    }

    fn paused(&mut self, pid: i32) -> std::result::Result<(), runtime::Failure> {
        let done = self.run_hooks(pid);
        self.ended(done)
    }

    fn state(&self, status: &str, pid: i32) -> String {
        self.state.told(status, pid).to_string()
    }

    fn map_ids(&mut self, pid: i32, plan: &Plan) -> std::result::Result<(), runtime::Failure> {
        rootless::map_ids(pid, plan)
    }

    fn limit(&mut self) -> std::result::Result<(), runtime::Failure> {
        let now = matches!(self.planned.place, Place::Files(_)) && self.planned.layout.legacy.is_empty();
        let done = match &self.state.group {
            Some(name) if now => group::limit(&Group::new(self.planned.layout.clone(), name), &self.planned.plan),
            _ => Ok(()),
        };
        self.ended(done)
    }

    fn make_group(&mut self, pid: i32) -> std::result::Result<(), runtime::Failure> {
        let done = self.unit(pid);
        self.ended(done)
    }
}
