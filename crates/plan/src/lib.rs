// SPDX-License-Identifier: Apache-2.0
//! From a specification and the host's facts to the exact steps that start a container; pure: no I/O, no clock, no chance.

mod compile;
mod device;
mod display;
mod limits;
mod mount;
mod process;
mod schedule;
pub mod seccomp;
mod step;

pub use compile::{Request, compile, mounts, settings};
pub use limits::rules_of;
pub use mount::{MountOptions, VIEW, parse_options};
pub use process::{capability_set, filter, joining, limit_number};
pub use schedule::list as numbers;
pub use step::{
    Cgroup, DeviceRule, Facts, Hook, Idmap, Join, Joining, KEEPER, Limit, Listener, Map, Plan, Program, Scheduler,
    Setting, Source, Step, TimeOffset, Tree,
};

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The specification says something that is not valid.
    #[error("{what}: {reason}")]
    Invalid {
        /// The field.
        what: String,
        /// Why.
        reason: String,
    },
    /// The host can not do it.
    #[error("{what}: this host has no {missing}")]
    Missing {
        /// What was asked for.
        what: String,
        /// What is missing.
        missing: String,
    },
    /// The system call filter can not be compiled.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccomp::Error),
}

impl Error {
    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    pub(crate) fn missing(what: impl Into<String>, missing: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), missing: missing.into() }
    }
}
