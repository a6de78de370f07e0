// SPDX-License-Identifier: Apache-2.0
//! An allocator for a process that lives for a moment: memory in one piece, mapped at once.
//!
//! A page fault costs ten times a system call and more, and a general allocator asks for pages one by one. Sizes are rounded
//! up to powers of two; what is freed goes to the list of its size, so that a process that lives longer does not grow.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;

/// What is mapped, with its pages, at the first allocation.
const FIRST: usize = 176 << 10;
/// What is mapped from then on, at least; its pages come when they are touched.
const NEXT: usize = 1 << 20;
const SMALLEST: usize = 16;
const CLASSES: usize = 40;

struct Inner {
    at: usize,
    end: usize,
    free: [usize; CLASSES],
}

/// The allocator. The process must have a single thread, as all of ours have.
pub struct Arena(UnsafeCell<Inner>);

// SAFETY: no process that uses it starts a thread (ARCHITECTURE.md, invariant 13).
unsafe impl Sync for Arena {}

impl Arena {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Inner { at: 0, end: 0, free: [0; CLASSES] }))
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

fn rounded(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(SMALLEST).next_power_of_two()
}

fn class(size: usize) -> usize {
    (size.trailing_zeros() as usize).min(CLASSES - 1)
}

impl Inner {
    fn grow(&mut self, size: usize) -> bool {
        let first = self.end == 0;
        let length = if first { FIRST.max(size) } else { NEXT.max(size) }.next_multiple_of(4096);
        let populate = if first { libc::MAP_POPULATE } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | populate;
        // SAFETY: a new mapping touches nothing that is there.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return false;
        }
        (self.at, self.end) = (at as usize, at as usize + length);
        true
    }
}

// SAFETY: every block is a part of a mapping that is never unmapped, aligned to its size, which is a power of two and not
// below the layout's alignment; a block is on a free list or handed out, never both.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a single thread, and nothing below calls the allocator.
        let inner = unsafe { &mut *self.0.get() };
        let size = rounded(layout);
        let list = &mut inner.free[class(size)];
        if *list != 0 && list.is_multiple_of(layout.align()) {
            let block = *list as *mut usize;
            // SAFETY: a free block holds the address of the next one.
            *list = unsafe { block.read() };
            return block.cast();
        }
        // Blocks beyond a page are aligned to a page only: nobody of ours asks for more.
        let align = size.min(4096).max(layout.align());
        let mut at = inner.at.next_multiple_of(align);
        if at + size > inner.end {
            if !inner.grow(size + layout.align()) {
                return std::ptr::null_mut();
            }
            at = inner.at.next_multiple_of(align);
        }
        inner.at = at + size;
        at as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a single thread.
        let inner = unsafe { &mut *self.0.get() };
        let size = rounded(layout);
        if block as usize + size == inner.at {
            inner.at = block as usize;
            return;
        }
        let list = &mut inner.free[class(size)];
        // SAFETY: the block is ours again, aligned to 16 bytes at least, and has room for a word.
        #[expect(clippy::cast_ptr_alignment, reason = "blocks are aligned to 16 bytes at least")]
        unsafe {
            block.cast::<usize>().write(*list);
        }
        *list = block as usize;
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (old, wanted) = (rounded(layout), new_size.max(layout.align()).max(SMALLEST).next_power_of_two());
        if wanted == old {
            return block;
        }
        // SAFETY: a single thread.
        let inner = unsafe { &mut *self.0.get() };
        // The last block grows where it is.
        let fits = block as usize + old == inner.at && block as usize + wanted <= inner.end && wanted > old;
        // Of its new size it has to be as aligned as those that were born with it.
        if fits && (block as usize).is_multiple_of(wanted.min(4096)) {
            inner.at = block as usize + wanted;
            return block;
        }
        // SAFETY: the caller's layout is valid, and so is the same with another size.
        unsafe {
            let layout_new = Layout::from_size_align_unchecked(new_size, layout.align());
            let new = self.alloc(layout_new);
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let arena = Arena::new();
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let mut blocks: Vec<(*mut u8, Layout)> = Vec::new();
        for round in 1..400_usize {
            let one = layout(round * 37 % 5000 + 1, 1 << (round % 6));
            // SAFETY: what was allocated is written within its size, and freed once.
            unsafe {
                let block = arena.alloc(one);
                assert_eq!(block as usize % one.align(), 0);
                block.write_bytes((round % 251) as u8, one.size());
                blocks.push((block, one));
                if round % 3 == 0 {
                    let (block, one) = blocks.swap_remove(round % blocks.len());
                    arena.dealloc(block, one);
                }
            }
        }
        let mut ranges: Vec<_> = blocks.iter().map(|(at, one)| (*at as usize, *at as usize + one.size())).collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    #[test]
    fn growing_keeps_the_content() {
        let arena = Arena::new();
        let one = Layout::from_size_align(20, 1).unwrap();
        // SAFETY: used within its sizes, as allocated.
        unsafe {
            let block = arena.alloc(one);
            block.write_bytes(7, 20);
            let other = arena.alloc(one);
            let grown = arena.realloc(block, one, 70_000);
            assert!(!grown.is_null() && other != grown);
            assert!((0..20).all(|at| grown.add(at).read() == 7));
        }
    }
}
