// SPDX-License-Identifier: Apache-2.0
//! Links a program with musl where Debian's musl-dev has it, though it is built for the target with glibc: a static glibc
//! asks the processor 68 times what it can do before `main`, which a virtual machine answers in 12 µs each. ADR 8.

use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "/usr/lib/x86_64-linux-musl";

fn main() {
    println!("cargo:rerun-if-env-changed=CELLA_LIBC");
    println!("cargo:rerun-if-changed={MUSL}/libc.a");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_asked = std::env::var("CELLA_LIBC").map_or(true, |name| name == "musl");
    let fits = target("ENV") == "gnu" && target("ARCH") == "x86_64" && Path::new(MUSL).join("libc.a").exists();
    if is_asked && fits {
        println!("cargo:rustc-link-arg-bins=-nostartfiles");
        println!("cargo:rustc-link-arg-bins={}", absent().display());
        for object in ["crt1.o", "crti.o", "crtn.o"] {
            println!("cargo:rustc-link-arg-bins={MUSL}/{object}");
        }
        println!("cargo:rustc-link-arg-bins=-L{MUSL}");
    }
}

/// Three functions of glibc that Rust's standard library for it names and musl does not have: the unwinder's short cut, of
/// which it is told that it finds nothing; the version, which is that of no feature; and a reload of the resolver.
const ABSENT: &str = "
.globl _dl_find_object, gnu_get_libc_version, __res_init
.text
_dl_find_object: mov $-1, %eax
 ret
gnu_get_libc_version: mov $version, %eax
 ret
__res_init: xor %eax, %eax
 ret
.section .rodata
version: .asciz \"2.17\"
.section .note.GNU-stack,\"\",@progbits
";

fn absent() -> PathBuf {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let (source, object) = (out.join("absent.s"), out.join("absent.o"));
    let written = std::fs::write(&source, ABSENT).is_ok();
    let done = Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object).status();
    assert!(written && done.is_ok_and(|status| status.success()), "cc does not assemble {}", source.display());
    object
}
