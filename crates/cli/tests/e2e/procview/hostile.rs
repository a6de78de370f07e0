// SPDX-License-Identifier: Apache-2.0
//! Readers that mean harm, or are just odd.

use super::{gone, inside, run, started};
use crate::support::Store;

fn python(store: &Store, script: &str) -> String {
    store.cella(&["exec", "v", "python3", "-c", script]).ok()
}

#[test]
fn nothing_of_it_can_be_changed() {
    let Some(store) = started("nothing_of_it_can_be_changed", &["--memory", "64m"]) else { return };
    let script = "
import os, errno
def attempt(what, *rest):
    try:
        what(*rest)
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]
names = ['/proc/meminfo', '/sys/devices/system/cpu/online', '/sys/devices/system/cpu/cpu0/topology/core_id']
for name in names:
    print(attempt(os.open, name, os.O_WRONLY), attempt(os.open, name, os.O_RDWR | os.O_TRUNC), attempt(os.unlink, name),
        attempt(os.rename, name, '/tmp/x'), attempt(os.chmod, name, 0o777), attempt(os.truncate, name, 0),
        attempt(os.link, name, '/tmp/x'), attempt(os.setxattr, name, 'user.x', b'y'))
print(attempt(os.mkdir, '/sys/devices/system/cpu/cpu9'), attempt(os.mknod, '/sys/devices/system/cpu/x'))";
    let shown = python(&store, script);
    assert!(!shown.contains("done"), "{shown}");
    gone(store);
}

#[test]
fn odd_offsets_and_lengths_are_like_the_kernels() {
    let Some(store) = started("odd_offsets_and_lengths_are_like_the_kernels", &["--memory", "64m"]) else { return };
    let script = "
import os, mmap, select
file = os.open('/proc/cpuinfo', os.O_RDONLY)
whole = os.read(file, 1 << 20)
size = len(whole)
for offset in (1, 7, size - 1, size, size + 1, 1 << 40, (1 << 63) - 5001):
    assert os.pread(file, 5000, offset) == whole[offset:offset + 5000], offset
assert os.pread(file, 0, 3) == b''
assert os.lseek(file, 3, os.SEEK_SET) == 3 and os.read(file, 4) == whole[3:7]
assert all(os.pread(file, 1, index) == whole[index:index + 1] for index in range(0, size, 13))
try:
    view = mmap.mmap(file, size, prot=mmap.PROT_READ)
    assert view[:size] == whole
    print('mapped')
except OSError as error:
    print(error.errno)
poll = select.poll()
poll.register(file, select.POLLIN)
assert poll.poll(1000)
try:
    os.read(os.open('/sys/devices/system/cpu', os.O_RDONLY), 10)
except IsADirectoryError:
    print('directory')";
    let shown = python(&store, script);
    assert!(shown.ends_with("directory"), "{shown}");
    gone(store);
}

#[test]
fn thousands_of_open_files_and_a_flood_of_reads() {
    let test = "thousands_of_open_files_and_a_flood_of_reads";
    let flags = ["--memory", "256m", "--cpus", "1", "--pids-limit", "200"];
    let Some(store) = started(test, &flags) else { return };
    let flood = "
import os, resource, random
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
names = ['/proc/meminfo', '/proc/stat', '/proc/vmstat', '/sys/devices/system/cpu/online', '/proc/cpuinfo', '/sys/devices/system/node/node0/meminfo']
most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 20, 5000)
files = [os.open(names[index % len(names)], os.O_RDONLY) for index in range(most)]
assert all(os.pread(file, 100, 0) for file in files)
for name in range(3000):
    try: os.stat('/sys/devices/system/cpu/' + '%032x' % random.getrandbits(128))
    except FileNotFoundError: pass
print(len(files) >= 500)";
    let others: Vec<_> = (0..8).map(|_| store.piped(&["exec", "v", "python3", "-c", flood])).collect();
    // Another container next to it is served as before.
    run(&store, "w", &["--memory", "32m"]);
    let other = store.cella(&["exec", "w", "head", "-n", "1", "/proc/meminfo"]).ok();
    assert_eq!(other, "MemTotal:          32768 kB");
    for one in others {
        let done: crate::support::Done = one.wait_with_output().unwrap().into();
        assert_eq!(done.ok(), "True");
    }
    assert_eq!(inside(&store, "head -n 1 /proc/meminfo"), "MemTotal:         262144 kB");
    store.cella(&["rm", "-f", "w"]).ok();
    gone(store);
}

