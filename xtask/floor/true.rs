// SPDX-License-Identifier: Apache-2.0
//! The smallest program there is: it exits with 0. Every contestant of the bench runs it, so that no payload is measured.
#![no_std]
#![no_main]

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov eax, 231",
    "xor edi, edi",
    "syscall"
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x8, 94",
    "mov x0, 0",
    "svc 0"
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
