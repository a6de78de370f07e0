// SPDX-License-Identifier: Apache-2.0
//! From flags to a definition: parsing only; files named by flags are read here and nowhere else.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::ArgMatches;
use engine::{Doing, Error, Kind, Result, Terminal};
use spec::definition::{Definition, Dns, Filter, Limits, Namespaces, Network, Restart, Security, parse_time_offset};
use spec::limits::{AUTO, IoKind, IoRate, parse_hugetlb};
use spec::mount::Mount;
use spec::network::{Attach, Nic, Publish, Rate, Share};
use spec::reference::Reference;
use spec::signal::Signal;
use spec::size::{check_cpu_list, parse_bytes, parse_cpus};
use spec::system::{Autostart, Credential, System};

/// The value of a flag; none for a flag that this verb does not have.
pub(crate) fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

/// Was the flag given? A verb that does not have it says no.
fn given(matches: &ArgMatches, name: &str) -> bool {
    matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
}

/// The values of a flag that can be given again, or of a list of words.
pub(crate) fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.try_get_many::<String>(name).ok().flatten().into_iter().flatten().cloned().collect()
}

/// The parsed value of a flag.
pub(crate) fn parsed<T>(matches: &ArgMatches, name: &str) -> Result<Option<T>>
where
    T: FromStr,
    Error: From<T::Err>,
{
    text(matches, name).map(|text| text.parse()).transpose().map_err(Error::from)
}

pub(crate) fn parsed_list<T>(matches: &ArgMatches, name: &str) -> Result<Vec<T>>
where
    T: FromStr,
    Error: From<T::Err>,
{
    texts(matches, name).iter().map(|text| Ok(text.parse()?)).collect()
}

fn refuse(what: &str, text: &str, reason: &str) -> Error {
    Error::new(Kind::Invalid, format!("invalid {what} {text:?}: {reason}"))
}

/// A whole number within bounds.
pub(crate) fn number(matches: &ArgMatches, name: &str, lowest: i64, highest: i64) -> Result<Option<i64>> {
    let Some(text) = text(matches, name) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) if (lowest..=highest).contains(&number) => Ok(Some(number)),
        _ => Err(refuse(name, &text, &format!("write a number from {lowest} to {highest}"))),
    }
}

/// Seconds as milliseconds.
pub(crate) fn seconds(matches: &ArgMatches, name: &str) -> Result<Option<u64>> {
    // -1 is docker's "without end".
    let seconds = number(matches, name, -1, 1_000_000_000)?;
    Ok(seconds.map(|seconds| u64::try_from(seconds).map_or(u64::MAX / 2, |seconds| seconds * 1000)))
}

/// `KEY=VALUE`, or `KEY` alone.
pub(crate) fn pairs(matches: &ArgMatches, name: &'static str) -> Result<BTreeMap<String, String>> {
    let pair = |text: String| {
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        if key.is_empty() {
            return Err(refuse(name, &text, "it has no key").hint("write KEY=VALUE"));
        }
        Ok((key.to_owned(), value.to_owned()))
    };
    texts(matches, name).into_iter().map(pair).collect()
}

