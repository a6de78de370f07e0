// SPDX-License-Identifier: Apache-2.0
//! `cella-oci --version`: the lines that callers look at.

use crate::bundle;
use crate::failure::Result;

pub(crate) fn run() -> Result<u8> {
    println!("cella-oci version {}", env!("CARGO_PKG_VERSION"));
    println!("spec: {}", bundle::VERSION);
    Ok(0)
}
