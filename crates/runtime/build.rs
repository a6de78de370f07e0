// SPDX-License-Identifier: Apache-2.0
//! Builds the stub, which is embedded: on its own, since it has no standard library, no C library and no profile of ours.
#![allow(clippy::expect_used, reason = "a build script ends with a message for a developer")]

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).expect(name);
    let stub = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../stub/src");
    let out = PathBuf::from(variable("OUT_DIR")).join("cella-init");
    println!("cargo:rerun-if-changed={}", stub.display());
    println!("cargo:rerun-if-changed=build.rs");
    let link = "-nostartfiles -nostdlib -static -Wl,--build-id=none -Wl,-z,norelro -Wl,--no-eh-frame-hdr";
    let options = ["panic=abort", "opt-level=s", "relocation-model=static", "strip=symbols", "linker-flavor=gcc"];
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "cella_init", "--crate-type", "bin", "--cap-lints", "warn"]);
    rustc.args(options.iter().flat_map(|option| ["-C", option]));
    rustc.args(["-C", "target-feature=+crt-static", "-C", "codegen-units=1", "--target", &variable("TARGET")]);
    rustc.arg("-C").arg(format!("link-args={link}")).arg("-o").arg(&out).arg(stub.join("main.rs"));
    let status = rustc.status().expect("rustc starts");
    assert!(status.success(), "the stub does not build: {status}");
}
