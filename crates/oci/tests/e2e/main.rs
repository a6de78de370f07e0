// SPDX-License-Identifier: Apache-2.0
//! What a caller of an OCI runtime sees: every case is run against cella-oci, and against runc where that can do it too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test ends with a panic, and tells why it was skipped"
)]

mod cgroups;
mod engines;
mod hooks;
mod life;
mod mounts;
mod namespaces;
mod process;
mod rootless;
mod support;
mod verbs;