/// The definition that the flags of `run` and `create` describe.
pub(crate) fn definition(matches: &ArgMatches) -> Result<Definition> {
    // `launch` has an image and no command: it is always a whole system.
    let (mut words, launched) = (texts(matches, "words"), text(matches, "image"));
    words.extend(launched.clone());
    let command = words.split_off(words.len().min(1));
    let mut definition = Definition::new(image(&words.pop().unwrap_or_default())?);
    definition.command = command;
    if definition.command.first().is_some_and(|word| word == "--") {
        definition.command.remove(0);
    }
    definition.entrypoint =
        text(matches, "entrypoint").map(|word| if word.is_empty() { Vec::new() } else { vec![word] });
    definition.env = environment(matches)?;
    definition.workdir = text(matches, "workdir");
    definition.user = text(matches, "user");
    definition.hostname = text(matches, "hostname");
    definition.domainname = text(matches, "domainname");
    definition.interactive = given(matches, "interactive");
    definition.tty = given(matches, "tty");
    definition.init = given(matches, "init");
    definition.read_only = given(matches, "read-only");
    definition.remove = given(matches, "rm");
    definition.mounts = mounts(matches)?;
    definition.labels = pairs(matches, "label")?;
    definition.annotations = pairs(matches, "annotation")?;
    definition.security = security(matches)?;
    definition.devices = parsed_list(matches, "device")?;
    definition.limits = limits(matches)?;
    definition.ulimits = parsed_list(matches, "ulimit")?;
    definition.sysctls = pairs(matches, "sysctl")?;
    definition.shm_size = text(matches, "shm-size").map(|text| parse_bytes("shm size", &text)).transpose()?;
    definition.stop_signal = parsed::<Signal>(matches, "stop-signal")?;
    definition.stop_timeout_ms = seconds(matches, "stop-timeout")?;
    definition.restart = parsed(matches, "restart")?.unwrap_or_default();
    definition.namespaces = namespaces(matches)?;
    network(matches, &mut definition)?;
    for offset in texts(matches, "time-offset") {
        let (clock, nanoseconds) = parse_time_offset(&offset)?;
        definition.time_offsets.insert(clock, nanoseconds);
    }
    definition.oom_score_adj =
        number(matches, "oom-score-adj", -1000, 1000)?.and_then(|score| i32::try_from(score).ok());
    definition.log_max_size = text(matches, "log-max-size").map(|text| log_size(&text)).transpose()?;
    definition.system = system(matches, launched.is_some())?;
    let said = texts(matches, "security-opt").iter().any(|option| option.starts_with("no-new-privileges"));
    if definition.system.is_some() && !said {
        // sudo and su are a part of what a system is.
        definition.security.no_new_privileges = false;
    }
    definition.autostart = autostart(matches)?;
    definition.proc_view = parsed(matches, "proc-view")?.unwrap_or_default();
    definition.cgroup_driver = parsed(matches, "cgroup-driver")?.unwrap_or_default();
    if definition.remove && definition.restart != Restart::No {
        let message = "--rm and --restart can not be used together: one removes at the end, the other starts again";
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(definition)
}

/// What is said of a whole system, if it is one.
fn system(matches: &ArgMatches, launched: bool) -> Result<Option<System>> {
    let words = texts(matches, "set-credential");
    let files = texts(matches, "load-credential");
    let nesting = given(matches, "nesting");
    if !launched && !given(matches, "system") {
        let alone =
            [("--nesting", nesting), ("--set-credential", !words.is_empty()), ("--load-credential", !files.is_empty())];
        return match alone.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                Err(Error::new(Kind::Invalid, format!("{flag} is for a system container")).hint("add --system"))
            }
            None => Ok(None),
        };
    }
    let mut system = System { nesting, ..System::default() };
    for text in words {
        let (name, value) = Credential::parse_text(&text)?;
        system.credentials.insert(name, value);
    }
    for text in files {
        let (name, path) = text.split_once(':').unwrap_or((&text, ""));
        let (name, value) = Credential::parse_file(&format!("{name}:{}", absolute(path)?))?;
        system.credentials.insert(name, value);
    }
    Ok(Some(system))
}

/// Whether, and in which order, it is started with the host.
pub(crate) fn autostart(matches: &ArgMatches) -> Result<Option<Autostart>> {
    if !given(matches, "autostart") {
        return Ok(None);
    }
    let order = number(matches, "order", -1_000_000, 1_000_000)?.and_then(|order| i32::try_from(order).ok());
    let delay_ms = number(matches, "delay", 0, 86_400)?.and_then(|seconds| u64::try_from(seconds * 1000).ok());
    Ok(Some(Autostart { order: order.unwrap_or(0), delay_ms: delay_ms.unwrap_or(0) }))
}

fn log_size(text: &str) -> Result<u64> {
    match parse_bytes("log size", text)? {
        size @ 4096.. => Ok(size),
        _ => Err(refuse("log size", text, "it must be at least 4K")),
    }
}

/// The image, with a relative path completed.
fn image(text: &str) -> Result<Reference> {
    let complete = match text.split_once(':') {
        Some((transport @ ("dir" | "tar" | "oci"), path)) if !path.starts_with('/') && !path.is_empty() => {
            format!("{transport}:{}", absolute(path)?)
        }
        _ => text.to_owned(),
    };
    Ok(complete.parse()?)
}

