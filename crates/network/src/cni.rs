// SPDX-License-Identifier: Apache-2.0
//! Networks that CNI plugins make: programs of others, one after the other, as the specification has it.
//!
//! Source: CNI specification 1.0.0, sections 1 (configuration), 2 (how plugins are run) and 5 (results).

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use spec::network::{Attach, Limits, Protocol, Publish};

use crate::attachment::{Attachment, Owner};
use crate::error::{Doing, Error, Kind, Result};
use crate::live::Live;
use crate::place::Networks;
use crate::ports::{self, Kept};
use crate::wire::{self, Wired};

/// Where lists of plugins are.
const LISTS: &str = "/etc/cni/net.d";

/// Where plugins are: Debian's, and that of everybody else.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// For the programs that plugins start themselves.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was added: all that is needed to take it away again, whatever has become of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The list as it was then.
    list: Value,
    /// What plugins are told besides (`runtimeConfig`), by capability.
    told: Map<String, Value>,
    /// What the last plugin has said.
    result: Value,
}

/// The list of this name: `NAME.conflist`, or whichever says that this is its name.
///
/// # Errors
/// When there is none, or it can not be read.
pub fn find(name: &str) -> Result<Value> {
    let own = Path::new(LISTS).join(format!("{name}.conflist"));
    if own.exists() {
        return read(&own);
    }
    let files = if Path::new(LISTS).exists() { kernel::file::names(Path::new(LISTS))? } else { Vec::new() };
    let lists = files.iter().filter(|file| file.ends_with(".conflist")).map(|file| read(&Path::new(LISTS).join(file)));
    let mut lists = lists.filter_map(Result::ok);
    lists.find(|list| list["name"] == name).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no CNI network {name:?}"))
            .hint(format!("it would be {}", own.display()))
    })
}

fn read(path: &Path) -> Result<Value> {
    let list: Value = crate::place::read(path)?.unwrap_or_default();
    let plugins = list["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known = plugins.iter().all(|one| one["type"].as_str().is_some_and(|kind| plugin(kind).is_ok()));
    match plugins.is_empty() || !known {
        false => Ok(list),
        true => {
            let error = Error::new(
                Kind::Invalid,
                format!("{}: it has no plugins, or some that are not installed", path.display()),
            );
            Err(error.hint("plugins are in /usr/lib/cni: apt install containernetworking-plugins"))
        }
    }
}

/// The program of a plugin.
fn plugin(kind: &str) -> Result<PathBuf> {
    let plain = !kind.is_empty() && !kind.contains('/') && !kind.starts_with('.');
    let mut paths = PLUGINS.iter().map(|directory| Path::new(directory).join(kind));
    let missing = || Error::new(Kind::Invalid, format!("there is no CNI plugin {kind:?}"));
    paths.find(|path| plain && path.exists()).ok_or_else(missing)
}

/// One plugin's run.
struct Call<'a> {
    verb: &'a str,
    container: &'a str,
    interface: &'a str,
    namespace: Option<&'a OwnedFd>,
}

impl Call<'_> {
    /// Runs one plugin of a list; what it says.
    fn run(&self, added: &Added, conf: &Value) -> Result<Value> {
        let kind = conf["type"].as_str().unwrap_or_default();
        let input =
            serde_json::to_vec(&request(added, conf)).map_err(|error| Error::new(Kind::Own, error.to_string()))?;
        let namespace = self.namespace.map(|fd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()));
        let mut command = Command::new(plugin(kind)?);
        command.env_clear().env("PATH", PATH).env("CNI_PATH", PLUGINS.join(":")).env("CNI_COMMAND", self.verb);
        command.env("CNI_CONTAINERID", self.container).env("CNI_IFNAME", self.interface);
        command.env("CNI_NETNS", namespace.unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let own = |error: std::io::Error| Error::new(Kind::Own, format!("run CNI plugin {kind}: {error}"));
        let mut child = command.spawn().map_err(own)?;
        // It reads all of it before it says anything; one that does not read tells why by how it ends.
        child.stdin.take().map(|mut stdin| stdin.write_all(&input).ok());
        let output = child.wait_with_output().map_err(own)?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() {
            return Ok(said);
        }
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let reason = match (said["msg"].as_str(), said["details"].as_str()) {
            (Some(message), Some(details)) if !details.is_empty() => format!("{message}: {details}"),
            (Some(message), _) => message.to_owned(),
            (None, _) if told.is_empty() => output.status.to_string(),
            (None, _) => told,
        };
        Err(Error::new(Kind::Own, format!("CNI plugin {kind}: {}", reason.replace('\n', " "))))
    }
}

