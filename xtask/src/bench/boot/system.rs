// SPDX-License-Identifier: Apache-2.0
//! Systems that boot: started all at once, watched until each says that it is up, measured, and ended.
//!
//! ```text
//! prepared ──go──► started ──init found──► booting ──its socket is there──► asked ──final state──► up
//! ```

use super::host::Host;
use super::proc;
use crate::Result;
use crate::bench::network::place::said;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at the systems that boot.
const TICK: Duration = Duration::from_millis(2);
/// What a boot may take, and what each further one at the same time adds.
const PATIENCE: Duration = Duration::from_secs(60);
const MORE: Duration = Duration::from_secs(3);
/// From the last one that is up to the look at memory.
const SETTLE: Duration = Duration::from_millis(300);
/// After the end of all: the kernel takes namespaces down behind our back.
const PAUSE: Duration = Duration::from_millis(300);

/// Enters the groups, and waits for the word: none of both is on the clock.
const START: &str = r#"
for group in "$1" "$2"; do mkdir -p "$group"; echo 0 > "$group/cgroup.procs"; done
shift 2; echo ready; read -r go; exec "$@" < /dev/null > said 2>&1
"#;

/// Who boots them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manager {
    Cella,
    /// With its default network.
    Networked,
    Lxc,
    Nspawn,
}

impl Manager {
    pub(super) const ALL: [Self; 4] = [Self::Cella, Self::Lxc, Self::Nspawn, Self::Networked];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cella => "cella launch",
            Self::Networked => "cella, network",
            Self::Lxc => "lxc-start",
            Self::Nspawn => "systemd-nspawn",
        }
    }

    pub(super) fn note(self) -> &'static str {
        match self {
            Self::Cella => "makes its container, ids and layer within the time",
            Self::Networked => "the same, with the default network",
            Self::Lxc => "Debian's configuration; its layer and its ids were mapped and mounted before",
            Self::Nspawn => "not registered; its layer and its ids were mapped and mounted before",
        }
    }

    pub(super) fn is_peer(self) -> bool {
        matches!(self, Self::Lxc | Self::Nspawn)
    }
}

enum State {
    Started,
    Booting,
    Asked(Child),
    Up { after: Duration, said: String },
}

impl State {
    fn dead(began: Instant) -> Self {
        Self::Up { after: began.elapsed(), said: "dead".to_owned() }
    }
}

/// One system.
struct System {
    manager: Manager,
    name: String,
    child: Child,
    go: Option<ChildStdin>,
    /// The process that stays on the host's side.
    keeper: u32,
    init: u32,
    state: State,
}

/// What was seen of systems that booted at once.
pub(super) struct Seen {
    /// Milliseconds until the last was up.
    pub(super) millis: f64,
    /// What they said, and how many of them said `running`.
    pub(super) state: String,
    pub(super) running: usize,
    /// KiB for each one: the manager's processes, the system's, and what control groups count for both.
    pub(super) manager: u64,
    pub(super) processes: u64,
    pub(super) charged: Option<u64>,
    /// Milliseconds of processor time for each one, the manager's and the system's.
    pub(super) processor: Option<u64>,
}

/// Boots so many at once, looks at them and ends them.
pub(super) fn boot(host: &Host, manager: Manager, count: usize) -> Result<Seen> {
    let mut systems = Vec::new();
    let seen = prepare(host, manager, count, &mut systems).and_then(|()| watch(host, &mut systems));
    let mut ended = Ok(());
    for system in &mut systems {
        ended = ended.and(system.end(host));
    }
    std::thread::sleep(PAUSE);
    let seen = seen?;
    ended.map(|()| seen)
}

fn prepare(host: &Host, manager: Manager, count: usize, systems: &mut Vec<System>) -> Result<()> {
    for number in 0..count {
        let name = format!(
            "{}{number}",
            match manager {
                Manager::Cella => "own",
                Manager::Networked => "net",
                Manager::Lxc => "lxc",
                Manager::Nspawn => "spawn",
            }
        );
        systems.push(System::prepare(host, manager, name, number)?);
    }
    Ok(())
}

