// SPDX-License-Identifier: Apache-2.0
//! The worker of one container's view: answers the kernel's messages, and system calls that a filter leaves to it.
//!
//! ```text
//! attributes are asked for ──► older than its lifetime? render; another text has another time of change and another size
//! the kernel sees that time ──► drops the page it has, asks for the text, gets the one that was announced
//! read again within the lifetime ──► nobody is asked
//! ```
//!
//! A text that stays the same keeps its time, so that its page stays. What is read all the time lives longer, up to what a
//! person does not notice. A worker holds nothing that the next one does not find in the [`Store`]: it may be killed at any
//! instruction, and who waits for an answer gets it from the next one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};

use kernel::event::Interest;
use kernel::fuse::{self, Attributes, Call, Kind, Reading, Received, Reply, Request};
use kernel::seccomp::{Listener, Waiting};
use kernel::{Errno, Result};

use crate::calls::{self, Answer};
use crate::content::{Content, Id, Shape};
use crate::snapshot::{AGE_MS, Snapshot};
use crate::store::{Known, Store};

/// How long a text is taken for the newest, nanoseconds.
const LIFETIME_NS: u64 = 10_000_000;

/// The same for what is read again and again: within the 50 ms that a changed limit may take to be seen.
const LONG_LIFETIME_NS: u64 = 40_000_000;

/// A text that was announced and is not read yet, or just now, is replaced at this age, nanoseconds: a reader that was told of
/// its size would get another one's text.
const LAST_NS: u64 = 45_000_000;

/// How long a reader may take from the answer to what it has of it, nanoseconds.
const READING_NS: u64 = 3_000_000;

/// Read again within this, nanoseconds,
const AGAIN_NS: u64 = 2 * LONG_LIFETIME_NS;

/// so often in a row, it is one of those.
const HOT: u32 = 8;

/// How long one that should have gone by now holds at the least, nanoseconds.
const SHORT_NS: u64 = 1_000_000;

/// How long a name that can go is taken to be there.
const NAME_NS: u64 = LONG_LIFETIME_NS;

/// The same for names that never go.
const FOREVER_NS: u64 = 3_600_000_000_000;

/// A worker that nobody has asked for so long, milliseconds, ends: the next one is forked when somebody does.
const IDLE_MS: u64 = 1000;

/// The most listeners: one for the container, and one for each program that was executed in it since.
const LISTENERS: usize = 700;

/// How long an answer to a system call may take, milliseconds: its place may be a file that nobody serves.
const GIVING_MS: u64 = 1000;

/// The stack of the thread that gives them, bytes.
const STACK: usize = 64 << 10;

/// The time in which a worker has its share of a processor, milliseconds.
pub(crate) const WINDOW_MS: u64 = 100;

/// Messages that are answered in a row before others have their turn.
const BURST: usize = 64;

/// What a worker works with. All of it belongs to the holder, which it was forked from.
pub struct Tools<'a> {
    /// The connection, where there is FUSE.
    pub device: Option<&'a OwnedFd>,
    /// The files, where there is none.
    pub snapshot: Option<&'a mut Snapshot>,
    /// What outlives a worker.
    pub store: &'a mut Store,
    /// Who owns the files, as the host sees it: the container's root.
    pub owner: (u32, u32),
    /// Where further listeners come from.
    pub control: OwnedFd,
    /// The listeners that there are.
    pub listeners: Vec<OwnedFd>,
    /// When this can be read from it ends. Otherwise it also ends when nobody has asked for a while.
    pub stop: Option<OwnedFd>,
}

/// Why one has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The file system is gone, or its holder is.
    Gone,
    /// Nobody has asked for a while.
    Idle,
}

struct Worker<'a> {
    tools: Tools<'a>,
    content: Content,
    listeners: Vec<Arc<Listener>>,
    giver: Option<Giver>,
    /// The call whose answer is being written, and since when.
    giving: Option<(u64, u64)>,
    budget: Budget,
    reply: Reply,
    text: Vec<u8>,
    /// The message that is being answered.
    message: Vec<u8>,
    /// When somebody asked last ([`kernel::time::monotonic_ms`]).
    asked_ms: u64,
    /// When the files were made last.
    made_ms: u64,
}

