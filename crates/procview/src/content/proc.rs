// SPDX-License-Identifier: Apache-2.0
//! The files of `/proc`: what is read for each of them.

use std::io::Write;

use kernel::cgroup::{Device, Resource, page_bytes};
use kernel::time::{monotonic_ms, now_ns};

use super::clocks::{self, Counts};
use super::node::ProcFile;
use super::{Content, disks, memory, processors};

/// `/proc/slabinfo` has the kernel's own caches, which nobody counts by container: it is shown as if there were none.
const SLABINFO: &str = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : \
     tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

/// What a group without a count of waiting shows.
const NO_PRESSURE: [&str; 2] =
    ["some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"];

impl Content {
    pub(super) fn proc_text(&mut self, file: ProcFile, out: &mut Vec<u8>) -> bool {
        match file {
            ProcFile::Meminfo => self.meminfo(out),
            ProcFile::Cpuinfo => self.cpuinfo(out),
            ProcFile::Stat => self.stat(out),
            ProcFile::Uptime => self.uptime(out),
            ProcFile::Loadavg => self.loadavg(out),
            ProcFile::Swaps => self.swaps(out),
            ProcFile::Diskstats => self.diskstats(out),
            ProcFile::Vmstat => self.vmstat(out),
            ProcFile::Slabinfo => out.extend_from_slice(SLABINFO.as_bytes()),
            ProcFile::Partitions => {
                let devices = self.watched.devices();
                disks::partitions(self.host.partitions.text(), &devices, out);
            }
            ProcFile::BootId => out.extend_from_slice(format!("{}\n", self.birth.boot_id).as_bytes()),
        }
        true
    }

    fn meminfo(&mut self, out: &mut Vec<u8>) {
        let (_, figures) = self.figures();
        let host = self.host.meminfo.last().unwrap_or_default();
        match figures {
            Some(figures) => memory::meminfo(std::str::from_utf8(host).unwrap_or_default(), &figures, out),
            None => out.extend_from_slice(host),
        }
    }

    fn swaps(&mut self, out: &mut Vec<u8>) {
        match self.figures().1 {
            Some(figures) => memory::swaps(&figures, out),
            None => out.extend_from_slice(self.host.small("/proc/swaps").unwrap_or_default()),
        }
    }

    fn vmstat(&mut self, out: &mut Vec<u8>) {
        let (_, figures) = self.figures();
        let Some(figures) = figures else {
            out.extend_from_slice(self.host.vmstat.read().unwrap_or_default());
            return;
        };
        let devices = self.watched.devices();
        let kb = |bytes: fn(&kernel::cgroup::Device) -> u64| {
            Some(devices.iter().map(bytes).fold(0, u64::saturating_add) / 1024)
        };
        let kills = self.watched.group().oom_count().and_then(|count| count.read());
        let watched = &self.watched;
        let event = |name: &str| match name {
            // In kB of disks there, in pages of memory in a group of version 1.
            "pgpgin" => kb(|device| device.read_bytes),
            "pgpgout" => kb(|device| device.written_bytes),
            "oom_kill" => kills,
            _ => watched.memory_event(name),
        };
        memory::vmstat(self.host.vmstat.text(), &figures, page_bytes(), event, out);
    }

    fn cpuinfo(&mut self, out: &mut Vec<u8>) {
        let sight = self.sight();
        let places = self.host.layout(&sight.visible, sight.limits.nodes.as_deref()).places.clone();
        processors::cpuinfo(self.host.cpuinfo(), &sight.visible, &places, out);
    }

    fn stat(&mut self, out: &mut Vec<u8>) {
        let sight = self.sight();
        let time = self.watched.processor_time().unwrap_or_default();
        let now = self.moment(&sight, &time);
        self.clocks.advance(&now);
        let census = self.counted();
        let counts = Counts {
            boot_s: self.boot_s(now.uptime_ns),
            processes: u64::try_from(census.last_pid).unwrap_or(0),
            // Whoever reads this runs, but not while it is being made.
            running: census.running.saturating_add(1),
            blocked: census.blocked,
            counted: self.counted,
        };
        clocks::stat(&self.clocks, self.host.stat(), &counts, out);
    }

    /// Seconds since 1970 at the moment from which `/proc/PID/stat` inside counts: `ps` adds the two.
    fn boot_s(&mut self, uptime_ns: u64) -> u64 {
        if self.birth.own_clock {
            return now_ns().saturating_sub(uptime_ns) / 1_000_000_000;
        }
        clocks::host_value(self.host.stat(), "btime").unwrap_or(0)
    }

    fn uptime(&mut self, out: &mut Vec<u8>) {
        let sight = self.sight();
        let time = self.watched.processor_time().unwrap_or_default();
        clocks::uptime(&self.moment(&sight, &time), out);
    }

    fn loadavg(&mut self, out: &mut Vec<u8>) {
        self.ask_load(monotonic_ms());
        let census = self.counted();
        let tasks = self.tasks().max(census.running);
        self.load.write(census.running.max(1), tasks.max(1), census.last_pid, out);
    }

    /// What the group has done with each device, and how long it waited for all, in microseconds.
    fn devices(&mut self) -> (Vec<Device>, u64) {
        let devices = self.watched.devices();
        (devices, self.watched.pressure(Resource::Io).map_or(0, disks::waited_us))
    }

    fn diskstats(&mut self, out: &mut Vec<u8>) {
        let (devices, waited_us) = self.devices();
        let uptime_ns = self.uptime_ns();
        disks::diskstats(self.host.diskstats.text(), &devices, waited_us, uptime_ns, out);
    }

    /// `/sys/block/NAME/stat`.
    pub(super) fn disk_text(&mut self, major: usize, minor: usize, out: &mut Vec<u8>) -> bool {
        let (devices, waited_us) = self.devices();
        let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let used = devices.iter().find(|one| (number(one.major), number(one.minor)) == (major, minor));
        disks::stat(used, waited_us, self.uptime_ns(), out);
        true
    }

    pub(super) fn pressure_text(&mut self, resource: Resource, out: &mut Vec<u8>) -> bool {
        match self.watched.pressure(resource) {
            Some(text) => out.extend_from_slice(text),
            None => {
                let skipped = usize::from(resource == Resource::Interrupts);
                NO_PRESSURE.iter().skip(skipped).for_each(|line| write!(out, "{line}").unwrap_or_default());
            }
        }
        true
    }
}
