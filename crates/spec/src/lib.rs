// SPDX-License-Identifier: Apache-2.0
//! What people write down: definitions, OCI documents, sizes, names, references; data, parsing and validation, no I/O.

pub mod image;
pub mod oci;
pub mod reference;