fn watch(host: &Host, systems: &mut [System]) -> Result<Seen> {
    let began = Instant::now();
    for system in systems.iter_mut() {
        let mut go = system.go.take().ok_or("started twice")?;
        go.write_all(b"\n").map_err(|error| format!("{}: {error}", system.name))?;
    }
    let patience = PATIENCE + MORE * u32::try_from(systems.len()).unwrap_or(u32::MAX);
    loop {
        let mut up = true;
        for system in systems.iter_mut() {
            up &= system.step(host, began)?;
        }
        if up {
            break;
        }
        if began.elapsed() > patience {
            let late = systems.iter().filter(|one| !matches!(one.state, State::Up { .. })).count();
            return Err(format!("{late} of {} not up after {} s", systems.len(), patience.as_secs()));
        }
        std::thread::sleep(TICK);
    }
    std::thread::sleep(SETTLE);
    Ok(look(host, systems))
}

fn look(host: &Host, systems: &[System]) -> Seen {
    let (mut millis, mut said) = (0.0, BTreeMap::new());
    for system in systems {
        if let State::Up { after, said: state } = &system.state {
            millis = f64::max(millis, after.as_secs_f64() * 1e3);
            *said.entry(state.as_str()).or_insert(0) += 1;
        }
    }
    // Those that are no more have no figures.
    let systems: Vec<&System> = systems.iter().filter(|one| proc::exists(one.init)).collect();
    let count = systems.len().max(1) as u64;
    let sums = proc::of_systems();
    let charged: Option<u64> = systems.iter().map(|one| host.charged(&one.name, one.init)).sum();
    let processor: Option<u64> = systems.iter().map(|one| host.processor(&one.name, one.init)).sum();
    Seen {
        millis,
        running: said.get("running").copied().unwrap_or(0),
        state: said.into_iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", "),
        manager: systems.iter().map(|one| proc::of_manager(one.keeper)).sum::<u64>() / count,
        processes: systems.iter().map(|one| proc::of_system(&sums, one.init)).sum::<u64>() / count,
        charged: charged.map(|sum| sum / count),
        processor: processor.map(|sum| sum / count),
    }
}

