// SPDX-License-Identifier: Apache-2.0
//! Each file, and what it is made from.

use std::fs;
use std::time::Duration;

use super::{field, gone, group_text, inside, is_there, number, run, seen, started};
use crate::support::{Store, until};

const MB: u64 = 1 << 20;

#[test]
fn memory_is_what_the_group_may_use_and_does() {
    let Some(store) = started("memory_is_what_the_group_may_use_and_does", &["--memory", "128m"]) else { return };
    let limit = number(&group_text(&store, ["memory.limit_in_bytes", "memory.max"]));
    let meminfo = inside(&store, "cat /proc/meminfo");
    let kb = |key: &str| field(&meminfo, key);
    assert_eq!(kb("MemTotal") * 1024, limit);
    let used = number(&group_text(&store, ["memory.usage_in_bytes", "memory.current"]));
    let free = kb("MemFree") * 1024;
    assert!((free + used).abs_diff(limit) < 8 * MB, "{free} free, {used} used");
    assert!(kb("MemFree") <= kb("MemAvailable") && kb("MemAvailable") <= kb("MemTotal"), "{meminfo}");
    assert_eq!(kb("Buffers"), 0);
    // All that is written to /dev/shm is shared memory, and nobody else's is shown.
    let shown =
        inside(&store, "head -c 20M /dev/zero > /dev/shm/x; sleep 0.1; grep ^Shmem: /proc/meminfo; rm /dev/shm/x");
    assert!(field(&shown, "Shmem").abs_diff(20 << 10) < 512, "{shown}");
    let vmstat = inside(&store, "cat /proc/vmstat");
    assert!(field(&vmstat, "nr_free_pages ") * 4096 <= limit, "{vmstat}");
    let host = fs::read_to_string("/proc/vmstat").unwrap();
    let names = |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&vmstat), names(&host));
    let slabs = inside(&store, "cat /proc/slabinfo");
    assert!(slabs.starts_with("slabinfo - version: 2.1\n# name") && slabs.lines().count() == 2, "{slabs}");
    gone(store);
}

#[test]
fn swap_is_the_groups_own() {
    let flags = ["--memory", "64m", "--memory-swap", "96m"];
    let Some(store) = started("swap_is_the_groups_own", &flags) else { return };
    let host = field(&fs::read_to_string("/proc/meminfo").unwrap(), "SwapTotal");
    let meminfo = inside(&store, "cat /proc/meminfo");
    assert_eq!(field(&meminfo, "SwapTotal"), host.min(32 << 10));
    let swaps = inside(&store, "cat /proc/swaps");
    assert!(swaps.starts_with("Filename\t") && swaps.lines().count() == if host > 0 { 2 } else { 1 }, "{swaps}");
    gone(store);
}

#[test]
fn all_agree_on_the_number_of_processors() {
    let test = "all_agree_on_the_number_of_processors";
    let Some(store) = started(test, &["--cpus", "1"]) else { return };
    let script = "grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat; nproc; nproc --all; \
        getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; lscpu | sed -n 's/^CPU(s): *//p'; busybox nproc; \
        ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l; \
        python3 -c 'import os, psutil; print(os.cpu_count(), len(os.sched_getaffinity(0)), psutil.cpu_count(), sep=\"\\n\")'";
    assert_eq!(inside(&store, script), ["1"; 12].join("\n"));
    assert_eq!(inside(&store, "cat /sys/devices/system/cpu/online /sys/devices/system/cpu/possible"), "0\n0");
    assert_eq!(inside(&store, "cat /sys/devices/system/cpu/offline /sys/devices/system/node/node0/cpulist"), "\n0");
    // More of a quota is more of them, up to what the host has.
    let most = std::thread::available_parallelism().unwrap().get();
    store.cella(&["set", "v", "--cpus", "1.5"]).ok();
    std::thread::sleep(Duration::from_millis(50));
    let seen = inside(&store, "nproc; grep -c ^processor /proc/cpuinfo; getconf _NPROCESSORS_ONLN");
    assert_eq!(seen, [most.min(2).to_string().as_str(); 3].join("\n"));
    gone(store);
}

