// SPDX-License-Identifier: Apache-2.0
//! Wires network namespaces to the world: networks, addresses, names, packet filters and bandwidth.

pub mod firewall;
pub mod helper;

pub use spec::mac::{self, Mac};
