// SPDX-License-Identifier: Apache-2.0
//! The manager: all containers of this host, their durable state, and what can be done with them.

mod autostart;
mod boot;
mod change;
mod compose;
mod create;
mod devices;
mod doctor;
mod driver;
mod error;
mod events;
mod exec;
mod ids;
mod info;
mod list;
mod logs;
mod names;
pub mod namespaces;
mod network;
mod networks;
mod plan_for;
mod proc_view;
mod processors;
mod record;
mod remove;
mod request;
mod seed;
mod session;
mod shell;
mod start;
mod stats;
mod stop;
mod store;
mod system;
mod users;
mod view;

use spec::signal::Signal;
use spec::{Definition, Name};

pub use ::network::Request as NetworkRequest;
pub use autostart::AutostartRow;
pub use boot::SystemView;
pub use create::Created;
pub use error::{Doing, Error, Kind, Result};
pub use image::Progress;
pub use networks::{AttachedView, LeaseView, NetworkView, TrafficView};
pub use plan::Plan;
pub use proc_view::{Shown, serve as serve_view};
pub use request::{Attach, Change, EventOptions, Exec, LogOptions, Outcome, Place, Removal, Stop, Terminal};
pub use session::Session;
pub use view::{Event, Finding, Info, Inspection, LogLine, NetworkStats, ProcessRow, StatsRow, Status, Summary};

use store::Store;

/// The manager of one store. Containers are named as they were typed: a name, an id, or a prefix of either that is no
/// other's. It keeps nothing in memory: every call reads what is there.
#[derive(Debug)]
pub struct Engine {
    store: Store,
}

impl Engine {
    /// Opens the store; its directories are made when they are needed.
    ///
    /// # Errors
    /// When this is not root.
    pub fn open(place: Place) -> Result<Self> {
        // What is made for a container has the mode that it is made with, whoever starts it.
        kernel::process::set_umask(0o022);
        Ok(Self { store: Store::open(place)? })
    }

    /// Makes a container; without a name it gets one.
    ///
    /// # Errors
    /// What is invalid, the name that is taken, or the image that can not be had; nothing is left behind.
    pub fn create(&self, name: Option<Name>, definition: Definition, progress: &mut dyn Progress) -> Result<Created> {
        create::create(&self.store, name, definition, progress)
    }

    /// Starts it, and returns when its program has been executed.
    ///
    /// # Errors
    /// The step that failed; nothing runs then.
    pub fn start(&self, container: &str, attach: Attach) -> Result<Session> {
        start::start(&self.store, container, attach)
    }