fn absolute(path: &str) -> Result<String> {
    let complete = std::path::absolute(path).map_err(|error| refuse("path", path, &error.to_string()))?;
    complete.into_os_string().into_string().map_err(|_| refuse("path", path, "it is not UTF-8"))
}

/// Files first, then single ones, as docker has it.
pub(crate) fn environment(matches: &ArgMatches) -> Result<Vec<(String, String)>> {
    let mut list = Vec::new();
    for path in texts(matches, "env-file") {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::new(Kind::Invalid, format!("cannot read {path}: {error}")))?;
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            list.extend(variable(line)?);
        }
    }
    for text in texts(matches, "env") {
        list.extend(variable(&text)?);
    }
    Ok(list)
}

fn variable(text: &str) -> Result<Option<(String, String)>> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, std::env::var(text).ok()),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(refuse("variable", text, "it has no name").hint("write NAME=VALUE"));
    }
    Ok(value.map(|value| (name.to_owned(), value)))
}

fn mounts(matches: &ArgMatches) -> Result<Vec<Mount>> {
    let mut list = Vec::new();
    for text in texts(matches, "volume") {
        let complete = match text.split_once(':') {
            Some((source, rest))
                if source.starts_with("./") || source.starts_with("../") || source == "." || source == ".." =>
            {
                format!("{}:{rest}", absolute(source)?)
            }
            _ => text,
        };
        list.push(Mount::parse_volume(&complete)?);
    }
    for text in texts(matches, "mount") {
        list.push(Mount::parse_long(&text)?);
    }
    for text in texts(matches, "tmpfs") {
        list.push(Mount::parse_tmpfs(&text)?);
    }
    Ok(list)
}

fn security(matches: &ArgMatches) -> Result<Security> {
    let capabilities = |name: &str| {
        let full = |name: String| match name.to_ascii_uppercase() {
            all if all == "ALL" => all,
            full if full.starts_with("CAP_") => full,
            short => format!("CAP_{short}"),
        };
        texts(matches, name).iter().flat_map(|text| text.split(',')).map(str::to_owned).map(full).collect()
    };
    let mut security = Security {
        privileged: given(matches, "privileged"),
        cap_add: capabilities("cap-add"),
        cap_drop: capabilities("cap-drop"),
        ..Security::default()
    };
    for option in texts(matches, "security-opt") {
        security_option(&mut security, &option)?;
    }
    Ok(security)
}

fn security_option(security: &mut Security, option: &str) -> Result<()> {
    let (key, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
    match (key, value) {
        ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
        ("no-new-privileges", "false") => security.no_new_privileges = false,
        ("seccomp", "unconfined") => security.seccomp = Filter::Unconfined,
        ("seccomp", "default" | "builtin") => security.seccomp = Filter::Default,
        ("seccomp", path) if !path.is_empty() => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::new(Kind::Invalid, format!("cannot read seccomp profile {path}: {error}")))?;
            let profile =
                serde_json::from_str(&text).map_err(|error| refuse("seccomp profile", path, &error.to_string()))?;
            security.seccomp = Filter::Profile(Box::new(profile));
        }
        ("apparmor", "unconfined") => security.apparmor = None,
        ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
        ("label", "disable") => security.selinux = None,
        ("label", label) if !label.is_empty() => security.selinux = Some(label.to_owned()),
        ("systempaths", "unconfined") | ("unmask", "ALL" | "all") => security.unmask = true,
        _ => {
            return Err(refuse("security option", option, "unknown").hint(
                "write no-new-privileges[=false], seccomp=FILE|unconfined, apparmor=PROFILE, label=LABEL or systempaths=unconfined",
            ));
        }
    }
    Ok(())
}

/// `-1` is no limit.
fn limit(what: &'static str, text: &str) -> Result<u64> {
    Ok(if text == "-1" || text == "unlimited" { u64::MAX } else { parse_bytes(what, text)? })
}

