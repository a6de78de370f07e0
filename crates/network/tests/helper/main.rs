// SPDX-License-Identifier: Apache-2.0
//! The helper of a network and real clients, in network namespaces of their own; they need root.

mod bad;
mod leases;
mod link;
mod resolve;
