// SPDX-License-Identifier: Apache-2.0
//! A program that waits for ever: what `exec` is measured in.
#![no_std]
#![no_main]

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(".globl _start", "_start:", "mov eax, 34", "syscall", "jmp _start");
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "mov x8, 73", "mov x0, 0", "mov x1, 0", "mov x2, 0", "mov x3, 0", "svc 0", "b _start");

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
