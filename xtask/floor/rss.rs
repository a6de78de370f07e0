// SPDX-License-Identifier: Apache-2.0
//! Starts its arguments as a program, waits, and exits with the peak of resident memory in units of 16 KiB (255 at most).
//!
//! A parent's own memory counts as the child's until its execve, so the parent must have next to none: this one.
#![no_std]
#![no_main]

use core::arch::asm;

core::arch::global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {entry}", entry = sym entry);

unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the callers pass what the calls want.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

extern "C" fn entry(words: *const usize) -> ! {
    const FORK: usize = 57;
    const EXECVE: usize = 59;
    const EXIT: usize = 231;
    const WAIT4: usize = 61;
    // SAFETY: the stack of a new program: argc, argv, a zero, the environment.
    unsafe {
        let count = *words;
        let (arguments, environment) = (words.add(2), words.add(count + 2));
        let pid = call(FORK, 0, 0, 0, 0);
        if pid == 0 {
            call(EXECVE, *arguments, arguments as usize, environment as usize, 0);
            call(EXIT, 127, 0, 0, 0);
        }
        let mut usage = [0_usize; 32];
        let mut status = 0_i32;
        call(WAIT4, pid as usize, &raw mut status as usize, 0, usage.as_mut_ptr() as usize);
        // After two times of two words each: kilobytes.
        let units = usage[4].div_ceil(16).min(254);
        loop {
            call(EXIT, if status == 0 { units } else { 255 }, 0, 0, 0);
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
