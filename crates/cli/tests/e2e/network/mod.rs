// SPDX-License-Identifier: Apache-2.0
//! Networks end to end: each test has a host of its own, a network namespace with a neighbour outside.

mod addresses;

mod names;
mod ports;
mod reach;

mod support;
