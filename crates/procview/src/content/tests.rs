// SPDX-License-Identifier: Apache-2.0
//! The whole view against this machine's own files: as root of a group that is made for it, else of the one that we are in.

use std::collections::HashMap;
use std::process::{Child, Command};

use kernel::cgroup::{Layout, Limits, settings};

use super::*;

const ROOT: Id = Id(1);

fn birth() -> Birth {
    Birth {
        boottime_ns: i64::try_from(monotonic_ms() * 1_000_000).unwrap(),
        own_clock: true,
        boot_id: "00000000-0000-4000-8000-000000000000".into(),
        init: Some(i32::try_from(std::process::id()).unwrap()),
    }
}

/// A group that goes when the test ends, however it ends.
struct Made {
    group: Group,
    children: Vec<Child>,
}

impl Made {
    /// None without root, which is told.
    fn new(name: &str, limits: &Limits) -> Option<Self> {
        if kernel::process::euid() != 0 {
            println!("SKIPPED: procview content of group {name}: it needs root");
            return None;
        }
        let layout = Layout::detect().unwrap();
        let group = Group::new(layout.clone(), &format!("cella-pv-test-{name}-{}", std::process::id()));
        let made = Self { group, children: Vec::new() };
        made.group.create().unwrap();
        made.group.apply(&settings(&layout, limits, &[]).unwrap()).unwrap();
        Some(made)
    }