#[test]
fn whole_processors_are_backed_by_a_set_when_asked() {
    let test = "whole_processors_are_backed_by_a_set_when_asked";
    let Some(store) = started(test, &["--cpus", "1", "--cpuset-cpus", "auto"]) else { return };
    let set = |store: &Store, name: &str| {
        let status = store.cella(&["exec", name, "cat", "/proc/1/status"]).ok();
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap().to_owned()
    };
    let first = set(&store, "v");
    assert!(first.parse::<u32>().is_ok(), "{first}");
    assert_eq!(inside(&store, "grep -c ^processor /proc/cpuinfo"), "1");
    if std::thread::available_parallelism().unwrap().get() > 1 {
        run(&store, "w", &["--cpus", "1", "--cpuset-cpus", "auto"]);
        assert_ne!(set(&store, "w"), first, "the next one gets another");
        store.cella(&["set", "w", "--cpus", "2"]).ok();
        assert_eq!(set(&store, "w").len(), 3);
        store.cella(&["rm", "-f", "w"]).ok();
    }
    let error = store.cella(&["run", "--rm", "--cpuset-cpus", "auto", "host", "true"]).fails(125);
    assert!(error.contains("--cpus 2 --cpuset-cpus auto"), "{error}");
    gone(store);
}

#[test]
fn time_begins_with_the_container() {
    let Some(store) = started("time_begins_with_the_container", &["--memory", "64m"]) else { return };
    until("a second", || !inside(&store, "cat /proc/uptime").starts_with("0."));
    let uptime = inside(&store, "cat /proc/uptime");
    let [up, idle] = [0, 1].map(|index| uptime.split(' ').nth(index).unwrap().parse::<f64>().unwrap());
    assert!((1.0..60.0).contains(&up) && idle >= 0.0, "{uptime}");
    let shown = inside(&store, "grep ^btime /proc/stat; date +%s; stat -c %Y /proc/1");
    let numbers: Vec<u64> = shown.lines().map(|line| number(line.trim_start_matches("btime "))).collect();
    assert!(numbers[1] - numbers[0] < 60, "{numbers:?}");
    // Where the kernel has time namespaces, who started when is told by that clock.
    if fs::metadata("/proc/self/ns/time").is_ok() {
        let start = inside(&store, "ps -o etimes= -p 1");
        assert!(number(&start) <= 60, "{start}");
        assert_ne!(
            inside(&store, "readlink /proc/self/ns/time"),
            fs::read_link("/proc/self/ns/time").unwrap().to_string_lossy()
        );
    }
    gone(store);
}

#[test]
fn processor_time_is_the_groups() {
    let Some(store) = started("processor_time_is_the_groups", &["--cpus", "1"]) else { return };
    inside(&store, "timeout 1 sh -c 'while :; do :; done' || :");
    std::thread::sleep(Duration::from_millis(50));
    let stat = inside(&store, "cat /proc/stat");
    let line: Vec<u64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(number).collect();
    let used = group_text(&store, ["cpuacct.usage", "cpu.stat"]);
    let used_ms = match used.trim().parse::<u64>() {
        Ok(ns) => ns / 1_000_000,
        Err(_) => field(&used, "usage_usec ") / 1000,
    };
    let shown_ms = (line[0] + line[1] + line[2]) * 10;
    assert!(shown_ms >= 500 && shown_ms.abs_diff(used_ms) <= 150, "shown {shown_ms}, used {used_ms} ms");
    let sums: Vec<u64> = stat.lines().nth(1).unwrap().split_whitespace().skip(1).map(number).collect();
    assert_eq!(line, sums, "one processor is all");
    assert!(stat.contains("\nprocs_running ") && stat.contains("\nsoftirq "), "{stat}");
    // As many events as a host has had since then, not since its boot.
    let host = fs::read_to_string("/proc/stat").unwrap();
    assert!(field(&stat, "ctxt ") <= field(&host, "ctxt ") / 2 + 1_000_000, "{stat}");
    gone(store);
}

