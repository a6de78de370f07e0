// SPDX-License-Identifier: Apache-2.0
//! The same for other people's containers: one tree for all, laid out as lxcfs has it, that shows to everybody what their own
//! container sees.
//!
//! Who asks is known by the process id of each message: the control group of the first process of its process namespace is the
//! container. Files are opened, and every text is one open file's own.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use kernel::cgroup::{Group, Layout};
use kernel::event::Interest;
use kernel::fuse::{self, Attributes, Call, Kind, Reading, Received, Reply, Request};
use kernel::types::NamespaceKind;
use kernel::{Errno, Result};

use crate::content::{Birth, Content, Id, Shape};
use crate::serve::{kind, list};

/// `sys/devices` and `sys/devices/system`, which the tree of one container does not have.
const DEVICES: Id = Id(u64::MAX - 1);
const SYSTEM: Id = Id(u64::MAX - 2);

/// The most containers, callers and open files that are remembered.
const MOST_GROUPS: usize = 1024;
const MOST_CALLERS: usize = 4096;
const MOST_OPEN: usize = 1 << 18;

/// How long somebody is taken to be in the group that it was in, milliseconds.
const CALLER_MS: u64 = 2000;

/// Clock ticks in a second, as /proc counts them.
const TICKS: u64 = 100;

/// The most open files of one container, so that others have room, and what their texts take at most, bytes.
const MOST_OPEN_EACH: usize = 1024;
const MOST_BYTES_EACH: usize = 8 << 20;

/// A container: its group, and of its first process the number and the start, 0 where there is no process namespace.
type Key = (String, i32, u64);

struct Caller {
    container: Key,
    until_ms: u64,
}

/// An open file, and whose.
struct Opened {
    container: Key,
    text: Vec<u8>,
}

struct Server<'a> {
    device: &'a OwnedFd,
    layout: Layout,
    callers: HashMap<(u32, u64), Caller>,
    groups: HashMap<Key, Content>,
    open: BTreeMap<u64, Opened>,
    /// How many of them each container has, and what their texts take.
    held: HashMap<Key, (usize, usize)>,
    next: u64,
    reply: Reply,
}

/// Serves until the file system is unmounted, or `stop` can be read from.
///
/// # Errors
/// When the connection is not one any more, or this host's groups can not be read.
pub fn serve(device: &OwnedFd, stop: &OwnedFd) -> Result<()> {
    let mut server = Server {
        device,
        layout: Layout::detect()?,
        callers: HashMap::new(),
        groups: HashMap::new(),
        open: BTreeMap::new(),
        held: HashMap::new(),
        next: 1,
        reply: Reply::new(),
    };
    let mut buffer = vec![0; fuse::BUFFER];
    loop {
        let next = server.groups.values().filter_map(Content::next_tick_ms).min();
        let wait = next.map(|next| next.saturating_sub(kernel::time::monotonic_ms()));
        let watched = [(server.device.as_fd(), Interest::Read), (stop.as_fd(), Interest::Read)];
        let ready = kernel::event::wait(&watched, wait)?;
        if ready.get(1) == Some(&true) {
            return Ok(());
        }
        let now = kernel::time::monotonic_ms();
        let due = |content: &&mut Content| content.next_tick_ms().is_some_and(|next| next <= now);
        server.groups.values_mut().filter(due).for_each(Content::tick);
        if ready.first() != Some(&true) {
            continue;
        }
        match fuse::receive(server.device, &mut buffer)? {
            Received::Message => server.answer(&buffer)?,
            Received::Nothing => {}
            Received::Gone => return Ok(()),
        }
    }
}

/// When the first process of a container started, and what its clocks say.
#[must_use]
pub fn birth_of(init: i32) -> Birth {
    let ticks = kernel::procfs::start_time(init).unwrap_or(0);
    let own_clock = !kernel::namespace::is_same(init, NamespaceKind::Time).unwrap_or(true);
    let boot_id = kernel::procfs::boot_id().unwrap_or_default();
    let boottime_ns = i64::try_from(ticks.saturating_mul(1_000_000_000 / TICKS)).unwrap_or(i64::MAX);
    Birth { boottime_ns, own_clock, boot_id, init: Some(init) }
}

