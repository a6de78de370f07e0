// SPDX-License-Identifier: Apache-2.0
//! The program that this process runs, as it lies in memory.

/// `Elf64_Phdr`.
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

const LOAD: u32 = 1;
const TABLE: u32 = 6;
const WRITABLE: u32 = 2;
const PAGE: u64 = 4096;

/// Lets go of the pages of the program's own file that nothing was written to: code and constants. Each comes back from the
/// page cache when it is used again; until then they do not count as this process's memory.
pub fn release() {
    // SAFETY: getauxval(3) only looks up a number.
    let (table, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    if table == 0 || count == 0 || count > 64 {
        return;
    }
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the kernel has told where the table of this program's segments is, and how long; nothing ever changes it.
    let segments =
        unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<Segment>(table as usize), count) };
    // How far the program lies from where its file says.
    let Some(own) = segments.iter().find(|segment| segment.kind == TABLE) else { return };
    let shift = table.wrapping_sub(own.address);
    for segment in segments.iter().filter(|segment| segment.kind == LOAD && segment.flags & WRITABLE == 0) {
        let begin = segment.address.wrapping_add(shift);
        let (first, end) = (begin / PAGE * PAGE, begin.wrapping_add(segment.memory_size) / PAGE * PAGE);
        let length = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
        // SAFETY: whole pages of a read-only mapping of a file: they are read again from it, the same.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(first as usize), length, libc::MADV_DONTNEED);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_without_its_pages() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
            let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = resident();
        super::release();
        assert!(resident() < before);
        assert_eq!(format!("{:?}", vec![1, 2]), "[1, 2]");
    }
}
