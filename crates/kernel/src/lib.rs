// SPDX-License-Identifier: Apache-2.0
//! Speaks to Linux: every system call, and all `unsafe` code, of the project. It knows nothing of what it is used for.

pub mod error;
pub mod fs;
pub mod jail;

pub use error::{Call, Errno, Error, Result};
