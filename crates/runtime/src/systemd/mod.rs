// SPDX-License-Identifier: Apache-2.0
//! Asks systemd for a unit around a container, over D-Bus: a small client that waits for each answer.

mod bus;
mod properties;
mod read;
mod scope;
mod wire;

use std::io;

pub use bus::{Bus, Manager};
pub use properties::{Property, Value, properties_of};
pub use scope::{Scope, slice_path};

use bus::{Connection, Deadline, PATIENCE};
use read::{Message, Reader};
use wire::{Call, Writer};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// What the bus lets through to us.
const MATCH: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// Why systemd has not done it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked: each place, and what is wrong there.
    #[error("no systemd to ask: {0}")]
    Unreachable(String),
    /// It does not take us for who we say.
    #[error("refused: {0}")]
    Refused(String),
    /// The connection does not work.
    #[error("{0}")]
    Io(io::Error),
    /// The other side has ended the conversation.
    #[error("the connection was closed")]
    Closed,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// What has come is no message.
    #[error("the answer is not of D-Bus")]
    Malformed,
    /// What is asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It said no.
    #[error("{method}: {message} ({name})")]
    Method {
        /// What was asked.
        method: String,
        /// The error's name.
        name: String,
        /// Its text.
        message: String,
    },
    /// The unit did not come up.
    #[error("{unit}: the job ended with {result:?}")]
    Job {
        /// Which unit.
        unit: String,
        /// In systemd's words: `failed`, `canceled`, `timeout`, `dependency`, `skipped`…
        result: String,
    },
}

impl Error {
    /// There is a unit of this name.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.is("UnitExists")
    }

    fn is(&self, wanted: &str) -> bool {
        let Self::Method { name, .. } = self else { return false };
        name.strip_prefix(SYSTEMD).and_then(|rest| rest.strip_prefix('.')) == Some(wanted)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}

/// A unit that systemd has been asked to start.
#[derive(Debug)]
#[must_use = "the unit is there when wait says so"]
pub struct Started {
    connection: Connection,
    unit: String,
    job: String,
    /// Who took the job: only they know how it ends.
    systemd: Option<String>,
}

impl Started {
    /// Waits until the unit is there; its control group's path, from the root of the control groups. After an error
    /// the unit may be there in part: `stop` it.
    ///
    /// # Errors
    /// The job failed, or has not ended in time.
    pub fn wait(mut self, timeout_ms: u64) -> Result<String, Error> {
        let deadline = Deadline::after(timeout_ms);
        let result = loop {
            let signal = self.connection.signal(deadline)?;
            // Anybody on a bus may send us a signal, but none in another's name.
            let trusted = self.connection.is_direct() || signal.sender == self.systemd;
            let fits = signal.interface.as_deref() == Some(MANAGER) && signal.member.as_deref() == Some("JobRemoved");
            if trusted && fits {
                let (job, result) = removed(&signal).ok_or(Error::Malformed)?;
                if job == self.job {
                    break result.to_owned();
                }
            }
        };
        if result != "done" {
            return Err(Error::Job { unit: self.unit, result });
        }
        self.control_group(deadline)
    }

    fn control_group(&mut self, deadline: Deadline) -> Result<String, Error> {
        let kind = if self.unit.ends_with(".slice") { "Slice" } else { "Scope" };
        let mut body = Writer::default();
        body.string(&format!("{SYSTEMD}.{kind}"));
        body.string("ControlGroup");
        let destination = (!self.connection.is_direct()).then_some(SYSTEMD);
        let path = &scope::object_path(&self.unit);
        let interface = "org.freedesktop.DBus.Properties";
        let call = Call { destination, path, interface, member: "Get", signature: "ss", body };
        let reply = self.connection.call(&call, deadline)?;
        let group = string_in_variant(&reply).ok_or(Error::Malformed)?;
        // What comes from elsewhere is joined to a path: it must lead down.
        let sound = group.starts_with('/') && !group.split('/').any(|part| part == "..");
        sound.then(|| group.to_owned()).ok_or(Error::Malformed)
    }
}

/// Of a `JobRemoved`: the job, and how it ended.
fn removed(signal: &Message) -> Option<(&str, &str)> {
    (signal.signature == "uoss").then_some(())?;
    let mut reader = Reader::of(signal);
    let _number = reader.u32()?;
    let job = reader.string()?;
    let _unit = reader.string()?;
    let result = reader.string()?;
    reader.is_empty().then_some((job, result))
}

fn string_in_variant(reply: &Message) -> Option<&str> {
    (reply.signature == "v").then_some(())?;
    let mut reader = Reader::of(reply);
    let string = if reader.signature()? == "s" { reader.string() } else { None }?;
    reader.is_empty().then_some(string)
}

