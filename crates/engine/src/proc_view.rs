// SPDX-License-Identifier: Apache-2.0
//! A container's own /proc and /sys: when it has them, where they are mounted, and who serves them.

use std::os::fd::OwnedFd;
use std::path::Path;

use kernel::Errno;
use kernel::cgroup::{Group, Resource};
use kernel::mount::Parameter;
use kernel::types::{NamespaceKind, Propagation, attr};
use plan::{Plan, Step};
use procview::{Birth, Content, Snapshot, Store, Tools};
use spec::definition::{Clock, Definition, Filter};
use spec::oci;
use spec::oci::seccomp::Action;
use spec::view::ProcView;

use crate::error::{Doing, Result};
use crate::store::Found;

/// What is shown in /proc where the host's kernel has it: the place there, and in the view.
const FILES: &[(&str, &str)] = &[
    ("/proc/meminfo", "proc/meminfo"),
    ("/proc/cpuinfo", "proc/cpuinfo"),
    ("/proc/stat", "proc/stat"),
    ("/proc/uptime", "proc/uptime"),
    ("/proc/loadavg", "proc/loadavg"),
    ("/proc/swaps", "proc/swaps"),
    ("/proc/diskstats", "proc/diskstats"),
    ("/proc/vmstat", "proc/vmstat"),
    ("/proc/slabinfo", "proc/slabinfo"),
    ("/proc/partitions", "proc/partitions"),
    ("/proc/sys/kernel/random/boot_id", "proc/boot_id"),
    ("/sys/devices/system/cpu", "sys/cpu"),
    ("/sys/devices/system/node", "sys/node"),
];

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Does this container have its own view?
pub(crate) fn is_wanted(definition: &Definition) -> bool {
    let limits = &definition.limits;
    let limited = [limits.memory, limits.milli_cpus].iter().flatten().any(|limit| *limit != u64::MAX);
    let has_limit = limited || limits.cpuset_cpus.is_some();
    match definition.proc_view {
        ProcView::Off => false,
        ProcView::Auto => definition.system.is_some() || has_limit,
        ProcView::On => true,
    }
}

/// The mounts of the view, over those of /proc and /sys. With the path of its group, which is there before its processes are,
/// the pressure files are the kernel's own: who watches them is told by it.
pub(crate) fn mounts(definition: &Definition, group: Option<&Group>) -> Vec<oci::Mount> {
    if !is_wanted(definition) {
        return Vec::new();
    }
    let there = |(place, _): &&(&str, &str)| Path::new(place).exists();
    let view = |place: &str, source: &str| oci::Mount {
        destination: place.to_owned(),
        kind: plan::VIEW.to_owned(),
        source: source.to_owned(),
        ..oci::Mount::default()
    };
    let mut list: Vec<oci::Mount> = FILES.iter().filter(there).map(|(place, source)| view(place, source)).collect();
    list.extend(disks().into_iter().map(|(place, number)| view(&place, &format!("block/{number}"))));
    for resource in Resource::ALL.map(Resource::name) {
        let place = format!("/proc/pressure/{resource}");
        if !Path::new(&place).exists() {
            continue;
        }
        list.push(match group.and_then(|group| group.pressure_file(resource)) {
            Some(file) => oci::Mount {
                source: file.to_string_lossy().into_owned(),
                options: ["bind", "nosuid", "nodev", "noexec"].map(str::to_owned).into(),
                kind: "bind".to_owned(),
                ..view(&place, "")
            },
            None => view(&place, &format!("proc/pressure/{resource}")),
        });
    }
    list
}

/// The counters of the host's disks that have done anything: their places, and the numbers of the disks. iostat reads these.
fn disks() -> Vec<(String, String)> {
    const MOST: usize = 64;
    let names = kernel::file::names(Path::new("/sys/block")).unwrap_or_default();
    let disk = |name: String| {
        let place = std::fs::canonicalize(format!("/sys/block/{name}")).ok()?;
        let text = |file: &str| std::fs::read_to_string(place.join(file)).ok();
        let is_idle = text("stat")?.bytes().all(|byte| matches!(byte, b' ' | b'0' | b'\n'));
        let number = text("dev").filter(|_| !is_idle)?.trim().to_owned();
        Some((place.join("stat").to_str()?.to_owned(), number))
    };
    names.into_iter().filter_map(disk).take(MOST).collect()
}