pub(crate) fn limits(matches: &ArgMatches) -> Result<Limits> {
    let size = |name: &str, what| text(matches, name).map(|text| limit(what, &text)).transpose();
    let pids = number(matches, "pids-limit", -1, 4_194_304)?;
    let limits = Limits {
        memory: size("memory", "memory size")?,
        memory_swap: size("memory-swap", "memory and swap size")?,
        memory_reservation: size("memory-reservation", "memory reservation")?,
        milli_cpus: text(matches, "cpus").map(|text| parse_cpus(&text)).transpose()?,
        cpu_shares: number(matches, "cpu-shares", 2, 262_144)?.and_then(|shares| u64::try_from(shares).ok()),
        cpuset_cpus: text(matches, "cpuset-cpus"),
        cpuset_mems: text(matches, "cpuset-mems"),
        // 0 is docker's other word for no limit.
        pids: pids.map(|pids| u64::try_from(pids).ok().filter(|pids| *pids > 0).unwrap_or(u64::MAX)),
        blkio_weight: number(matches, "blkio-weight", 10, 1000)?.and_then(|weight| u16::try_from(weight).ok()),
        io: rates(matches)?,
        hugetlb: texts(matches, "hugetlb")
            .iter()
            .map(|text| parse_hugetlb(text))
            .collect::<std::result::Result<_, _>>()?,
        files: pairs(matches, "cgroup-conf")?,
    };
    for list in limits.cpuset_mems.iter() {
        check_cpu_list("list of memory nodes", list)?;
    }
    if let Some(list) = limits.cpuset_cpus.as_ref().filter(|list| *list != AUTO) {
        check_cpu_list("processor list", list)?;
    }
    Ok(limits)
}

/// Rates of block devices.
fn rates(matches: &ArgMatches) -> Result<Vec<IoRate>> {
    let kinds = [
        ("device-read-bps", IoKind::ReadBps),
        ("device-write-bps", IoKind::WriteBps),
        ("device-read-iops", IoKind::ReadIops),
        ("device-write-iops", IoKind::WriteIops),
    ];
    let mut list = Vec::new();
    for (name, kind) in kinds {
        for text in texts(matches, name) {
            list.push(IoRate::parse(kind, &text)?);
        }
    }
    Ok(list)
}

fn namespaces(matches: &ArgMatches) -> Result<Namespaces> {
    Ok(Namespaces {
        user: parsed(matches, "userns")?.unwrap_or_default(),
        pid: parsed(matches, "pid")?.unwrap_or_default(),
        ipc: parsed(matches, "ipc")?.unwrap_or_default(),
        uts: parsed(matches, "uts")?.unwrap_or_default(),
        network: Network::default(),
        cgroup: parsed(matches, "cgroupns")?.unwrap_or_default(),
    })
}

/// Networks, ports and names.
fn network(matches: &ArgMatches, definition: &mut Definition) -> Result<()> {
    let words = texts(matches, "network");
    for word in &words {
        let mode = word.split_once(':').map_or(word.as_str(), |(mode, _)| mode);
        match (mode, word.as_str()) {
            ("none" | "host" | "container" | "ns", _) | (_, "private") => {
                if words.len() > 1 {
                    let message = format!("--network {word} can not be used with another --network");
                    return Err(Error::new(Kind::Invalid, message));
                }
                definition.namespaces.network = word.parse()?;
            }
            // Docker's words for the default network.
            (_, "bridge" | "default") => definition.nics.push(Nic::on(Attach::Network(None))),
            _ => definition.nics.push(word.parse()?),
        }
    }
    let mut first = Nic::on(Attach::Network(None));
    nic_options(matches, &mut first)?;
    first.aliases = texts(matches, "network-alias");
    for alias in &first.aliases {
        spec::network::check_domain(alias)?;
    }
    merge(&mut definition.nics, first)?;
    for text in texts(matches, "publish") {
        definition.ports.extend(Publish::parse(&text)?);
    }
    definition.publish_all = given(matches, "publish-all");
    definition.bandwidth = bandwidth(matches, "net-")?;
    definition.net_quota = quota(matches)?.filter(|quota| *quota != u64::MAX);
    definition.dns = Dns {
        servers: addresses(&texts(matches, "dns"))?,
        search: texts(matches, "dns-search"),
        options: texts(matches, "dns-option"),
    };
    for text in texts(matches, "add-host") {
        let pair = text.split_once(':').or_else(|| text.split_once('='));
        let pair =
            pair.and_then(|(name, address)| Some((name.to_owned(), address.trim_matches(['[', ']']).parse().ok()?)));
        definition.hosts.push(pair.ok_or_else(|| refuse("host", &text, "write NAME:ADDRESS"))?);
    }
    Ok(())
}

