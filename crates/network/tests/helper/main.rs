// SPDX-License-Identifier: Apache-2.0
//! The helper of a network and real clients, in network namespaces of their own; they need root.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails there, and what it measured is printed"
)]

mod bad;
mod leases;
mod link;
mod resolve;
