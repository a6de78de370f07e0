// SPDX-License-Identifier: Apache-2.0
//! End to end: what a user of the program sees. Each test has a store of its own and ends with a look for leftovers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed"
)]

mod crash;
mod exec;
mod images;
mod input;
mod isolation;
mod life;
mod limits;
mod network;
mod network_limits;
mod ns;
mod procview;
mod security;
mod support;
mod system;