/// What is said of the first device by flags of their own, as docker has them.
fn merge(nics: &mut Vec<Nic>, said: Nic) -> Result<()> {
    if said == Nic::on(Attach::Network(None)) {
        return Ok(());
    }
    if nics.is_empty() {
        nics.push(said);
        return Ok(());
    }
    let Some(first) = nics.first_mut() else { return Ok(()) };
    let twice = (first.ip.is_some() && said.ip.is_some())
        || (first.ip6.is_some() && said.ip6.is_some())
        || (first.mac.is_some() && said.mac.is_some());
    if twice {
        return Err(Error::new(Kind::Invalid, "an address of the first device is said twice"));
    }
    first.ip = first.ip.or(said.ip);
    first.ip6 = first.ip6.or(said.ip6);
    first.mac = first.mac.or(said.mac);
    first.mtu = first.mtu.or(said.mtu);
    first.aliases.extend(said.aliases);
    Ok(())
}

/// The options of one device; those that this verb does not have are left alone.
pub(crate) fn nic_options(matches: &ArgMatches, nic: &mut Nic) -> Result<()> {
    let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let all = |name: &str| matches.try_get_many::<String>(name).ok().flatten().into_iter().flatten().cloned();
    if let Some(text) = given("ip") {
        nic.ip = Some(text.parse().map_err(|_| refuse("IPv4 address", &text, "it is none"))?);
    }
    if let Some(text) = given("ip6") {
        nic.ip6 = Some(text.parse().map_err(|_| refuse("IPv6 address", &text, "it is none"))?);
    }
    if let Some(text) = given("mac-address") {
        let mac: spec::mac::Mac = text.parse()?;
        if !mac.is_unicast() {
            return Err(refuse("MAC address", &text, "it is not that of one device"));
        }
        nic.mac = Some(mac);
    }
    if let Some(text) = given("mtu") {
        nic.mtu = Some(spec::network::mtu(&text)?);
    }
    if let Some(text) = given("interface") {
        spec::network::check_device(&text)?;
        nic.interface = Some(text);
    }
    for alias in all("alias") {
        spec::network::check_domain(&alias)?;
        nic.aliases.push(alias);
    }
    let rate = |name: &str| given(name).map(|text| text.parse::<Rate>()).transpose();
    nic.limits = nic.limits.changed_by(&bandwidth(matches, "")?);
    let priority = given("priority").map(|text| Share::priority(&text)).transpose()?;
    nic.share = nic.share.changed_by(&Share { guarantee: rate("guarantee")?, priority });
    Ok(())
}

/// Limits by the flags that begin with `prefix` (`net-`: those of all devices together), where this verb has them.
pub(crate) fn bandwidth(matches: &ArgMatches, prefix: &str) -> Result<spec::network::Limits> {
    fn given<T: FromStr<Err = spec::Invalid>>(matches: &ArgMatches, name: &str) -> Result<Option<T>> {
        let text = matches.try_get_one::<String>(name).ok().flatten();
        Ok(text.map(|text| text.parse()).transpose()?)
    }
    Ok(spec::network::Limits {
        egress: given(matches, &format!("{prefix}egress"))?,
        ingress: given(matches, &format!("{prefix}ingress"))?,
        egress_packets: given(matches, &format!("{prefix}egress-packets"))?,
        ingress_packets: given(matches, &format!("{prefix}ingress-packets"))?,
    })
}

/// Bytes in a month.
pub(crate) fn quota(matches: &ArgMatches) -> Result<Option<u64>> {
    text(matches, "net-quota").map(|text| limit("quota", &text)).transpose()
}

/// Addresses of either family.
pub(crate) fn addresses(list: &[String]) -> Result<Vec<std::net::IpAddr>> {
    list.iter().map(|text| text.parse().map_err(|_| refuse("address", text, "it is none of IPv4 or IPv6"))).collect()
}

