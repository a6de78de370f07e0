// SPDX-License-Identifier: Apache-2.0
//! One container's life: its launch, its keeper, its state, and what joins it later.

mod event;
mod exec;
mod init;
mod keeper;
mod launch;
mod log;
mod mounts;
mod overlay;
mod program;
mod protocol;
mod source;
mod state;
pub mod systemd;

pub use event::{EventLog, Record as EventRecord};
pub use exec::{Ends, Joined, join};
pub use init::{Init, Order};
pub use keeper::{Ended, Finish, Keeper, Place, Replan, RestartPolicy, Unit, View, Wire};
pub use launch::{Company, Failure, FailureKind, Launched, Orders, failure_of, launch, write_maps};
pub use log::{LogReader, LogRecord, LogWriter, Stream};
pub use mounts::{add_mounts, remove_mounts};
pub use overlay::{mount_layers, mount_tree};
pub use protocol::{Answer, Connection, Request};
pub use state::{Exited, Phase, State, is_kept, take_alive};
