// SPDX-License-Identifier: Apache-2.0
//! Networks end to end: each test has a host of its own, a network namespace with a neighbour outside.

mod addresses;
mod cni;
mod dhcp;
mod kinds;
mod mend;
mod names;
mod ports;
mod quota;
mod reach;
mod refused;
mod support;