/// Serves until the file system is gone, or its holder is, or nobody asks.
///
/// # Errors
/// When the connection is not one any more.
pub fn serve(mut tools: Tools<'_>, content: Content) -> Result<Ended> {
    let listeners = std::mem::take(&mut tools.listeners).into_iter().map(|one| Arc::new(Listener::from(one))).collect();
    let mut worker = Worker {
        tools,
        content,
        listeners,
        giver: None,
        giving: None,
        budget: Budget::default(),
        reply: Reply::new(),
        text: Vec::new(),
        message: Vec::new(),
        asked_ms: kernel::time::monotonic_ms(),
        made_ms: 0,
    };
    match worker.tools.store.counts() {
        Some(counts) => worker.content.count_from(counts),
        None if worker.content.is_born() => worker.tools.store.keep_counts(worker.content.count_from_now()),
        None => {}
    }
    worker.content.go_on(&worker.tools.store.kept());
    // One that ended by itself had not been asked for twice as long.
    worker.tools.store.hold(kernel::time::boottime_ns(), LAST_NS, IDLE_MS * 1_000_000 / 2);
    if let Some(left) = worker.tools.store.unanswered() {
        worker.answer_again(&left)?;
    }
    if let Some(waiting) = worker.tools.store.unanswered_call() {
        worker.answer_call(&waiting)?;
    }
    loop {
        if let Some(ended) = worker.turn()? {
            return Ok(ended);
        }
    }
}

/// What the kernel calls it.
pub(crate) const fn kind(shape: Shape) -> Kind {
    match shape {
        Shape::Directory => Kind::Directory,
        Shape::File => Kind::File,
        Shape::Link => Kind::Link,
    }
}

/// The thread that writes answers to system calls.
struct Giver {
    to: mpsc::Sender<Answer>,
    done: OwnedFd,
}

impl Giver {
    fn start() -> Result<Self> {
        let (to, answers) = mpsc::channel::<Answer>();
        let (done, tell) = kernel::socket::pair()?;
        let work = move || {
            for answer in answers {
                answer.give();
                if kernel::socket::send(&tell, &[b"d"], &[]).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("cella-answer".to_owned()).stack_size(STACK).spawn(work);
        thread.map_err(|_| kernel::Error::new("start a thread", Errno::AGAIN))?;
        Ok(Self { to, done })
    }

    fn give(&self, answer: Answer) -> Result<()> {
        self.to.send(answer).map_err(|_| kernel::Error::new("the thread that answers is gone", Errno::PIPE))
    }

    fn done(&self) -> Result<()> {
        kernel::socket::receive(&self.done, &mut [0; 8]).map(drop)
    }
}

/// What a worker may use of a processor: what it does is its container's doing, and counted by nobody.
#[derive(Debug, Default)]
struct Budget {
    since_ms: u64,
    used_ns: u64,
}

impl Budget {
    /// Waits for the rest of a window when all of it is used.
    fn keep(&mut self, share: u64) {
        let (now, used) = (kernel::time::monotonic_ms(), kernel::time::used_ns());
        let until = self.since_ms + WINDOW_MS;
        if now >= until {
            (self.since_ms, self.used_ns) = (now, used);
        } else if used.saturating_sub(self.used_ns) > share {
            std::thread::sleep(std::time::Duration::from_millis(until - now));
        }
    }
}

/// Adds one to watch; gives where it is.
fn watched_at<'a>(watched: &mut Vec<(BorrowedFd<'a>, Interest)>, one: &'a OwnedFd) -> usize {
    watched.push((one.as_fd(), Interest::Read));
    watched.len() - 1
}

