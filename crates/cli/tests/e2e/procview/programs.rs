// SPDX-License-Identifier: Apache-2.0
//! Programs that people look with: what they say is what the group's files say.

use super::{field, gone, group_text, inside, number, started};
use crate::support::{Store, on_terminal, until};

const FLAGS: [&str; 4] = ["--memory", "128m", "--cpus", "1"];

/// In kB.
fn limit(store: &Store) -> u64 {
    number(&group_text(store, ["memory.limit_in_bytes", "memory.max"])) / 1024
}

#[test]
fn free_vmstat_and_top_show_the_groups_memory() {
    let Some(store) = started("free_vmstat_and_top_show_the_groups_memory", &FLAGS) else { return };
    let total = limit(&store).to_string();
    let free = inside(&store, "free -k");
    let mem: Vec<&str> = free.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(mem[1], total, "{free}");
    let used = number(&group_text(&store, ["memory.usage_in_bytes", "memory.current"])) / 1024;
    assert!(number(mem[2]) <= used + 8192 && number(mem[6]) <= number(mem[1]), "{free}");
    let top = inside(&store, "top -bn1 -E k -w 200");
    assert!(top.contains(&total), "{top}");
    assert!(top.contains("up 0 min") && top.contains("%Cpu"), "{top}");
    let tasks = top.lines().find_map(|line| line.strip_prefix("Tasks:")).unwrap();
    assert!(number(tasks.split_whitespace().next().unwrap()) < 10, "{top}");
    let vmstat = inside(&store, "vmstat -S K 1 2");
    let last: Vec<u64> = vmstat.lines().last().unwrap().split_whitespace().map(number).collect();
    assert!(last[3] <= limit(&store), "{vmstat}");
    assert_eq!(last[12..17].iter().sum::<u64>() / 10, 10, "parts of a processor are about 100: {vmstat}");
    let stat = inside(&store, "vmstat -s | grep 'total memory'");
    assert_eq!(number(stat.split_whitespace().next().unwrap()).to_string(), total);
    gone(store);
}

#[test]
fn busybox_free_top_and_uptime_ask_by_sysinfo() {
    let Some(store) = started("busybox_free_top_and_uptime_ask_by_sysinfo", &FLAGS) else { return };
    let total = limit(&store).to_string();
    let free = inside(&store, "busybox free");
    assert_eq!(free.lines().nth(1).unwrap().split_whitespace().nth(1), Some(total.as_str()), "{free}");
    let uptime = inside(&store, "busybox uptime");
    assert!(uptime.contains("up 0 min") && uptime.contains("load average: "), "{uptime}");
    let top = inside(&store, "busybox top -bn1 | head -4");
    let mem: Vec<&str> = top.lines().next().unwrap().split_whitespace().collect();
    let kb = |word: &str| number(word.trim_end_matches('K'));
    assert!((kb(mem[1]) + kb(mem[3])).abs_diff(limit(&store)) < 4096, "{top}");
    assert!(top.lines().nth(1).unwrap().starts_with("CPU:"), "{top}");
    // Pages, as glibc counts them.
    let pages = number(&inside(&store, "getconf _PHYS_PAGES")) * number(&inside(&store, "getconf PAGESIZE"));
    assert_eq!(pages / 1024, limit(&store));
    gone(store);
}

#[test]
fn uptime_w_and_ps_know_when_it_started() {
    let Some(store) = started("uptime_w_and_ps_know_when_it_started", &FLAGS) else { return };
    assert!(inside(&store, "uptime").contains(" up 0 min"));
    assert!(inside(&store, "w").contains("load average: "));
    let ps = inside(&store, "ps aux");
    let init: Vec<&str> = ps.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((init[1], init[10]), ("1", "sleep"), "{ps}");
    // Its share is of what the container has.
    let share: f64 = init[3].parse().unwrap();
    assert!((0.1..50.0).contains(&share), "{ps}");
    let shown = inside(&store, "ps -o lstart= -p 1 | xargs -I{} date -d '{}' +%s; date +%s");
    let times: Vec<u64> = shown.lines().map(number).collect();
    assert!(times[1].abs_diff(times[0]) < 90, "{shown}");
    gone(store);
}

#[test]
fn mpstat_and_iostat_count_from_the_start() {
    let Some(store) = started("mpstat_and_iostat_count_from_the_start", &FLAGS) else { return };
    let mpstat = inside(&store, "LC_ALL=C mpstat -P ALL 1 1");
    assert!(mpstat.contains("(1 CPU)"), "{mpstat}");
    let idle = mpstat.lines().rev().find(|line| line.starts_with("Average:")).unwrap().split_whitespace().last();
    assert!((0.0..=100.0).contains(&idle.unwrap().parse::<f64>().unwrap()), "{mpstat}");
    inside(&store, "dd if=/usr/bin/python3 of=/dev/null bs=1M iflag=direct 2>/dev/null; sleep 0.1");
    let iostat = inside(&store, "LC_ALL=C iostat -d -k; cat /proc/diskstats");
    for line in iostat.lines().skip_while(|line| !line.starts_with("Device")).skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Name, per second three, then what was read in kB: none of the host's gigabytes.
        if let [_, _, _, _, _, read, ..] = words[..]
            && words.len() == 8
        {
            assert!(number(read) < 100 << 10, "{iostat}");
        }
    }
    gone(store);
}