/// A method of the manager.
fn ask(
    connection: &mut Connection,
    member: &str,
    signature: &str,
    body: Writer,
    deadline: Deadline,
) -> Result<Message, Error> {
    let destination = (!connection.is_direct()).then_some(SYSTEMD);
    connection.call(&Call { destination, path: OBJECT, interface: MANAGER, member, signature, body }, deadline)
}

/// Asks for a unit with this process in it (a slice has none), and comes back when systemd has taken the job.
///
/// # Errors
/// systemd cannot be asked, or has refused.
pub fn start(bus: &Bus, scope: &Scope, pid: u32) -> Result<Started, Error> {
    scope::check_unit(&scope.unit).and_then(|()| slice_path(&scope.slice)).map_err(Error::Invalid)?;
    if pid == 0 && !scope.is_slice() {
        return Err(Error::Invalid("process 0 cannot be in a unit".to_owned()));
    }
    let deadline = Deadline::after(PATIENCE);
    let mut connection = Connection::open(bus, deadline)?;
    if !connection.is_direct() {
        connection.bus_call("AddMatch", Some(MATCH), deadline)?;
        ask(&mut connection, "Subscribe", "", Writer::default(), deadline)?;
    }
    let properties = properties_with(scope, pid);
    let attempt = |connection: &mut Connection| {
        let mut body = Writer::default();
        body.string(&scope.unit);
        body.string("replace");
        body.properties(&properties);
        body.array(8, |_no_other_units| {});
        ask(connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body, deadline)
    };
    let reply = match attempt(&mut connection) {
        // Perhaps one that has failed, and of which nothing is left but this.
        Err(error) if error.is("UnitExists") => {
            reset(&mut connection, &scope.unit, deadline)?;
            attempt(&mut connection)?
        }
        reply => reply?,
    };
    let job = if reply.signature == "o" { Reader::of(&reply).string() } else { None };
    let job = job.ok_or(Error::Malformed)?.to_owned();
    Ok(Started { connection, unit: scope.unit.clone(), job, systemd: reply.sender })
}

/// What each unit of ours has, then what is asked for, then who is in it.
fn properties_with(scope: &Scope, pid: u32) -> Vec<Property> {
    let slice = scope.is_slice();
    let mut list = vec![
        Property::new("Description", Value::Str(scope.description.clone())),
        if slice {
            // Where a slice is, its name says.
            Property::new("Wants", Value::StrArray(vec![scope.slice.clone()]))
        } else {
            Property::new("Slice", Value::Str(scope.slice.clone()))
        },
        Property::new("DefaultDependencies", Value::Bool(false)),
        Property::new("CollectMode", Value::Str("inactive-or-failed".to_owned())),
    ];
    for controller in ["MemoryAccounting", "CPUAccounting", "TasksAccounting", "IOAccounting"] {
        list.push(Property::new(controller, Value::Bool(true)));
    }
    list.extend(scope.properties.iter().cloned());
    if !slice {
        list.push(Property::new("Delegate", Value::Bool(true)));
        list.push(Property::new("PIDs", Value::U32Array(vec![pid])));
    }
    list
}

/// Changes properties of a unit until it ends.
///
/// # Errors
/// systemd cannot be asked, or has refused.
pub fn set_properties(bus: &Bus, unit: &str, properties: &[Property]) -> Result<(), Error> {
    scope::check_unit(unit).map_err(Error::Invalid)?;
    let deadline = Deadline::after(PATIENCE);
    let mut connection = Connection::open(bus, deadline)?;
    let mut body = Writer::default();
    body.string(unit);
    body.bool(true); // for as long as it runs
    body.properties(properties);
    ask(&mut connection, "SetUnitProperties", "sba(sv)", body, deadline).map(drop)
}

/// Ends a unit and forgets that it has failed. One that is gone is no error.
///
/// # Errors
/// systemd cannot be asked, or has refused.
pub fn stop(bus: &Bus, unit: &str) -> Result<(), Error> {
    scope::check_unit(unit).map_err(Error::Invalid)?;
    let deadline = Deadline::after(PATIENCE);
    let mut connection = Connection::open(bus, deadline)?;
    let mut body = Writer::default();
    body.string(unit);
    body.string("replace");
    unless_gone(ask(&mut connection, "StopUnit", "ss", body, deadline))?;
    reset(&mut connection, unit, deadline)
}

fn reset(connection: &mut Connection, unit: &str, deadline: Deadline) -> Result<(), Error> {
    let mut body = Writer::default();
    body.string(unit);
    unless_gone(ask(connection, "ResetFailedUnit", "s", body, deadline))
}

fn unless_gone(result: Result<Message, Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is("NoSuchUnit") => Ok(()),
        result => result.map(drop),
    }
}