#[test]
fn load_and_processes_are_the_containers() {
    let Some(store) = started("load_and_processes_are_the_containers", &["--memory", "64m"]) else { return };
    let loadavg = inside(&store, "cat /proc/loadavg");
    let words: Vec<&str> = loadavg.split(' ').collect();
    let (running, tasks) = words[3].split_once('/').unwrap();
    let last = number(words[4]);
    assert!(number(running) >= 1 && (1..10).contains(&number(tasks)) && (1..100).contains(&last), "{loadavg}");
    store.cella(&["exec", "-d", "v", "sh", "-c", "while :; do :; done"]).ok();
    until("a load", || !inside(&store, "cat /proc/loadavg").starts_with("0.00"));
    gone(store);
}

#[test]
fn disks_are_what_was_read_and_written() {
    let Some(store) = started("disks_are_what_was_read_and_written", &["--memory", "64m"]) else { return };
    // What was read of its programs is there, nothing was written.
    let before = inside(&store, "cat /proc/diskstats");
    assert!(before.lines().all(|line| line.split_whitespace().nth(7) == Some("0")), "{before}");
    let io = "dd if=/dev/zero of=/root/x bs=1M count=4 oflag=direct 2>/dev/null || dd if=/dev/zero of=/root/x bs=1M count=4 conv=fsync 2>/dev/null; sleep 0.1; cat /proc/diskstats";
    let diskstats = inside(&store, io);
    let Some(line) = diskstats.lines().next() else {
        // What has no counter in this kernel (writes of a file system on version 1) has no line.
        let counted = group_text(&store, ["blkio.throttle.io_service_bytes", "io.stat"]);
        assert!(!counted.contains(':'), "{counted}");
        return gone(store);
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words.len(), 20, "{line}");
    assert!(number(words[9]) * 512 >= 4 << 20, "{line}");
    // iostat's file says the same, and the list of partitions has the disk.
    let disk = words[2];
    let stat = inside(&store, &format!("cat /sys/class/block/{disk}/stat; grep -c ' {disk}$' /proc/partitions"));
    assert_eq!(stat.split_whitespace().nth(6), Some(words[9]), "{stat}");
    assert_eq!(stat.lines().last(), Some("1"));
    gone(store);
}

