// SPDX-License-Identifier: Apache-2.0
//! The `cella` command: words to requests, replies to screens.

mod app;
mod definition;
mod flags;
mod help;
mod output;
mod progress;
mod verbs;

fn main() -> std::process::ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match app::run(arguments) {
        Ok(code) => std::process::ExitCode::from(u8::try_from(code & 0xff).unwrap_or(125)),
        Err(failure) => failure.tell(),
    }
}
