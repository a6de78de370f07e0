// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime specification's documents (runtime-spec 1.3).

pub mod seccomp;