#[test]
fn every_start_has_its_own_boot_id() {
    let Some(store) = started("every_start_has_its_own_boot_id", &["--memory", "64m"]) else { return };
    let id = "cat /proc/sys/kernel/random/boot_id";
    let first = inside(&store, id);
    assert_eq!((first.len(), inside(&store, id)), (36, first.clone()));
    assert_ne!(first, fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    store.cella(&["restart", "-t", "0", "v"]).ok();
    assert_ne!(inside(&store, id), first);
    gone(store);
}

#[test]
fn a_changed_limit_is_seen_within_50_ms() {
    let Some(store) = started("a_changed_limit_is_seen_within_50_ms", &["--memory", "64m"]) else { return };
    for limit in [96, 48, 200, 64] {
        // Read all the time, so that it is as old as it may be.
        for _ in 0..200 {
            seen(&store, "/proc/meminfo");
        }
        store.cella(&["set", "v", "--memory", &format!("{limit}m")]).ok();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(field(&seen(&store, "/proc/meminfo"), "MemTotal"), limit << 10);
    }
    gone(store);
}

#[test]
fn waiting_is_told_to_who_polls() {
    let test = "waiting_is_told_to_who_polls";
    let Some(store) = started(test, &["--cpus", "0.2"]) else { return };
    if fs::metadata("/proc/pressure/cpu").is_err() {
        crate::support::skip(test, "this kernel does not count pressure");
        return gone(store);
    }
    let pressure = inside(&store, "cat /proc/pressure/cpu /proc/pressure/memory /proc/pressure/io");
    assert_eq!(pressure.matches("some avg10=").count(), 3, "{pressure}");
    let script = "
import select
with open('/proc/pressure/cpu', 'r+b', buffering=0) as file:
    file.write(b'some 100000 2000000\\0')
    poll = select.poll()
    poll.register(file, select.POLLPRI)
    print(poll.poll(60000)[0][1] & select.POLLPRI > 0)";
    store.cella(&["exec", "-d", "v", "sh", "-c", "while :; do :; done & while :; do :; done"]).ok();
    until("pressure", || field(&inside(&store, "tr ' ' '\\n' < /proc/pressure/cpu"), "total=") > 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    if mounts.lines().any(|line| line.contains(" - cgroup2 ") && line.contains("nsdelegate")) {
        // With nsdelegate the kernel lets nobody write to the files of the group that a cgroup namespace begins with.
        crate::support::skip(test, "to watch the group of a cgroup namespace is refused where cgroup2 has nsdelegate");
        return gone(store);
    }
    let watched = store.cella(&["exec", "v", "python3", "-c", script]);
    if group_has_pressure(&store) {
        assert_eq!(watched.ok(), "True");
    }
    gone(store);
}

/// The group's own file is there, so that the kernel can tell.
fn group_has_pressure(store: &Store) -> bool {
    let group = store.inspect("v", "cgroup");
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .any(|root| fs::metadata(format!("{root}/{group}/cpu.pressure")).is_ok())
}

#[test]
fn it_is_there_with_a_limit_or_when_asked() {
    let test = "it_is_there_with_a_limit_or_when_asked";
    if !is_there(test) {
        return;
    }
    let store = Store::new(test);
    let has = |flags: &[&str]| store.sh(flags, "grep -c ' - fuse cella ' /proc/self/mountinfo; :").ok() != "0";
    assert!(!has(&[]) && !has(&["--memory", "64m", "--proc-view", "off"]) && !has(&["--memory", "-1"]));
    assert!(has(&["--proc-view", "on"]) && has(&["--cpus", "1"]) && has(&["--cpuset-cpus", "0"]));
    let host = fs::read_to_string("/proc/meminfo").unwrap();
    let total = store.sh(&["--proc-view", "on"], "cat /proc/meminfo").ok();
    assert_eq!(field(&total, "MemTotal"), field(&host, "MemTotal"), "without a limit it is the host's");
    let error = store.cella(&["run", "--proc-view", "maybe", "host", "true"]).fails(125);
    assert!(error.contains("maybe"), "{error}");
    store.finish();
}

#[test]
fn limits_that_come_later_show_after_the_next_start() {
    let test = "limits_that_come_later_show_after_the_next_start";
    if !is_there(test) {
        return;
    }
    let store = Store::new(test);
    store.cella(&["run", "-d", "--restart", "always", "--name", "v", "host", "sleep", "1000"]).ok();
    store.cella(&["set", "v", "--memory", "64m", "--cpus", "1"]).ok();
    // Nobody serves a view: the kernel answers.
    let most = std::thread::available_parallelism().unwrap().get().to_string();
    assert_eq!(inside(&store, "nproc"), most);
    // The keeper's own restart has one.
    store.cella(&["kill", "v"]).ok();
    until("it is back", || store.cella(&["exec", "v", "nproc"]).out == "1\n");
    assert!(inside(&store, "head -n 1 /proc/meminfo").contains(" 65536 kB"));
    gone(store);
}

#[test]
fn a_clock_that_is_ahead_is_shown_ahead() {
    let test = "a_clock_that_is_ahead_is_shown_ahead";
    let Some(store) = started(test, &["--memory", "64m", "--time-offset", "boottime=86400"]) else { return };
    let shown = inside(&store, "cut -d. -f1 /proc/uptime; ps -o etimes= -p 1; date +%s; grep btime /proc/stat");
    let words: Vec<u64> = shown.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [up, since, now, began] = words[..] else { panic!("{shown}") };
    assert!(up >= 86_400 && since < 90, "{shown}");
    assert!(now.abs_diff(began + up) < 5, "{shown}");
    gone(store);
}

#[test]
fn its_place_may_be_in_the_view() {
    let test = "its_place_may_be_in_the_view";
    let Some(store) = started(test, &["--memory", "64m", "-w", "/sys/devices/system/cpu"]) else { return };
    assert_eq!(inside(&store, "pwd; cat online | head -c 1"), "/sys/devices/system/cpu\n0");
    gone(store);
}
