// SPDX-License-Identifier: Apache-2.0
//! The manager: all containers of this host, their durable state, and what can be done with them.

mod error;
mod view;

pub use error::{Doing, Error, Kind, Result};
pub use view::{Event, Finding, Info, Inspection, LogLine, ProcessRow, StatsRow, Status, Summary};