impl System {
    fn prepare(host: &Host, manager: Manager, name: String, number: usize) -> Result<Self> {
        let inner = command(host, manager, &name, number)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sh", "-ec", START, "sh"]).args(host.groups(&name));
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(host.place.scratch().join(&name));
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let fail = |error| format!("setpriv: {error}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(fail)?;
        let (go, mut ready) = (child.stdin.take(), String::new());
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut ready).map_err(fail)?;
        }
        let keeper = child.id();
        Ok(Self { manager, name, child, go, keeper, init: 0, state: State::Started })
    }

    /// Looks at it; true when it is up.
    fn step(&mut self, host: &Host, began: Instant) -> Result<bool> {
        match &mut self.state {
            State::Started => {
                if self.find(host)? {
                    // An init that has ended already has no number.
                    self.state = if self.init == 0 { State::dead(began) } else { State::Booting };
                }
            }
            State::Booting if !proc::exists(self.init) => self.state = State::dead(began),
            State::Booting => {
                if proc::answers(self.init) {
                    let pid = self.init.to_string();
                    let mut ask = Command::new("nsenter");
                    ask.args(["-t", &pid, "-a", "systemctl", "is-system-running", "--wait"]);
                    ask.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
                    self.state = State::Asked(ask.spawn().map_err(|error| format!("nsenter: {error}"))?);
                }
            }
            State::Asked(child) => {
                if child.try_wait().map_err(|error| format!("nsenter: {error}"))?.is_some() {
                    let (after, mut text) = (began.elapsed(), String::new());
                    if let Some(output) = &mut child.stdout {
                        output.read_to_string(&mut text).map_err(|error| format!("nsenter: {error}"))?;
                    }
                    // Anything else means that it was asked too early.
                    self.state = match text.trim() {
                        _ if !proc::exists(self.init) => State::dead(began),
                        said @ ("running" | "degraded" | "maintenance") => State::Up { after, said: said.to_owned() },
                        _ => State::Booting,
                    };
                }
            }
            State::Up { .. } => return Ok(true),
        }
        Ok(false)
    }

    /// Looks for the init. A peer stays in the foreground; our command ends, and leaves the keeper.
    fn find(&mut self, host: &Host) -> Result<bool> {
        let ended = self.child.try_wait().map_err(|error| format!("{}: {error}", self.name))?;
        match (ended, self.manager.is_peer()) {
            (None, true) => {
                self.init = proc::init_below(self.keeper).unwrap_or(0);
                Ok(self.init != 0)
            }
            (Some(status), false) if status.success() => {
                let text = host.place.cella(&["inspect", &self.name])?;
                let json: serde_json::Value =
                    serde_json::from_str(&text).map_err(|error| format!("inspect: {error}"))?;
                let pid = |name: &str| json.pointer(name)?.as_u64().and_then(|pid| u32::try_from(pid).ok());
                (self.init, self.keeper) = pid("/0/pid").zip(pid("/0/keeper")).unwrap_or_default();
                Ok(true)
            }
            (None, false) => Ok(false),
            (Some(status), _) => {
                let text =
                    std::fs::read_to_string(host.place.scratch().join(&self.name).join("said")).unwrap_or_default();
                Err(format!("{status}: {}", text.lines().last().unwrap_or("says nothing")))
            }
        }
    }

    /// Ends it by the death of its init, and clears its things away.
    fn end(&mut self, host: &Host) -> Result<()> {
        if let State::Asked(child) = &mut self.state {
            drop(child.kill());
            drop(child.wait());
        }
        self.go = None;
        if self.manager.is_peer() {
            let init = if self.init == 0 { proc::init_below(self.keeper).unwrap_or(0) } else { self.init };
            if init != 0 && proc::is_init(init) {
                drop(said(Command::new("kill").args(["-KILL", &init.to_string()]), "kill"));
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(TICK);
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
        if !self.manager.is_peer() {
            host.place.cella(&["rm", "-f", &self.name])?;
        }
        host.clear(&self.name)
    }
}

/// What starts a system, after all that is not on the clock has been done.
fn command(host: &Host, manager: Manager, name: &str, number: usize) -> Result<Command> {
    let image = format!("dir:{}", host.tree.display());
    let launch = ["launch", "--no-wait"];
    match manager {
        Manager::Cella => {
            host.fresh(name)?;
            Ok(host.place.command(&[&launch[..], &["--network", "none", &image, name]].concat()))
        }
        Manager::Networked => {
            host.fresh(name)?;
            Ok(host.place.command(&[&launch[..], &[&image, name]].concat()))
        }
        Manager::Lxc => {
            let id = host.layer(name, number)?;
            let config = format!(
                "lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/userns.conf\n\
                 lxc.rootfs.path = dir:/run/bench/{name}/root\nlxc.uts.name = {name}\nlxc.net.0.type = empty\n\
                 lxc.idmap = u 0 {id} 65536\nlxc.idmap = g 0 {id} 65536\nlxc.apparmor.profile = unconfined\n"
            );
            let path = host.place.scratch().join(name).join("config");
            std::fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
            let config = format!("/run/bench/{name}/config");
            host.within(&["lxc-start", "-F", "-n", name, "-P", "/run/bench", "-f", &config])
        }
        Manager::Nspawn => {
            let id = host.layer(name, number)?;
            let (root, ids) = (format!("/run/bench/{name}/root"), format!("--private-users={id}:65536"));
            let mut words = vec!["systemd-nspawn", "-M", name, "-D", &root, "-b", &ids, "--private-users-ownership=no"];
            words.extend(["--private-network", "--register=no", "--keep-unit", "--link-journal=no"]);
            host.within(&words)
        }
    }
}
