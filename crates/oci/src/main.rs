// SPDX-License-Identifier: Apache-2.0
//! `cella-oci`: the OCI runtime that Docker, Podman and containerd start; one verb, one process.
#![no_main]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command: printing is its job")]

mod arguments;
mod bundle;
mod console;
mod container;
mod failure;
mod filters;
mod group;
mod hooks;
mod launch;
mod rdt;
mod rootless;
mod state;
mod stats;
mod verbs;

use std::ffi::OsString;

kernel::entry!(begin);

#[global_allocator]
static MEMORY: kernel::arena::Arena = kernel::arena::Arena::new();

fn begin(words: Vec<OsString>) -> u8 {
    // What a caller left open by mistake must not reach a container.
    kernel::process::close_on_exec_from(3).ok();
    let mut words = lexopt::Parser::from_iter(words);
    let mut global = arguments::Global::default();
    let done = verbs::run(&mut global, &mut words);
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(&global);
            failure.code
        }
    }
}