/// Lets the clock that counts from the boot begin with the container: what says when its processes started is right then.
pub(crate) fn clocks(definition: &Definition) -> Option<(Clock, i64)> {
    let own = definition.time_offsets.contains_key(&Clock::Boottime);
    if own || !is_wanted(definition) || !kernel::namespace::is_known(NamespaceKind::Time) {
        return None;
    }
    let now = i64::try_from(kernel::time::boottime_ns()).unwrap_or(i64::MAX);
    Some((Clock::Boottime, -now))
}

/// Has the calls answered by the view that tell of memory and processors.
pub(crate) fn listen(definition: &Definition, filter: &mut oci::seccomp::Seccomp) {
    let own = definition.security.seccomp == Filter::Default;
    // Nobody may have two listeners: what runs in a container with a view goes without.
    if !own || !is_wanted(definition) || !kernel::probe::at_least(5, 5) || !kernel::seccomp::can_listen() {
        return;
    }
    for rule in &mut filter.syscalls {
        rule.names.retain(|name| !procview::CALLS.contains(&name.as_str()));
    }
    filter.syscalls.retain(|rule| !rule.names.is_empty());
    filter.syscalls.extend(procview::CALLS.map(|call| plan::seccomp::profile::rule(call, Action::Notify)));
    filter.listener_path = Some(plan::KEEPER.to_owned());
}

/// Who serves it.
pub(crate) struct Served {
    owner: (u32, u32),
    device: Option<OwnedFd>,
    snapshot: Option<Snapshot>,
    mount: Option<OwnedFd>,
    store: Option<Store>,
    birth: Birth,
}

impl Served {
    /// Of a container, when its plan has a view: that may be so only the next time.
    pub(crate) fn of(found: &Found) -> Box<dyn runtime::View> {
        let owner = found.record.ids.map_or((0, 0), |ids| (ids.base, ids.base));
        let birth = Birth { boottime_ns: 0, own_clock: false, boot_id: String::new(), init: None };
        Box::new(Self { owner, device: None, snapshot: None, mount: None, store: None, birth })
    }
}

