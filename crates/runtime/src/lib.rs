// SPDX-License-Identifier: Apache-2.0
//! One container's life: its launch, its keeper, its state, and what joins it later.

mod child;
mod event;
mod exec;
mod init;
mod keeper;
mod launch;
mod log;
mod overlay;
mod protocol;
mod state;

pub use event::{EventLog, Record as EventRecord};
pub use exec::{Joined, join};
pub use keeper::{Finish, Keeper, RestartPolicy};
pub use launch::{Failure, FailureKind, Launched, launch};
pub use log::{LogReader, LogRecord, LogWriter, Stream};
pub use protocol::{Answer, Connection, Request};
pub use state::{Exited, Phase, State, is_kept, take_alive};
