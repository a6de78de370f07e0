// SPDX-License-Identifier: Apache-2.0
//! The packet filter in network namespaces of the test's own: listings, transactions, packets.

mod bench;
mod golden;
mod packets;
mod spoof;
mod support;
mod transactions;
