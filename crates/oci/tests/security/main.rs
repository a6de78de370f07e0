// SPDX-License-Identifier: Apache-2.0
//! Published holes of container runtimes, and the design rules that close them, tried against `cella-oci` as a user would
//! run it. Each test has a bundle and a root of its own, and ends with a look at the host, which has to be as it was.
//! Which test is for which check: docs/oci-security-tests.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed"
)]

mod breakpoint;
mod calls;
mod cleanup;
mod descriptors;
mod filter;
mod groups;
mod hostile;
mod identity;
mod input;
mod killed;
mod oracle;
mod procfs;
mod race;
mod support;
mod swap;