/// The keys that let go, and whether signals are passed on.
pub(crate) fn terminal(matches: &ArgMatches) -> Result<Terminal> {
    let mut terminal = Terminal::default();
    if let Some(keys) = text(matches, "detach-keys") {
        terminal.detach_keys = detach_keys(&keys).doing(|| format!("use detach keys {keys:?}"))?;
    }
    terminal.forward_signals = text(matches, "sig-proxy").is_none_or(|text| text == "true");
    Ok(terminal)
}

/// `ctrl-p,ctrl-q`, or single characters; empty for none.
fn detach_keys(text: &str) -> Result<Vec<u8>> {
    let key = |word: &str| {
        let bytes = word.as_bytes();
        match (word.strip_prefix("ctrl-").map(str::as_bytes), bytes) {
            (Some([letter @ b'a'..=b'z']), _) => Ok(letter - b'a' + 1),
            (Some([sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => Ok(sign & 0x1f),
            (None, [byte]) if byte.is_ascii_graphic() => Ok(*byte),
            _ => Err(refuse("key", word, "unknown")
                .hint("write ctrl-a to ctrl-z, or single characters, with commas between")),
        }
    };
    if text.is_empty() { Ok(Vec::new()) } else { text.split(',').map(key).collect() }
}

/// A point in time: RFC 3339, seconds since 1970, or a span before now (`10m`, `0s`).
pub(crate) fn time(text: &str) -> Result<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if let Ok(time) = spec::timestamp::parse(text) {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(seconds.saturating_mul(1_000_000_000));
    }
    match spec::size::parse_duration_ms("time", text) {
        Ok(ms) => Ok(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).saturating_sub(ms.saturating_mul(1_000_000))),
        Err(_) => Err(refuse("time", text, "unknown")
            .hint("write 2026-11-23T10:00:00Z, seconds since 1970, or a span such as 10m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    fn parse(words: &str) -> Result<Definition> {
        let command = crate::flags::creation(Command::new("run"));
        definition(&command.try_get_matches_from(std::iter::once("run").chain(words.split(' '))).unwrap())
    }

    #[test]
    fn everything_after_the_image_is_the_command() {
        for words in ["host -- sh -c x", "host sh -c x", "-- host sh -c x"] {
            assert_eq!(parse(words).unwrap().command, ["sh", "-c", "x"], "{words}");
        }
        assert_eq!(parse("host ls --all").unwrap().command, ["ls", "--all"]);
        assert_eq!(parse("host -c x").unwrap().command, ["-c", "x"]);
    }

    #[test]
    fn flags_become_values() {
        let definition = parse("-it --rm -m 64m --cpus 0.5 --cap-add net_admin,sys_time --pids-limit -1 -e A=1 --stop-timeout 3 --net none -v ./x:/y host").unwrap();
        assert!(definition.tty && definition.interactive && definition.remove);
        assert_eq!(
            (definition.limits.memory, definition.limits.milli_cpus, definition.limits.pids),
            (Some(64 << 20), Some(500), Some(u64::MAX))
        );
        assert_eq!(definition.security.cap_add, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
        assert_eq!((definition.env, definition.stop_timeout_ms), (vec![("A".into(), "1".into())], Some(3000)));
        assert_eq!(definition.namespaces.network, spec::definition::Network::None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let bad = [
            "-m 12x host",
            "--cpus x host",
            "--pids-limit x host",
            "--oom-score-adj 2000 host",
            "--restart x host",
            "-e =1 host",
            "-l =1 host",
            "--security-opt x host",
            "--time-offset x host",
            "--rm --restart always host",
            "nothing:/x",
            "--stop-signal SIGX host",
            "--blkio-weight 5 host",
        ];
        for words in bad {
            assert!(parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn keys_and_times() {
        assert_eq!(detach_keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(detach_keys("a,ctrl-]").unwrap(), [b'a', 29]);
        assert!(detach_keys("ctrl-1").is_err() && detach_keys("").unwrap().is_empty());
        assert_eq!(time("1").unwrap(), 1_000_000_000);
        assert!(time("10m").unwrap() > 1_000_000_000 && time("soon").is_err());
    }
}
