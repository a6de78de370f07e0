// SPDX-License-Identifier: Apache-2.0
//! Wires network namespaces to the world: networks, addresses, names, packet filters and bandwidth.

mod account;
mod attachment;
mod borrow;
mod bring;
mod check;
mod claim;
pub mod cni;
mod definition;
mod device;
mod error;
pub mod firewall;
mod flows;
pub mod helper;
mod lease;
mod limit;
mod live;
mod place;
mod ports;
mod rules;
mod shape;
mod share;
mod subnet;
mod wire;

pub use account::{Account, Totals};
pub use attachment::{Attachment, Owner, all_ports};
pub use check::Check;
pub use definition::Request;
pub use error::{Error, Kind, Result};
pub use lease::Lease;
pub use limit::Retune;
pub use live::{Borrowed, BorrowedRoute, Live};
pub use place::Networks;
pub use ports::Kept;
pub use spec::mac::{self, Mac};
pub use wire::{DeviceTraffic, Wired};

/// The network that a container is on unless it is told otherwise.
pub const DEFAULT: &str = "cella0";

/// The domain of containers' names.
pub const DOMAIN: &str = "cella";