    /// Connects to it while it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn attach(&self, container: &str, attach: Attach) -> Result<Session> {
        session::attach(&self.store, container, attach)
    }

    /// Asks it to end, ends it after a time, and waits for that; fine when it does not run.
    ///
    /// # Errors
    /// When there is no such container, or its keeper does not answer.
    pub fn stop(&self, container: &str, stop: Stop) -> Result<()> {
        stop::stop(&self.store, container, stop)
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// Those of both.
    pub fn restart(&self, container: &str, stop: Stop) -> Result<()> {
        stop::restart(&self.store, container, stop)
    }

    /// Has the init of a whole system end everything and begin again.
    ///
    /// # Errors
    /// When it does not run, or is no whole system.
    pub fn reboot(&self, container: &str, timeout_ms: Option<u64>) -> Result<()> {
        stop::reboot(&self.store, container, timeout_ms)
    }

    /// Waits until the init of a whole system says that everything is up.
    ///
    /// # Errors
    /// When it ends before, or is not up in time; it goes on then.
    pub fn wait_ready(&self, container: &str, timeout_ms: u64) -> Result<()> {
        boot::wait_ready(&self.store, container, timeout_ms)
    }

    /// What the init of a whole system says.
    ///
    /// # Errors
    /// When it does not run, or can not be asked.
    pub fn system(&self, container: &str) -> Result<SystemView> {
        boot::view(&self.store, container)
    }

    /// The program that logs a user in, or runs a command as a login of theirs, to be given to `exec`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn login(&self, container: &str, user: &str, command: &[String], tty: bool) -> Result<Exec> {
        shell::login(&self.store, container, user, command, tty)
    }

    /// Sends its first process a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, container: &str, signal: Signal) -> Result<()> {
        stop::kill(&self.store, container, signal)
    }

    /// Freezes all its processes.
    ///
    /// # Errors
    /// When it does not run, or is frozen already.
    pub fn pause(&self, container: &str) -> Result<()> {
        stop::freeze(&self.store, container, true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When it is not frozen.
    pub fn resume(&self, container: &str) -> Result<()> {
        stop::freeze(&self.store, container, false)
    }

    /// Removes it with all that belongs to it.
    ///
    /// # Errors
    /// When it runs and force was not asked for, or others use its namespaces' ids.
    pub fn remove(&self, container: &str, removal: Removal) -> Result<()> {
        remove::remove(&self.store, container, removal)
    }

    /// What is started with the host, in that order.
    ///
    /// # Errors
    /// When the store can not be read.
    pub fn autostart(&self) -> Result<Vec<AutostartRow>> {
        autostart::list(&self.store)
    }

    /// Starts all of these; `told` hears how each went.
    ///
    /// # Errors
    /// When the store can not be read.
    pub fn start_with_host(&self, told: &mut dyn FnMut(&Name, Result<()>)) -> Result<()> {
        autostart::start_all(&self.store, told)
    }

    /// Stops everything that runs, in the opposite order; `told` hears how each went.
    ///
    /// # Errors
    /// When the store can not be read.
    pub fn stop_with_host(&self, told: &mut dyn FnMut(&Name, Result<()>)) -> Result<()> {
        autostart::stop_all(&self.store, told)
    }

    /// The devices of the host that a container has.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn devices(&self, container: &str) -> Result<Vec<spec::definition::Device>> {
        devices::list(&self.store, container)
    }

    /// Gives it devices of the host, at once when it runs.
    ///
    /// # Errors
    /// A device that is none, or a place that is taken.
    pub fn add_devices(&self, container: &str, list: &[spec::definition::Device]) -> Result<()> {
        devices::add(&self.store, container, list)
    }

    /// Takes devices back, by their places inside, at once when it runs.
    ///
    /// # Errors
    /// A device that it has not.
    pub fn remove_devices(&self, container: &str, targets: &[String]) -> Result<()> {
        devices::remove(&self.store, container, targets)
    }

    /// What `remove` would remove.
    ///
    /// # Errors
    /// When `remove` would refuse.
    pub fn removal_preview(&self, container: &str, removal: Removal) -> Result<Vec<String>> {
        remove::preview(&self.store, container, removal)
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn rename(&self, container: &str, new: &Name) -> Result<()> {
        change::rename(&self.store, container, new)
    }

    /// Changes limits and policy, at once when it runs; gives warnings.
    ///
    /// # Errors
    /// The limit that is refused.
    pub fn set(&self, container: &str, change: &Change) -> Result<Vec<String>> {
        change::set(&self.store, container, change)
    }

    /// Waits for its end: the exit code.
    ///
    /// # Errors
    /// When it was never started.
    pub fn wait(&self, container: &str) -> Result<i32> {
        stop::wait(&self.store, container)
    }

    /// Its full name.
    ///
    /// # Errors
    /// When there is none, or more than one that it may mean.
    pub fn name_of(&self, container: &str) -> Result<Name> {
        Ok(self.store.find(container)?.name)
    }

    /// All containers, in any state, by name.
    ///
    /// # Errors
    /// When the store can not be read.
    pub fn list(&self) -> Result<Vec<Summary>> {
        list::list(&self.store)
    }

    /// Everything about one.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, container: &str) -> Result<Inspection> {
        list::inspect(&self.store, container)
    }

    /// Its log, line by line, until `sink` says false.
    ///
    /// # Errors
    /// When there is none.
    pub fn logs(&self, container: &str, options: LogOptions, sink: &mut dyn FnMut(&LogLine) -> bool) -> Result<()> {
        logs::logs(&self.store, container, options, sink)
    }

    /// Runs a further program in it, with this process's standard streams.
    ///
    /// # Errors
    /// When it does not run, or the step that failed.
    pub fn exec(&self, container: &str, exec: &Exec, terminal: &Terminal) -> Result<Outcome> {
        exec::exec(&self.store, container, exec, terminal)
    }

    /// Its processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn top(&self, container: &str) -> Result<Vec<ProcessRow>> {
        stats::top(&self.store, container)
    }

    /// What it uses.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stats(&self, container: &str) -> Result<StatsRow> {
        stats::stats(&self.store, container)
    }

    /// What happens and has happened, until `sink` says false.
    ///
    /// # Errors
    /// When the log can not be read.
    pub fn events(&self, options: EventOptions, sink: &mut dyn FnMut(&Event) -> bool) -> Result<()> {
        events::events(&self.store, options, sink)
    }

    /// Makes a network.
    ///
    /// # Errors
    /// The name or the subnet that is taken, or what can not be.
    pub fn network_create(&self, request: NetworkRequest) -> Result<spec::network::Network> {
        networks::create(&self.store, request)
    }

    /// All networks with who is on them.
    ///
    /// # Errors
    /// When one can not be read.
    pub fn networks(&self) -> Result<Vec<NetworkView>> {
        networks::list(&self.store)
    }

    /// One network; the default one is made when it is not there.
    ///
    /// # Errors
    /// When there is none.
    pub fn network(&self, name: &Name) -> Result<NetworkView> {
        networks::inspect(&self.store, name)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// Which container is on it.
    pub fn network_remove(&self, name: &Name) -> Result<()> {
        networks::remove(&self.store, name)
    }

    /// Removes every network that no container is on, or only says which.
    ///
    /// # Errors
    /// The first that can not be removed.
    pub fn network_prune(&self, dry_run: bool) -> Result<Vec<Name>> {
        networks::prune(&self.store, dry_run)
    }

    /// Makes again what somebody has removed of networks in use: bridges, packet filter, helpers. Gives warnings.
    ///
    /// # Errors
    /// What could not be made.
    pub fn network_repair(&self) -> Result<Vec<String>> {
        networks::repair(&self.store)
    }

    /// Attaches a container to a network, at once when it runs.
    ///
    /// # Errors
    /// Why it can not be.
    pub fn network_connect(&self, container: &str, nic: spec::network::Nic) -> Result<()> {
        networks::connect(&self.store, container, nic)
    }

    /// Takes a container off a network, at once when it runs.
    ///
    /// # Errors
    /// When it is not on it.
    pub fn network_disconnect(&self, container: &str, nic: &spec::network::Nic) -> Result<()> {
        networks::disconnect(&self.store, container, nic)
    }

    /// Limits what goes through a container's device on a network.
    ///
    /// # Errors
    /// When it is not on it.
    pub fn network_limit(
        &self,
        container: &str,
        nic: &spec::network::Nic,
        limits: spec::network::Limits,
        share: spec::network::Share,
    ) -> Result<()> {
        networks::limit(&self.store, container, nic, &limits, &share)
    }

    /// Limits what all containers of a network have together at its border; at once when it is up.
    ///
    /// # Errors
    /// A network without a bridge of ours, guarantees that would not fit any more.
    pub fn network_limit_all(
        &self,
        name: &spec::Name,
        limits: spec::network::Limits,
    ) -> Result<spec::network::Network> {
        networks::limit_network(&self.store, name, &limits)
    }

    /// What one container, or each, has sent and received by the month.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn traffic(&self, container: Option<&str>) -> Result<Vec<TrafficView>> {
        networks::traffic(&self.store, container)
    }

    /// The published ports of a container.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn ports(&self, container: &str) -> Result<Vec<spec::network::Publish>> {
        networks::ports(&self.store, container)
    }

    /// The published ports of every container, by its name.
    ///
    /// # Errors
    /// When the store can not be read.
    pub fn all_ports(&self) -> Result<std::collections::BTreeMap<String, Vec<spec::network::Publish>>> {
        networks::all_ports(&self.store)
    }

    /// Publishes further ports, at once when it runs; those with the ports that were chosen.
    ///
    /// # Errors
    /// The port that is taken.
    pub fn publish(&self, container: &str, ports: &[spec::network::Publish]) -> Result<Vec<spec::network::Publish>> {
        networks::publish(&self.store, container, ports)
    }

    /// Takes published ports back; which.
    ///
    /// # Errors
    /// When none of them is published.
    pub fn unpublish(&self, container: &str, ports: &[spec::network::Publish]) -> Result<Vec<spec::network::Publish>> {
        networks::unpublish(&self.store, container, ports)
    }

    /// The steps that would start it now.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn plan(&self, container: &str) -> Result<Plan> {
        plan_for::existing(&self.store, container)
    }

    /// The steps that would start such a container, which is not made.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn plan_of(&self, definition: Definition, progress: &mut dyn Progress) -> Result<Plan> {
        plan_for::imagined(&self.store, definition, progress)
    }

    /// The host and the store.
    ///
    /// # Errors
    /// When they can not be read.
    pub fn info(&self) -> Result<Info> {
        info::info(&self.store)
    }

    /// What this host can and can not do, and what is left over; clears that away when told to.
    #[must_use]
    pub fn doctor(&self, repair: bool) -> Vec<Finding> {
        doctor::doctor(&self.store, repair)
    }
}