impl Server<'_> {
    fn answer(&mut self, message: &[u8]) -> Result<()> {
        let Some(request) = fuse::parse(message) else { return Ok(()) };
        match self.reply_to(&request) {
            Ok(true) => self.reply.send(self.device, request.unique),
            Ok(false) => Ok(()),
            Err(errno) => fuse::refuse(self.device, request.unique, errno),
        }
    }

    fn reply_to(&mut self, request: &Request<'_>) -> std::result::Result<bool, Errno> {
        let node = Id(request.node);
        match request.call {
            Call::Init { major, .. } if major < 7 => return Err(Errno::PROTO),
            Call::Init { flags, .. } => self.reply.init(flags, Reading::Direct),
            Call::Lookup(name) => {
                let (id, shape) = self.find(request.pid, node, name).ok_or(Errno::NOENT)?;
                self.reply.entry(&attributes(id, shape), 0, 0);
            }
            Call::Attributes => {
                let shape = self.shape(request.pid, node).ok_or(Errno::NOENT)?;
                self.reply.of_attributes(&attributes(node, shape), 0);
            }
            Call::Open => self.open(request.pid, node)?,
            Call::Read { handle, offset, size } => self.read(request.pid, node, handle, offset, size)?,
            Call::Release(handle) => {
                self.close(handle);
                self.reply.done();
            }
            Call::Link => {
                let mut text = Vec::new();
                let found = self.content(request.pid).is_some_and(|content| content.text(node, &mut text));
                self.reply.part(if found { &text } else { return Err(Errno::NOENT) }, 0, u32::MAX);
            }
            Call::List { offset, size } => self.list(request.pid, node, offset, size)?,
            Call::Figures => self.reply.figures(),
            Call::Forget | Call::Interrupt | Call::Destroy => return Ok(false),
            Call::Change => return Err(Errno::ROFS),
            Call::Directory | Call::Other(_) => return Err(Errno::NOSYS),
        }
        Ok(true)
    }

    fn open(&mut self, pid: u32, node: Id) -> std::result::Result<(), Errno> {
        if self.shape(pid, node) != Some(Shape::File) {
            return Err(Errno::NOENT);
        }
        let container = Self::container(&mut self.callers, pid).ok_or(Errno::NOENT)?;
        let (files, _) = self.held.entry(container.clone()).or_default();
        if *files >= MOST_OPEN_EACH || self.open.len() >= MOST_OPEN {
            return Err(Errno::NFILE);
        }
        *files += 1;
        let handle = self.next;
        self.next += 1;
        self.open.insert(handle, Opened { container, text: Vec::new() });
        self.reply.opened(handle);
        Ok(())
    }

    /// A file that is read from its start again is read anew, as those of the kernel are.
    fn read(&mut self, pid: u32, node: Id, handle: u64, offset: u64, size: u32) -> std::result::Result<(), Errno> {
        let known = self.open.get(&handle).ok_or(Errno::BADF)?;
        if offset > 0 && !known.text.is_empty() {
            self.reply.part(&known.text, offset, size);
            return Ok(());
        }
        let mut text = Vec::new();
        let content = self.content(pid).ok_or(Errno::NOENT)?;
        if !content.text(node, &mut text) {
            return Err(Errno::NOENT);
        }
        self.reply.part(&text, offset, size);
        let Some(opened) = self.open.get_mut(&handle) else { return Err(Errno::BADF) };
        let (_, bytes) = self.held.entry(opened.container.clone()).or_default();
        let now = bytes.saturating_sub(opened.text.len()) + text.len();
        if now > MOST_BYTES_EACH {
            return Err(Errno::NFILE);
        }
        *bytes = now;
        opened.text = text;
        Ok(())
    }

    fn close(&mut self, handle: u64) {
        let Some(Opened { container, text }) = self.open.remove(&handle) else { return };
        if let Some((files, bytes)) = self.held.get_mut(&container) {
            (*files, *bytes) = (files.saturating_sub(1), bytes.saturating_sub(text.len()));
            if *files == 0 {
                self.held.remove(&container);
            }
        }
    }

    fn sys(content: &mut Content) -> Option<Id> {
        content.find(Id(1), b"sys").map(|entry| entry.id)
    }

    fn find(&mut self, pid: u32, parent: Id, name: &[u8]) -> Option<(Id, Shape)> {
        let content = self.content(pid)?;
        let sys = Self::sys(content)?;
        match (parent, name) {
            (DEVICES, b"system") => Some((SYSTEM, Shape::Directory)),
            (DEVICES, _) => None,
            (one, b"devices") if one == sys => Some((DEVICES, Shape::Directory)),
            (one, _) if one == sys => None,
            (SYSTEM, _) => content.find(sys, name).map(|entry| (entry.id, entry.shape)),
            _ => content.find(parent, name).map(|entry| (entry.id, entry.shape)),
        }
    }

    fn shape(&mut self, pid: u32, id: Id) -> Option<Shape> {
        match id {
            DEVICES | SYSTEM => Some(Shape::Directory),
            _ => self.content(pid)?.shape(id),
        }
    }

    fn list(&mut self, pid: u32, id: Id, offset: u64, size: u32) -> std::result::Result<(), Errno> {
        let content = Self::content_of(&mut self.callers, &mut self.groups, &self.layout, pid).ok_or(Errno::NOENT)?;
        let sys = Self::sys(content).ok_or(Errno::NOENT)?;
        let alone = match id {
            DEVICES => Some((SYSTEM, "system")),
            one if one == sys => Some((DEVICES, "devices")),
            _ => None,
        };
        let Some((inner, name)) = alone else {
            let parent = content.parent(id);
            let own = if id == SYSTEM { sys } else { id };
            list(&mut self.reply, content, [own, parent], offset, size);
            return Ok(());
        };
        self.reply.list();
        let entries = [(id, "."), (id, ".."), (inner, name)];
        for (index, (id, name)) in entries.into_iter().enumerate().skip(usize::try_from(offset).unwrap_or(3)) {
            if !self.reply.list_entry(id.0, Kind::Directory, name.as_bytes(), index as u64 + 1, size) {
                break;
            }
        }
        Ok(())
    }

    fn content(&mut self, pid: u32) -> Option<&mut Content> {
        Self::content_of(&mut self.callers, &mut self.groups, &self.layout, pid)
    }

    /// Which container somebody is in.
    fn container(callers: &mut HashMap<(u32, u64), Caller>, pid: u32) -> Option<Key> {
        let number = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        let now = kernel::time::monotonic_ms();
        let key = (pid, kernel::procfs::start_time(number).ok()?);
        let known = callers.get(&key).filter(|caller| caller.until_ms > now).map(|caller| caller.container.clone());
        Some(match known {
            Some(container) => container,
            None => {
                let (group, init) = container_of(number)?;
                let of_init = if init == number { (0, 0) } else { (init, kernel::procfs::start_time(init).ok()?) };
                let container = (group, of_init.0, of_init.1);
                if callers.len() >= MOST_CALLERS {
                    callers.clear();
                }
                callers.insert(key, Caller { container: container.clone(), until_ms: now + CALLER_MS });
                container
            }
        })
    }

    fn content_of<'a>(
        callers: &mut HashMap<(u32, u64), Caller>,
        groups: &'a mut HashMap<Key, Content>,
        layout: &Layout,
        pid: u32,
    ) -> Option<&'a mut Content> {
        let number = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        let container = Self::container(callers, pid)?;
        if !groups.contains_key(&container) && groups.len() >= MOST_GROUPS {
            // Those that have ended; if all live, all begin anew.
            groups.retain(|(group, ..), _| Group::new(layout.clone(), group).exists());
            if groups.len() >= MOST_GROUPS {
                groups.clear();
            }
        }
        Some(groups.entry(container.clone()).or_insert_with(|| {
            let (group, init, _) = container;
            let init = if init == 0 { number } else { init };
            Content::new(Group::new(layout.clone(), &group), birth_of(init))
        }))
    }
}

/// The group of the container that a process is in, and its first process. Where there is no process namespace of its own it is
/// the group that the process itself is in. `None` when it is gone.
#[must_use]
pub fn container_of(pid: i32) -> Option<(String, i32)> {
    let init = kernel::procfs::init_of(pid).filter(|init| *init != 1).unwrap_or(pid);
    let group = kernel::procfs::group_of(init).ok()?;
    // Where systemd runs inside it has moved itself below the container's group.
    let group = group.strip_suffix("/init.scope").unwrap_or(&group);
    Some((group.to_owned(), init))
}

/// Sizes are not told: who reads goes on to the end.
const fn attributes(id: Id, shape: Shape) -> Attributes {
    Attributes { node: id.0, kind: kind(shape), size: 0, changed_ns: 1, owner: (0, 0) }
}
