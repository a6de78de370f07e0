// SPDX-License-Identifier: Apache-2.0
//! Stands in for `true` before a bench: it exits with 42 when it runs in a new pid namespace, which a contestant that starts
//! nothing cannot fake by chance.
#![no_std]
#![no_main]

// An init of the contestant's own may be there first, so that any small pid will do.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov eax, 39", // getpid
    "syscall",
    "mov edi, 43",
    "cmp eax, 16",
    "ja 2f",
    "mov edi, 42",
    "2:",
    "mov eax, 231", // exit_group
    "syscall"
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x8, 172", // getpid
    "svc 0",
    "cmp w0, 16",
    "mov w0, 42",
    "cinc w0, w0, hi",
    "mov x8, 94", // exit_group
    "svc 0"
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