/// A random id in the form of the kernel's (RFC 9562, version 4).
fn boot_id() -> String {
    let mut bytes: [u8; 16] = kernel::time::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// The moment of the host's at which the clock that counts from the boot begins, when the plan says so.
fn beginning(plan: &Plan) -> Option<i64> {
    plan.steps.iter().find_map(|step| match step {
        Step::TimeOffsets { offsets } => {
            let offset = offsets.iter().find(|offset| offset.clock == "boottime")?;
            let after = offset.seconds.checked_mul(SECOND)?.checked_add(offset.nanoseconds.into())?;
            after.checked_neg()
        }
        _ => None,
    })
}

impl runtime::View for Served {
    fn open(&mut self, plan: &Plan, group: &Group) -> kernel::Result<()> {
        // Nothing of an earlier run is left in it.
        self.store = Some(Store::new()?);
        let began = beginning(plan);
        let now = || i64::try_from(kernel::time::boottime_ns()).unwrap_or(i64::MAX);
        let boottime_ns = began.unwrap_or_else(now);
        self.birth = Birth { boottime_ns, own_clock: began.is_some(), boot_id: boot_id(), init: None };
        if kernel::fuse::is_there() {
            let device = kernel::fuse::open()?;
            self.mount = Some(kernel::fuse::mount(&device)?);
            self.device = Some(device);
            return Ok(());
        }
        let options = [Parameter::Text("mode", "755"), Parameter::Text("size", "8m")];
        let files = kernel::mount::new("tmpfs", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        self.mount = Some(kernel::file::duplicate(&files)?);
        let mut content = Content::new(group.clone(), self.birth.clone());
        self.snapshot = Some(Snapshot::new(files, &mut content)?);
        Ok(())
    }

    fn take_mount(&mut self) -> Option<OwnedFd> {
        self.mount.take()
    }

    fn take_device(&mut self) -> Option<OwnedFd> {
        self.device.take()
    }

    fn put_device(&mut self, device: OwnedFd) {
        self.device = Some(device);
    }

    fn device(&self) -> Option<&OwnedFd> {
        self.device.as_ref()
    }

    fn files(&self) -> Option<&OwnedFd> {
        self.snapshot.as_ref().map(Snapshot::root)
    }

    fn serve(&mut self, place: runtime::Place) -> kernel::Result<runtime::Ended> {
        let Some(store) = &mut self.store else { return Ok(runtime::Ended::Gone) };
        let (device, snapshot) = (self.device.as_ref(), self.snapshot.as_mut());
        let content = Content::new(place.group, Birth { init: place.init, ..self.birth.clone() });
        let (control, listeners) = (place.control, place.listeners);
        let tools = Tools { device, snapshot, store, owner: self.owner, control, listeners, stop: None };
        Ok(match procview::serve(tools, content)? {
            procview::Ended::Gone => runtime::Ended::Gone,
            procview::Ended::Idle => runtime::Ended::Idle,
        })
    }
}

/// Whose view is shown to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// To everybody that of the container it is in, in lxcfs's layout.
    Compat,
    /// That of the container of this process.
    Process(i32),
}

/// RLIMIT_NOFILE.
const FILES_LIMIT: u32 = 7;

/// Signals that end it.
const ENDS: &[i32] = &[1, 2, 15];

/// Serves a view at a directory until it is unmounted or a signal comes; it is unmounted then.
///
/// # Errors
/// When the host has no FUSE, the directory or the process is not there, or the mount is refused.
pub fn serve(directory: &Path, shown: Shown) -> Result<()> {
    let stop = kernel::signal::descriptor(ENDS)?;
    // What a server that was killed has left there does not answer.
    if kernel::root::open_directory_path(directory).is_err_and(|error| error.is(Errno::NOTCONN)) {
        kernel::mount::detach(directory)?;
    }
    // Each container's files stay open.
    if let Ok((_, most)) = kernel::process::limit(FILES_LIMIT) {
        kernel::process::set_limit(0, FILES_LIMIT, most, most).ok();
    }
    let target = kernel::root::open_directory_path(directory).doing(|| format!("serve a view at {directory:?}"))?;
    let directory = &kernel::root::path_of(&target)?;
    // What one process is in is looked up before anything is mounted.
    let content = match shown {
        Shown::Compat => None,
        Shown::Process(pid) => Some(content_of(pid)?),
    };
    let device = kernel::fuse::open().doing(|| "serve a view".to_owned())?;
    let mount = kernel::fuse::mount(&device).doing(|| "serve a view".to_owned())?;
    kernel::mount::attach(&mount, &target)?;
    drop((mount, target));
    let home = leave(directory)?;
    let served = match content {
        None => procview::compat::serve(&device, &stop),
        Some(content) => {
            let (mut store, (_ours, control)) = (Store::new()?, kernel::socket::pair()?);
            let tools = Tools {
                device: Some(&device),
                snapshot: None,
                store: &mut store,
                owner: (0, 0),
                control,
                listeners: Vec::new(),
                stop: Some(stop),
            };
            procview::serve(tools, content).map(drop)
        }
    };
    // Who waits for us gets an error: to unmount is to look at what is mounted.
    drop(device);
    kernel::namespace::join(&home, NamespaceKind::Mount.flag())?;
    // Somebody may have done so.
    kernel::mount::detach(directory).ok();
    Ok(served?)
}

/// Goes where the view is not mounted, nor will be: what it is mounted over is what it is made from. Gives the way back.
fn leave(directory: &Path) -> Result<OwnedFd> {
    let home = kernel::namespace::open(Path::new("/proc/self/ns/mnt"))?;
    kernel::namespace::unshare(NamespaceKind::Mount.flag())?;
    kernel::mount::set_all_propagation(Propagation::Private)?;
    kernel::mount::detach(directory)?;
    Ok(home)
}

fn content_of(pid: i32) -> Result<Content> {
    kernel::procfs::group_of(pid).doing(|| format!("find process {pid}"))?;
    let (group, init) = procview::compat::container_of(pid).unwrap_or_default();
    let group = Group::new(kernel::cgroup::Layout::detect()?, &group);
    Ok(Content::new(group, procview::compat::birth_of(init)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_another_boot_id() {
        let (one, other) = (boot_id(), boot_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
    }
}