    fn run(&mut self, shell: &str) {
        let child = Command::new("sh").args(["-c", shell]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        if let Some(entry) = self.group.entry().unwrap() {
            use std::os::fd::AsRawFd;
            let path = format!("/proc/self/fd/{}/cgroup.procs", entry.as_raw_fd());
            std::fs::write(path, pid.to_string()).unwrap();
        }
        self.group.adopt(pid).unwrap();
    }

    fn last_command(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/comm", self.children.last().unwrap().id())).unwrap()
    }

    fn end(&mut self) {
        self.group.kill_each().ok();
        self.children.drain(..).for_each(|mut child| drop(child.wait()));
        self.group.remove().ok();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.end();
    }
}

/// All paths of the tree with what is there.
fn walk(content: &mut Content) -> HashMap<String, (Id, Shape)> {
    let (mut found, mut left) = (HashMap::new(), vec![(String::new(), ROOT)]);
    while let Some((path, directory)) = left.pop() {
        for entry in content.list(directory) {
            let path = format!("{path}/{}", entry.name);
            assert_eq!(content.find(directory, entry.name.as_bytes()), Some(entry.clone()), "{path}");
            assert_eq!((content.parent(entry.id), content.shape(entry.id)), (directory, Some(entry.shape)), "{path}");
            if entry.shape == Shape::Directory {
                left.push((path.clone(), entry.id));
            }
            assert!(found.insert(path, (entry.id, entry.shape)).is_none());
        }
    }
    found
}

fn read(content: &mut Content, path: &str) -> String {
    let mut id = ROOT;
    for name in path.split('/') {
        id = content.find(id, name.as_bytes()).unwrap_or_else(|| panic!("{path}: {name}")).id;
    }
    let mut out = b"old".to_vec();
    assert!(content.text(id, &mut out), "{path}");
    String::from_utf8(out).unwrap()
}

fn field(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_name_in_every_directory_can_be_looked_up_and_read() {
    let mut content = Content::new(Group::new(Layout::detect().unwrap(), "cella-pv-none"), birth());
    let found = walk(&mut content);
    for path in ["/proc/meminfo", "/proc/boot_id", "/sys/cpu/online", "/sys/cpu/cpu0/topology/core_id"] {
        assert!(found.contains_key(path), "{path}");
    }
    let mut ids: Vec<Id> = found.values().map(|(id, _)| *id).collect();
    ids.sort_unstable_by_key(|id| id.0);
    ids.dedup();
    assert_eq!(ids.len(), found.len());
    let mut out = Vec::new();
    for (path, (id, shape)) in &found {
        assert_eq!(content.text(*id, &mut out), *shape != Shape::Directory, "{path}");
    }
    // Another process that serves the same container gives the same numbers.
    let mut other = Content::new(Group::new(Layout::detect().unwrap(), "cella-pv-none"), birth());
    assert_eq!(walk(&mut other), found);
}

#[test]
fn numbers_of_nothing_are_not_there() {
    let mut content = Content::new(Group::new(Layout::detect().unwrap(), "cella-pv-none"), birth());
    let mut out = Vec::new();
    for number in (0..40_u64).flat_map(|kind| [kind << 27 | 0x7ff_ffff, kind << 27 | 0xff, kind << 27 | 0x7fff]) {
        for number in [number, number << 32, u64::MAX - number] {
            assert!(!content.text(Id(number), &mut out) && content.shape(Id(number)).is_none(), "{number:#x}");
            assert!(content.list(Id(number)).is_empty() && content.find(Id(number), b"x").is_none());
        }
    }
    assert_eq!(content.find(ROOT, b"pr\xffoc"), None);
    // A link to a memory node, and a file of a cache, that no host has, and what some have not: nothing of their texts is read there.
    let some = [Node::PressureFile(kernel::cgroup::Resource::Interrupts), Node::CpuFile(0, 2), Node::SmtFile(1)];
    for node in [Node::CpuNuma(0, 127), Node::CacheFile(0, 48, 10)].into_iter().chain(some) {
        assert_eq!(content.text(node.id(), &mut out), content.shape(node.id()).is_some(), "{node:?}");
    }
}

#[test]
fn links_lead_to_what_is_in_the_tree() {
    let mut content = Content::new(Group::new(Layout::detect().unwrap(), "cella-pv-none"), birth());
    let found = walk(&mut content);
    let mut out = Vec::new();
    for (path, (id, shape)) in found.iter().filter(|(_, (_, shape))| *shape == Shape::Link) {
        assert_eq!(*shape, Shape::Link);
        assert!(content.text(*id, &mut out));
        let target = String::from_utf8(out.clone()).unwrap();
        if let Some(inside) = target.strip_prefix("../../").filter(|rest| !rest.starts_with("..")) {
            assert!(found.contains_key(&format!("/sys/{inside}")), "{path} -> {target}");
        }
    }
}

#[test]
fn a_limited_container_sees_its_limits_and_changes_of_them() {
    const MB: u64 = 1 << 20;
    let limits =
        Limits { memory: Some(64 * MB), cpu_quota: Some((50_000, 100_000)), pids: Some(50), ..Limits::default() };
    let Some(mut made) = Made::new("limits", &limits) else { return };
    made.run("while :; do :; done");
    std::thread::sleep(std::time::Duration::from_millis(400));
    let mut content = Content::new(made.group.clone(), birth());
    let meminfo = read(&mut content, "proc/meminfo");
    assert_eq!(field(&meminfo, "MemTotal:"), 64 * 1024);
    assert!(field(&meminfo, "MemFree:") <= 64 * 1024 && field(&meminfo, "MemAvailable:") > 0);
    assert_eq!(content.processors().len(), 1);
    assert_eq!(read(&mut content, "proc/cpuinfo").matches("processor\t:").count(), 1);
    for file in ["online", "present", "possible"] {
        assert_eq!(read(&mut content, &format!("sys/cpu/{file}")), "0\n");
    }
    let cpus = content_id(&mut content, "sys/cpu");
    assert!(content.find(cpus, b"cpu1").is_none());
    assert_eq!(read(&mut content, "sys/cpu/cpu0/topology/core_siblings_list"), "0\n");
    let stat = read(&mut content, "proc/stat");
    assert_eq!(stat.lines().filter(|line| line.starts_with("cpu")).count(), 2);
    let used = field(&stat, "cpu ");
    assert!((5..80).contains(&used), "{stat}");
    assert_eq!(content.memory_sysinfo().total_ram, 64 * MB);
    assert_eq!(content.memory_sysinfo().procs, 1);

    let limits = Limits { memory: Some(96 * MB), cpu_quota: Some((150_000, 100_000)), ..Limits::default() };
    made.group.apply(&settings(&Layout::detect().unwrap(), &limits, &[]).unwrap()).unwrap();
    assert_eq!(field(&read(&mut content, "proc/meminfo"), "MemTotal:"), 96 * 1024);
    let count = content.processors().len();
    assert_eq!(count, 2.min(std::thread::available_parallelism().unwrap().get()));
    assert_eq!(read(&mut content, "proc/cpuinfo").matches("processor\t:").count(), count);
    assert!(field(&read(&mut content, "proc/stat"), "cpu ") >= used);
}

fn content_id(content: &mut Content, path: &str) -> Id {
    path.split('/').fold(ROOT, |id, name| content.find(id, name.as_bytes()).unwrap().id)
}

#[test]
fn the_smallest_limit_of_all_groups_above_counts() {
    const MB: u64 = 1 << 20;
    let made =
        Made::new("above", &Limits { memory: Some(32 * MB), cpu_quota: Some((100_000, 100_000)), ..Limits::default() });
    let name = format!("cella-pv-test-above-{}/a/b", std::process::id());
    let inner = Group::new(Layout::detect().unwrap(), &name);
    inner.create().unwrap();
    let mut content = Content::new(inner.clone(), birth());
    assert_eq!(field(&read(&mut content, "proc/meminfo"), "MemTotal:"), 32 * 1024);
    assert_eq!(content.processors().len(), 1);
    inner.remove().unwrap();
    drop(made);
}

#[test]
fn a_group_that_is_removed_while_it_is_read_keeps_its_last_numbers() {
    let Some(mut made) = Made::new("gone", &Limits { memory: Some(48 << 20), ..Limits::default() }) else { return };
    let mut content = Content::new(made.group.clone(), birth());
    let before: Vec<(String, Id)> = walk(&mut content).into_iter().map(|(path, (id, _))| (path, id)).collect();
    let mut out = Vec::new();
    for (_, id) in &before {
        content.text(*id, &mut out);
    }
    made.end();
    assert!(!made.group.exists());
    assert_eq!(field(&read(&mut content, "proc/meminfo"), "MemTotal:"), 48 * 1024);
    for (path, id) in &before {
        assert!(content.text(*id, &mut out) || content.shape(*id) == Some(Shape::Directory), "{path}");
    }
}

#[test]
fn a_busy_task_is_load_and_runs() {
    let Some(mut made) = Made::new("load", &Limits::default()) else { return };
    made.run("while :; do :; done");
    made.run("exec sleep 1000");
    let mut content = Content::new(made.group.clone(), birth());
    assert_eq!(content.next_tick_ms(), None);
    // Until the other one sleeps.
    wait_until(|| made.last_command() == "sleep\n" && made.group.watch().census(None).running == 1);
    let loadavg = read(&mut content, "proc/loadavg");
    assert!(loadavg.starts_with("0.00 0.00 0.00 1/2 "), "{loadavg}");
    let next = content.next_tick_ms().unwrap();
    assert!(next > monotonic_ms() && next <= monotonic_ms() + load::TICK_MS);
    content.tick();
    let loadavg = read(&mut content, "proc/loadavg");
    assert!(loadavg.starts_with("0.00 "), "{loadavg}");
    let census = made.group.watch().census(Some(1));
    assert_eq!((census.tasks, census.running), (2, 1));
    assert!(census.last_pid > 0);
    let stat = read(&mut content, "proc/stat");
    assert_eq!(field(&stat, "procs_running "), 2);
}

#[test]
fn a_worker_without_descriptors_still_answers() {
    let Some(mut made) = Made::new("nofile", &Limits { memory: Some(48 << 20), ..Limits::default() }) else { return };
    made.run("exec sleep 1000");
    let mut content = Content::new(made.group.clone(), birth());
    let files: Vec<(String, Id)> = walk(&mut content)
        .into_iter()
        .filter(|(_, (_, shape))| *shape != Shape::Directory)
        .map(|(path, (id, _))| (path, id))
        .collect();
    let mut out = Vec::new();
    for (_, id) in &files {
        content.text(*id, &mut out);
    }
    let before = descriptors();
    for (_, id) in &files {
        content.text(*id, &mut out);
    }
    assert!(descriptors() <= before + 8, "{before}");
    assert!(before < 150, "{before} descriptors are kept");
}

fn wait_until(is_so: impl Fn() -> bool) {
    let end = monotonic_ms() + 10_000;
    while !is_so() {
        assert!(monotonic_ms() < end, "it took too long");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
