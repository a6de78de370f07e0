// SPDX-License-Identifier: Apache-2.0
//! Shows each container its own `/proc` and `/sys`: what it may use and does use, instead of what the host has.

mod calls;
pub mod compat;
mod content;
mod serve;
mod snapshot;
mod store;

pub use calls::CALLS;
pub use content::{Birth, Content, Entry, Id, Shape, SysInfo};
pub use serve::{Ended, Tools, serve};
pub use snapshot::Snapshot;
pub use store::Store;
