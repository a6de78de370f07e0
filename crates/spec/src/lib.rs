// SPDX-License-Identifier: Apache-2.0
//! What people write down: definitions, OCI documents, sizes, names, references; data, parsing and validation, no I/O.

pub mod definition;
pub mod error;
pub mod image;
pub mod limits;
pub mod mac;
pub mod mount;
pub mod name;
pub mod network;
pub mod oci;
pub mod reference;
pub mod signal;
pub mod size;
pub mod system;
pub mod timestamp;
pub mod view;

pub use definition::Definition;
pub use error::Invalid;
pub use name::Name;