impl Worker<'_> {
    /// Waits for something and does it; tells of the end.
    fn turn(&mut self) -> Result<Option<Ended>> {
        let mut watched: Vec<(BorrowedFd<'_>, Interest)> = vec![(self.tools.control.as_fd(), Interest::Read)];
        // One call after the other.
        let listened = if self.giving.is_none() { self.listeners.as_slice() } else { &[] };
        watched.extend(listened.iter().map(|listener| (listener.as_fd(), Interest::Read)));
        let count = listened.len();
        let giver = self.giver.as_ref().map(|giver| watched_at(&mut watched, &giver.done));
        let stop = self.tools.stop.as_ref().map(|stop| watched_at(&mut watched, stop));
        let device = self.tools.device.map(|device| watched_at(&mut watched, device));
        let now = kernel::time::monotonic_ms();
        let late = self.giving.map(|(_, since)| since + GIVING_MS);
        let idle = self.may_end().then_some(self.asked_ms + IDLE_MS);
        let made = self.tools.snapshot.as_ref().map(|_| self.made_ms + AGE_MS);
        let next = self.content.next_tick_ms().or(idle).into_iter().chain(made).chain(late).min();
        let next = next.map(|next| next.saturating_sub(now));
        let ready = kernel::event::wait(&watched, next)?;
        drop(watched);
        self.budget.keep(self.content.share());
        let now = kernel::time::monotonic_ms();
        if ready.contains(&true) {
            self.asked_ms = now;
        } else if self.content.next_tick_ms().is_none() && idle.is_some_and(|idle| idle <= now) {
            return Ok(Some(Ended::Idle));
        }
        let is_ready = |index: usize| ready.get(index) == Some(&true);
        if self.content.next_tick_ms().is_some_and(|next| next <= now) {
            self.content.tick();
            self.keep();
        }
        if let Some(snapshot) = self.tools.snapshot.as_mut().filter(|_| made.is_some_and(|made| made <= now)) {
            snapshot.refresh(&mut self.content)?;
            self.made_ms = now;
            self.keep();
        }
        if giver.is_some_and(is_ready) {
            self.given()?;
        } else if late.is_some_and(|late| late <= now) {
            // The next worker tries it again, or leaves it to the kernel.
            return Err(kernel::Error::new("answer a system call: its memory does not answer", Errno::TIMEDOUT));
        }
        let called: Vec<bool> = ready.iter().skip(1).take(count).copied().collect();
        self.calls(&called)?;
        // Before any text: it may tell of the first process.
        if is_ready(0) && !self.hear()? {
            return Ok(Some(Ended::Gone));
        }
        if device.is_some_and(is_ready) && !self.messages()? {
            return Ok(Some(Ended::Gone));
        }
        Ok(stop.is_some_and(is_ready).then_some(Ended::Gone))
    }

    /// Until its first process runs the keeper has no time to fork another one.
    const fn may_end(&self) -> bool {
        self.tools.stop.is_none() && self.tools.snapshot.is_none() && self.content.is_born() && self.giving.is_none()
    }

    /// For the next worker.
    fn keep(&mut self) {
        if let Some(words) = self.content.to_keep() {
            self.tools.store.keep(&words);
        }
    }

    fn messages(&mut self) -> Result<bool> {
        let Some(device) = self.tools.device else { return Ok(true) };
        for _ in 0..BURST {
            match fuse::receive(device, self.tools.store.message())? {
                Received::Message => {}
                Received::Nothing => return Ok(true),
                Received::Gone => return Ok(false),
            }
            let mut message = std::mem::take(&mut self.message);
            message.clear();
            message.extend_from_slice(fuse::whole(self.tools.store.message()));
            let answered = self.answer(&message);
            self.message = message;
            answered?;
        }
        Ok(true)
    }

    /// A further listener; the end means that the holder is gone.
    fn hear(&mut self) -> Result<bool> {
        let mut buffer = [0; 16];
        let (length, descriptors) = kernel::socket::receive(&self.tools.control, &mut buffer)?;
        if let Some((b'P', rest)) = buffer.get(..length).and_then(<[u8]>::split_first) {
            self.content.born(rest.try_into().map_or(0, i32::from_le_bytes));
            self.tools.store.keep_counts(self.content.count_from_now());
            // Where systemd makes the group it was not there before.
            self.made_ms = 0;
        }
        let room = LISTENERS.saturating_sub(self.listeners.len());
        self.listeners.extend(descriptors.into_iter().take(room).map(|one| Arc::new(Listener::from(one))));
        Ok(length > 0)
    }

    /// The call of one listener that has one; those with nobody behind them any more are let go.
    fn calls(&mut self, ready: &[bool]) -> Result<()> {
        let mut kept = Vec::with_capacity(self.listeners.len());
        for (index, listener) in std::mem::take(&mut self.listeners).into_iter().enumerate() {
            let is_next = ready.get(index) == Some(&true) && self.giving.is_none();
            if !is_next || self.call(&listener)? {
                kept.push(listener);
            }
        }
        // None is first for ever.
        if kept.len() > 1 {
            kept.rotate_left(1);
        }
        self.listeners = kept;
        Ok(())
    }

    /// Tells whether there can be another one.
    fn call(&mut self, listener: &Arc<Listener>) -> Result<bool> {
        match listener.has_call()? {
            None => return Ok(false),
            Some(false) => {}
            Some(true) => {
                let Some(buffer) = self.tools.store.call() else { return Ok(true) };
                if let Some(waiting) = listener.receive(buffer)? {
                    self.give(listener, &waiting)?;
                }
            }
        }
        Ok(true)
    }

    /// Makes the answer, and has it written.
    fn give(&mut self, listener: &Arc<Listener>, waiting: &Waiting) -> Result<()> {
        let Some(answer) = calls::answer(listener, waiting, &mut self.content)? else {
            self.tools.store.answered_call(waiting.id);
            return Ok(());
        };
        let giver = match &mut self.giver {
            Some(giver) => giver,
            none => none.insert(Giver::start()?),
        };
        self.giving = Some((waiting.id, kernel::time::monotonic_ms()));
        giver.give(answer)
    }

    /// An answer has been written.
    fn given(&mut self) -> Result<()> {
        if let (Some(giver), Some((id, _))) = (&self.giver, self.giving.take()) {
            giver.done()?;
            self.tools.store.answered_call(id);
        }
        Ok(())
    }

    /// Answers a call that another worker has received, by whichever listener it came.
    fn answer_call(&mut self, waiting: &Waiting) -> Result<()> {
        let is_hopeless = self.tools.store.try_again(true);
        match self.listeners.iter().find(|listener| listener.is_waiting(waiting.id)).cloned() {
            Some(listener) if is_hopeless => listener.let_through(waiting.id)?,
            Some(listener) => return self.give(&listener, waiting),
            None => {}
        }
        self.tools.store.answered_call(waiting.id);
        Ok(())
    }

    /// Answers a message that another worker has received.
    fn answer_again(&mut self, message: &[u8]) -> Result<()> {
        if !self.tools.store.try_again(false) {
            return self.answer(message);
        }
        if let (Some(request), Some(device)) = (fuse::parse(message), self.tools.device) {
            fuse::refuse(device, request.unique, Errno::IO)?;
            self.tools.store.answered(request.unique);
        }
        Ok(())
    }

    fn answer(&mut self, message: &[u8]) -> Result<()> {
        let (Some(request), Some(device)) = (fuse::parse(message), self.tools.device) else { return Ok(()) };
        match self.reply_to(&request) {
            Ok(true) => self.reply.send(device, request.unique)?,
            Ok(false) => {}
            Err(errno) => fuse::refuse(device, request.unique, errno)?,
        }
        self.tools.store.answered(request.unique);
        Ok(())
    }

    /// Fills in the reply; tells whether one is wanted.
    fn reply_to(&mut self, request: &Request<'_>) -> std::result::Result<bool, Errno> {
        let node = Id(request.node);
        match request.call {
            Call::Init { major, .. } if major < 7 => return Err(Errno::PROTO),
            Call::Init { flags, .. } => self.reply.init(flags, Reading::Cached),
            Call::Lookup(name) => {
                let entry = self.content.find(node, name).ok_or(Errno::NOENT)?;
                // What a file says is rendered when somebody wants to know its size.
                let (attributes, valid) = match entry.shape {
                    Shape::File => (self.plain(entry.id, entry.shape), 0),
                    _ => self.attributes(entry.id, entry.shape)?,
                };
                let lasts = if entry.shape == Shape::File { FOREVER_NS } else { NAME_NS };
                self.reply.entry(&attributes, lasts, valid);
            }
            Call::Attributes => {
                let shape = self.content.shape(node).ok_or(Errno::NOENT)?;
                let (attributes, valid) = self.attributes(node, shape)?;
                self.reply.of_attributes(&attributes, valid);
            }
            Call::Read { offset, size, .. } => self.read(node, offset, size)?,
            Call::Link => {
                self.link(node)?;
            }
            Call::List { offset, size } => self.list(node, offset, size)?,
            Call::Figures => self.reply.figures(),
            Call::Forget | Call::Interrupt | Call::Destroy => return Ok(false),
            Call::Release(_) => self.reply.done(),
            Call::Change => return Err(Errno::ROFS),
            Call::Open | Call::Directory | Call::Other(_) => return Err(Errno::NOSYS),
        }
        Ok(true)
    }

    const fn plain(&self, id: Id, shape: Shape) -> Attributes {
        Attributes { node: id.0, kind: kind(shape), size: 0, changed_ns: 1, owner: self.tools.owner }
    }

    /// The attributes of a node, and how long they hold. For a file they announce a text.
    fn attributes(&mut self, id: Id, shape: Shape) -> std::result::Result<(Attributes, u64), Errno> {
        let of = self.plain(id, shape);
        match shape {
            Shape::Directory => Ok((of, NAME_NS)),
            Shape::Link => {
                let size = self.link(id)? as u64;
                Ok((Attributes { size, ..of }, NAME_NS))
            }
            Shape::File => {
                let known = self.fresh(id)?;
                let size = known.length as u64;
                let age = kernel::time::boottime_ns().saturating_sub(known.looked_ns);
                let left = lifetime(known.hot).saturating_sub(age).max(SHORT_NS);
                Ok((Attributes { size, changed_ns: known.changed_ns, ..of }, left))
            }
        }
    }

    fn link(&mut self, id: Id) -> std::result::Result<usize, Errno> {
        match self.content.text(id, &mut self.text) {
            true => self.reply.part(&self.text, 0, u32::MAX),
            false => return Err(Errno::NOENT),
        }
        Ok(self.text.len())
    }

    /// The text as it is now, looked at again when its lifetime is over.
    fn fresh(&mut self, id: Id) -> std::result::Result<Known, Errno> {
        let now = kernel::time::boottime_ns();
        let known = self.tools.store.known(id.0);
        if let Some(known) = known
            && holds(&known, now)
        {
            return Ok(known);
        }
        if !self.content.text(id, &mut self.text) {
            return Err(Errno::NOENT);
        }
        self.keep();
        let hot = match known {
            Some(known) if now.saturating_sub(known.looked_ns) < AGAIN_NS => known.hot.saturating_add(1),
            _ => 0,
        };
        if let Some(known) = known
            && self.tools.store.text(&known) == self.text
        {
            return Ok(self.tools.store.looked(&known, now, hot));
        }
        // Two texts never have the same time.
        let changed = kernel::time::now_ns().max(known.map_or(1, |known| known.changed_ns + 1));
        self.tools.store.put(id.0, &self.text, changed, now, hot).ok_or(Errno::NOMEM)
    }

    /// The text that was announced.
    fn read(&mut self, id: Id, offset: u64, size: u32) -> std::result::Result<(), Errno> {
        let known = match self.tools.store.known(id.0) {
            Some(known) => known,
            None if self.content.shape(id) == Some(Shape::File) => self.fresh(id)?,
            None => return Err(Errno::NOENT),
        };
        self.tools.store.read(&known, kernel::time::boottime_ns());
        self.reply.part(self.tools.store.text(&known), offset, size);
        Ok(())
    }

    fn list(&mut self, id: Id, offset: u64, size: u32) -> std::result::Result<(), Errno> {
        if self.content.shape(id) != Some(Shape::Directory) {
            return Err(Errno::NOTDIR);
        }
        let parent = self.content.parent(id);
        list(&mut self.reply, &mut self.content, [id, parent], offset, size);
        Ok(())
    }
}

/// Lists a directory, whose own number and whose parent's are `of`, from an entry on.
pub(crate) fn list(reply: &mut Reply, content: &mut Content, of: [Id; 2], offset: u64, size: u32) {
    reply.list();
    let [own, parent] = of;
    let dots = [(own, Kind::Directory, ".".to_owned()), (parent, Kind::Directory, "..".to_owned())];
    let entries = content.list(own).into_iter().map(|entry| (entry.id, kind(entry.shape), entry.name));
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    for (index, (id, kind, name)) in dots.into_iter().chain(entries).enumerate().skip(from) {
        if !reply.list_entry(id.0, kind, name.as_bytes(), index as u64 + 1, size) {
            return;
        }
    }
}

/// May a text still be announced?
const fn holds(known: &Known, now: u64) -> bool {
    let age = now.saturating_sub(known.looked_ns);
    let is_wanted = known.read_ns == 0 || now.saturating_sub(known.read_ns) < READING_NS;
    age < lifetime(known.hot) || (is_wanted && age < LAST_NS)
}

const fn lifetime(hot: u32) -> u64 {
    if hot < HOT { LIFETIME_NS } else { LONG_LIFETIME_NS }
}