#[test]
fn odd_names_of_processes_do_not_shift_fields() {
    let Some(store) = started("odd_names_of_processes_do_not_shift_fields", &["--memory", "64m"]) else { return };
    let script = "
import ctypes, time
ctypes.CDLL(None).prctl(15, b') R 1 (x) D\\n')
time.sleep(1000)";
    store.cella(&["exec", "-d", "v", "python3", "-c", script]).ok();
    crate::support::until("it has the name", || inside(&store, "cat /proc/[0-9]*/comm").contains("(x) D"));
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let stat = inside(&store, "grep ^procs_blocked /proc/stat");
    assert_eq!(stat, "procs_blocked 0");
    gone(store);
}

#[test]
fn no_other_containers_numbers_are_shown_through_a_reused_group() {
    let test = "no_other_containers_numbers_are_shown_through_a_reused_group";
    let Some(store) = started(test, &["--memory", "64m"]) else { return };
    run(&store, "w", &["--memory", "48m"]);
    let total = |name: &str| store.cella(&["exec", name, "head", "-n", "1", "/proc/meminfo"]).ok();
    for _ in 0..5 {
        assert_eq!(
            (total("v"), total("w")),
            ("MemTotal:          65536 kB".into(), "MemTotal:          49152 kB".into())
        );
        store.cella(&["restart", "-t", "0", "w"]).ok();
    }
    // Its numbers of nodes can not be used to reach anything else: there is no handle by number.
    let shown = inside(
        &store,
        "ls -R /sys/devices/system/cpu /sys/devices/system/node >/dev/null; find /sys/devices/system/cpu -name '*..*'",
    );
    assert_eq!(shown, "");
    store.cella(&["rm", "-f", "w"]).ok();
    gone(store);
}

/// The worker writes where it serves what is there: it would wait for itself.
#[test]
fn an_answer_into_a_mapping_of_the_view_does_not_stop_the_worker() {
    let test = "an_answer_into_a_mapping_of_the_view_does_not_stop_the_worker";
    let Some(store) = started(test, &["--memory", "64m"]) else { return };
    let script = "
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
file = os.open('/proc/vmstat', os.O_RDONLY)
view = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
address = ctypes.addressof(ctypes.c_char.from_buffer(view))
for _ in range(5):
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    print(libc.sysinfo(ctypes.c_void_p(address)), libc.sysinfo(ctypes.c_void_p(8)), libc.sysinfo(ctypes.c_void_p(1 << 62)))";
    assert_eq!(python(&store, script), ["0 -1 -1"; 5].join("\n"));
    assert_eq!(inside(&store, "busybox free | sed -n 's/^Mem: *\\([0-9]*\\).*/\\1/p'"), "65536");
    gone(store);
}

/// Calls are answered, also when there is nothing to show any more.
#[test]
fn calls_are_answered_when_the_view_was_unmounted() {
    let test = "calls_are_answered_when_the_view_was_unmounted";
    let Some(store) = started(test, &["--memory", "64m", "--cpus", "1", "--cap-add", "SYS_ADMIN"]) else { return };
    let unmount = "list() { busybox awk '/ - fuse cella /{print $5}' /proc/self/mountinfo; }; \
        for one in $(list); do umount $one; done; umount /proc/sys; for one in $(list); do umount $one; done; \
        grep -c ' - fuse cella ' /proc/self/mountinfo; sleep 1.5; busybox nproc; busybox nproc";
    assert_eq!(inside(&store, unmount), "0\n1\n1");
    assert_eq!(inside(&store, "busybox nproc"), "1");
    gone(store);
}

#[test]
fn a_flood_of_calls_uses_half_a_processor_at_most() {
    let test = "a_flood_of_calls_uses_half_a_processor_at_most";
    let Some(store) = started(test, &["--memory", "128m", "--cpus", "0.5"]) else { return };
    let flood = "import ctypes; libc = ctypes.CDLL(None); buffer = ctypes.create_string_buffer(4096)\nwhile True: libc.sysinfo(buffer)";
    for _ in 0..4 {
        store.cella(&["exec", "-d", "v", "python3", "-c", flood]).ok();
    }
    let ticks = || {
        // One that nobody has asked yet has ended.
        let Some(pid) = super::worker(&store) else { return 0 };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() {
            return 0;
        }
        let words: Vec<u64> =
            stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(super::number).collect();
        words[0] + words[1]
    };
    crate::support::until("the flood", || ticks() > 20);
    let (before, start) = (ticks(), std::time::Instant::now());
    std::thread::sleep(std::time::Duration::from_secs(2));
    let share = ticks().saturating_sub(before) as f64 / 100.0 / start.elapsed().as_secs_f64();
    assert!(share < 0.7, "{share} of a processor");
    // Others of it are still served.
    assert!(inside(&store, "head -n 1 /proc/meminfo").contains(" 131072 kB"));
    gone(store);
}
