// SPDX-License-Identifier: Apache-2.0
//! The packet filter in network namespaces of the test's own: listings, transactions, packets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed"
)]

mod bench;
mod golden;
mod packets;
mod spoof;
mod support;
mod transactions;
