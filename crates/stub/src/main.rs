// SPDX-License-Identifier: Apache-2.0
//! Follows a plan inside the namespaces: `cella-init NUMBER`, where the number is the descriptor of the program.
//!
//! It parses no text and takes no decision: each operation is a system call or a few, in the order that was planned
//! outside. What fails is told to the launcher as step, error number and call, and nothing runs.
#![no_std]
#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod find;
mod follow;
mod identity;
mod mounts;
mod processes;
mod sys;
#[allow(dead_code, reason = "its other half is for writers")]
mod wire;

use sys::{call, nr};

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {entry}", "brk #1", entry = sym entry);

/// `words` is what the kernel puts on a new program's stack: the count of arguments, then a pointer to each.
extern "C" fn entry(words: *const usize) -> ! {
    // SAFETY: execve(2) puts argc there, and argv after it, each text ended by a zero byte.
    let number = unsafe {
        let mut number = 0_i32;
        if *words > 1 {
            let mut text = *words.add(2) as *const u8;
            while (*text).is_ascii_digit() {
                number = number.wrapping_mul(10).wrapping_add(i32::from(*text - b'0'));
                text = text.add(1);
            }
        }
        number
    };
    let Some(bytes) = map(number) else { sys::exit(125) };
    match wire::Program::new(bytes) {
        Some(program) => follow::Follower::new(program).follow(),
        None => sys::exit(125),
    }
}

/// The program.
fn map(number: i32) -> Option<&'static [u8]> {
    const END: usize = 2;
    const READ: usize = 1;
    const PRIVATE: usize = 2;
    let length = call!(nr::LSEEK, number, 0, END).ok().filter(|length| *length > 0)?;
    let address = call!(nr::MMAP, 0, length, READ, PRIVATE, number, 0).ok()?;
    sys::close(number);
    // SAFETY: the kernel has just mapped that many bytes there for us alone, and they are never unmapped.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(125)
}

/// The compiler calls these by name.
mod memory {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller says that both are valid for `count` bytes.
        unsafe {
            core::arch::asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        #[cfg(not(target_arch = "x86_64"))]
        for at in 0..count {
            // SAFETY: as above. Volatile, so that this loop does not become a call of memcpy.
            unsafe { to.add(at).write_volatile(from.add(at).read()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        let mut at = count;
        if (to as usize) <= (from as usize) {
            // SAFETY: forwards is right when the target is below the source.
            return unsafe { memcpy(to, from, count) };
        }
        while at > 0 {
            at -= 1;
            // SAFETY: as in memcpy.
            unsafe { to.add(at).write_volatile(from.add(at).read()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
        let byte = value.to_le_bytes()[0];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller says that it is valid for `count` bytes.
        unsafe {
            core::arch::asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte,
                options(nostack, preserves_flags));
        }
        #[cfg(not(target_arch = "x86_64"))]
        for at in 0..count {
            // SAFETY: as above.
            unsafe { to.add(at).write_volatile(byte) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        let mut at = 0;
        while at < count {
            // SAFETY: the caller says that both are valid for `count` bytes.
            let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
            at += 1;
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(one, other, count) }
    }
}

/// The core library, which was built to unwind, names it; nothing here ever does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