#[test]
fn lscpu_and_psutil_agree_with_the_group() {
    let Some(store) = started("lscpu_and_psutil_agree_with_the_group", &FLAGS) else { return };
    let lscpu = inside(&store, "LC_ALL=C lscpu");
    assert_eq!(field(&lscpu, "CPU(s)"), 1);
    assert!(lscpu.contains("On-line CPU(s) list:") && lscpu.contains("Thread(s) per core:"), "{lscpu}");
    let script = "
import psutil, time
print(psutil.virtual_memory().total // 1024)
print(psutil.swap_memory().total)
print(psutil.cpu_count(), psutil.cpu_count(logical=False))
print(len(psutil.cpu_times(percpu=True)))
print(int(time.time() - psutil.boot_time()) < 90)
print(int(time.time() - psutil.Process(1).create_time()) < 90)
print(len(psutil.getloadavg()))
print(type(psutil.disk_io_counters(perdisk=True)).__name__)
print(psutil.cpu_stats().ctx_switches >= 0)";
    let shown = store.cella(&["exec", "v", "python3", "-c", script]).ok();
    let swap = field(&inside(&store, "cat /proc/meminfo"), "SwapTotal") * 1024;
    let wanted = format!("{}\n{swap}\n1 1\n1\nTrue\nTrue\n3\ndict\nTrue", limit(&store));
    assert_eq!(shown, wanted);
    assert!(inside(&store, "df -k / | tail -1").contains('%'));
    gone(store);
}

#[test]
fn htop_shows_one_processor_on_a_terminal() {
    let Some(store) = started("htop_shows_one_processor_on_a_terminal", &FLAGS) else { return };
    // A start in this second is unknown to it.
    until("a second", || !inside(&store, "cat /proc/uptime").starts_with("0."));
    let shown = on_terminal(&store, "exec -it -e TERM=xterm -e HTOPRC=/dev/null v htop", &[("Uptime", "q")]);
    assert!(shown.contains("128M"), "{shown}");
    assert!(shown.contains("00:00:"), "{shown}");
    gone(store);
}

#[test]
fn however_it_is_read_it_is_whole() {
    let Some(store) = started("however_it_is_read_it_is_whole", &FLAGS) else { return };
    for path in ["/proc/cpuinfo", "/sys/devices/system/cpu/online", "/proc/sys/kernel/random/boot_id"] {
        let script = format!(
            "a=$(md5sum < {path}); for how in 'cat {path}' 'dd bs=1 if={path}' 'dd bs=7 if={path}' 'head -n 100000 {path}' \
             'tail -n +1 {path}' 'cat < {path}'; do b=$($how 2>/dev/null | md5sum); [ \"$a\" = \"$b\" ] || echo \"$how\"; done"
        );
        assert_eq!(inside(&store, &script), "", "{path}");
    }
    assert_eq!(inside(&store, "head -n 1 /proc/meminfo"), format!("MemTotal:       {:8} kB", limit(&store)));
    let script = "
import os
path = '/proc/cpuinfo'
whole = open(path, 'rb').read()
read, write = os.pipe()
os.set_blocking(read, False)
file = os.open(path, os.O_RDONLY)
sent = os.sendfile(write, file, 0, 65536)
print(os.read(read, 65536) == whole[:sent], sent == min(len(whole), 65536))
file = os.open(path, os.O_RDONLY)
moved = os.splice(file, write, 65536, offset_src=0)
print(os.read(read, 65536) == whole[:moved], moved > 0)
import mmap
";
    assert_eq!(store.cella(&["exec", "v", "python3", "-c", script]).ok(), "True True\nTrue True");
    gone(store);
}

#[test]
fn a_file_that_stays_open_stays_fresh() {
    let Some(store) = started("a_file_that_stays_open_stays_fresh", &FLAGS) else { return };
    let script = "
import os, time
meminfo, uptime = (os.open('/proc/' + name, os.O_RDONLY) for name in ('meminfo', 'uptime'))
total = lambda: int(os.pread(meminfo, 4096, 0).split()[1])
print(total(), flush=True)
first = float(os.pread(uptime, 100, 0).split()[0])
end = time.monotonic() + 60
while total() == 131072 and time.monotonic() < end:
    time.sleep(0.01)
print(total())
print(float(os.pread(uptime, 100, 0).split()[0]) > first)";
    let mut child = store.piped(&["exec", "v", "python3", "-u", "-c", script]);
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "131072\n");
    store.cella(&["set", "v", "--memory", "256m"]).ok();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert_eq!(rest, "262144\nTrue\n");
    assert!(child.wait().unwrap().success());
    gone(store);
}
