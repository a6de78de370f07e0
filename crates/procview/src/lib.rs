// SPDX-License-Identifier: Apache-2.0
//! Shows each container its own `/proc` and `/sys`: what it may use and does use, instead of what the host has.

pub mod compat;
mod content;
mod serve;
mod store;
mod sysinfo;

pub use content::{Birth, Content, Entry, Id, Shape, SysInfo};
pub use serve::{Tools, serve};
pub use store::Store;
