// SPDX-License-Identifier: Apache-2.0
//! End to end: what a user of the program sees. Each test has a store of its own and ends with a look for leftovers.

mod crash;
mod exec;
mod images;
mod input;
mod isolation;
mod life;
mod limits;
mod security;
mod support;
