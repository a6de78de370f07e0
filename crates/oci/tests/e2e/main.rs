// SPDX-License-Identifier: Apache-2.0
//! What a caller of an OCI runtime sees: every case is run against cella-oci, and against runc where that can do it too.

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