/// What a plugin reads: its part of the list, with what all have.
fn request(added: &Added, conf: &Value) -> Value {
    let mut conf = conf.clone();
    let told: Map<String, Value> =
        added.told.iter().filter(|(key, _)| can(&conf, key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    conf["cniVersion"] = added.list["cniVersion"].clone();
    conf["name"] = added.list["name"].clone();
    if !added.result.is_null() {
        conf["prevResult"] = added.result.clone();
    }
    if !told.is_empty() {
        conf["runtimeConfig"] = Value::Object(told);
    }
    conf
}

fn can(conf: &Value, capability: &str) -> bool {
    conf["capabilities"][capability] == true
}

impl Added {
    fn plugins(&self) -> &[Value] {
        self.list["plugins"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Runs all plugins, each with what the one before has said.
    fn add(&mut self, call: &Call<'_>) -> Result<()> {
        for conf in self.plugins().to_vec() {
            self.result = call.run(self, &conf)?;
        }
        Ok(())
    }

    /// The first address of each family, and the link's inside.
    fn found(&self, live: &mut Live) {
        let ips = self.result["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
        for ip in ips.iter().filter_map(|one| one["address"].as_str()?.split('/').next()?.parse().ok()) {
            match ip {
                IpAddr::V4(ip) => live.endpoint.v4 = live.endpoint.v4.or(Some(ip)),
                IpAddr::V6(ip) => live.endpoint.v6 = live.endpoint.v6.or(Some(ip)),
            }
        }
        let interfaces = self.result["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
        let inside = interfaces.iter().find(|one| one["name"] == live.interface.as_str() && one["sandbox"] != "");
        if let Some(mac) = inside.and_then(|one| one["mac"].as_str()?.parse().ok()) {
            live.endpoint.mac = mac;
        }
    }
}

/// What plugins with the capability are told of a device and its ports.
fn told(one: &Attachment, ports: &[Publish]) -> Map<String, Value> {
    let mut told = Map::new();
    if let Some(mac) = one.nic.mac {
        told.insert("mac".to_owned(), json!(mac.to_string()));
    }
    if !one.nic.aliases.is_empty() {
        told.insert("aliases".to_owned(), json!({ one.place.trim_start_matches("@cni-"): one.nic.aliases }));
    }
    let port = |port: &Publish| {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let host = port.address.map(|ip| ip.to_string()).unwrap_or_default();
        json!({ "hostPort": port.host, "containerPort": port.container, "protocol": protocol, "hostIP": host })
    };
    if !ports.is_empty() {
        told.insert("portMappings".to_owned(), ports.iter().map(port).collect());
    }
    told
}

/// Can what was asked for be done by these plugins?
fn check(list: &Value, told: &Map<String, Value>, limits: &Limits) -> Result<()> {
    if limits.effective().is_some() {
        let message = "what CNI plugins make is limited by the plugin bandwidth, not by us";
        return Err(Error::new(Kind::Invalid, message).hint("add it to the list of plugins"));
    }
    let plugins = list["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    match told.keys().find(|key| *key != "aliases" && !plugins.iter().any(|conf| can(conf, key))) {
        Some(key) => Err(Error::new(Kind::Invalid, format!("no plugin of this CNI network has the capability {key}"))),
        None => Ok(()),
    }
}

impl Networks {
    /// Attaches a device by plugins. They may take their time: the lock is not held meanwhile.
    pub(crate) fn add_cni(
        &self,
        owner: &Owner,
        one: &Attachment,
        publishes: &[Publish],
        limits: &[Limits; 2],
        wired: &mut Wired,
    ) -> Result<()> {
        let Attach::Cni(name) = &one.nic.attach else { return Ok(()) };
        let list = find(name)?;
        let lock = self.lock()?;
        let (settled, kept) = match publishes {
            [] => (Vec::new(), Kept::default()),
            _ => ports::take(publishes, &self.all_endpoints()?, [true, true])?,
        };
        let told = told(one, &settled);
        limits.iter().try_for_each(|limits| check(&list, &told, limits))?;
        let mut live = wire::live(owner, one, settled, limits);
        let mut added = Added { list, told, result: Value::Null };
        // What one of them has done before another fails is taken away by this, too.
        live.cni = Some(added.clone());
        self.record(&live)?;
        drop(lock);
        let namespace = Some(wired.namespace());
        let call = Call { verb: "ADD", container: &owner.id, interface: &one.interface, namespace };
        added.add(&call).doing(|| format!("add CNI network {name}"))?;
        added.found(&mut live);
        live.cni = Some(added);
        wired.kept.add(kept);
        let _lock = self.lock()?;
        self.record(&live)
    }

    /// Takes away what plugins have made: the last first, all of them whatever one says.
    pub(crate) fn delete_cni(live: &Live, namespace: Option<&OwnedFd>, note: &mut dyn FnMut(Result<()>)) {
        let Some(added) = &live.cni else { return };
        let call = Call { verb: "DEL", container: &live.endpoint.container, interface: &live.interface, namespace };
        for conf in added.plugins().iter().rev() {
            note(call.run(added, conf).map(drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_reads_its_part_with_what_all_have() {
        let list = json!({ "cniVersion": "1.0.0", "name": "lan", "plugins": [] });
        let told = json!({ "mac": "02:00:00:00:00:01", "portMappings": [] }).as_object().cloned().unwrap();
        let mut added = Added { list, told, result: Value::Null };
        let conf = json!({ "type": "bridge", "capabilities": { "mac": true } });
        let first = request(&added, &conf);
        assert_eq!((&first["name"], &first["cniVersion"]), (&json!("lan"), &json!("1.0.0")));
        assert_eq!(first["runtimeConfig"], json!({ "mac": "02:00:00:00:00:01" }));
        assert!(first.get("prevResult").is_none());
        added.result = json!({ "ips": [] });
        assert_eq!(request(&added, &conf)["prevResult"], json!({ "ips": [] }));
    }

    #[test]
    fn a_plugin_is_a_plain_name() {
        for bad in ["", "../../bin/sh", "/bin/sh", ".", "..", "a/b"] {
            assert!(plugin(bad).is_err(), "{bad}");
        }
    }
}
