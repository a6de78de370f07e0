// SPDX-License-Identifier: Apache-2.0
//! The flags of `run` and `create`, with docker's names, and those that several verbs share.

use clap::{Arg, ArgAction, Command};

/// A flag with a value.
pub(crate) fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
}

/// A flag with a value that can be given again.
pub(crate) fn list(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    value(name, what, help).action(ArgAction::Append)
}

/// A flag without a value.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// One or more containers.
pub(crate) fn containers() -> Arg {
    Arg::new("container")
        .value_name("CONTAINER")
        .num_args(1..)
        .required(true)
        .help("Name, id, or the beginning of either")
}

/// One container.
pub(crate) fn container() -> Arg {
    Arg::new("container").value_name("CONTAINER").required(true).help("Name, id, or the beginning of either")
}

/// The program that is run, and its arguments.
pub(crate) fn words(help: &'static str) -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .num_args(1..)
        .required(true)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .help(help)
}

/// `--format table|json`.
pub(crate) fn format() -> Arg {
    value("format", "FORMAT", "table or json").value_parser(["table", "json"]).default_value("table")
}

/// Limits, also of `set`.
pub(crate) fn limits() -> Vec<Arg> {
    vec![
        value("memory", "SIZE", "Memory limit, e.g. 512M (-1: none)").short('m'),
        value("memory-swap", "SIZE", "Memory and swap together (-1: none)"),
        value("cpus", "NUMBER", "Processors, e.g. 1.5"),
        value("cpu-shares", "WEIGHT", "Share of processor time, 2 to 262144").short('c'),
        value("memory-reservation", "SIZE", "Memory that it keeps while others have more (-1: all)"),
        value("cpuset-cpus", "LIST", "Processors it may use, e.g. 0-2,4; auto: as many as --cpus, the least used"),
        value("cpuset-mems", "LIST", "Memory nodes it may use"),
        value("pids-limit", "NUMBER", "Processes and threads (-1: no limit; default 2048, 16384 for a system)"),
        value("blkio-weight", "WEIGHT", "Share of disk time, 10 to 1000"),
        list("device-read-bps", "PATH:RATE", "Bytes per second read from a block device (0: no limit)"),
        list("device-write-bps", "PATH:RATE", "Bytes per second written to it"),
        list("device-read-iops", "PATH:RATE", "Reads per second"),
        list("device-write-iops", "PATH:RATE", "Writes per second"),
        list("hugetlb", "PAGE=SIZE", "Huge pages of one size, e.g. 2MB=64m"),
        list("cgroup-conf", "FILE=VALUE", "A further file of the version 2 group, e.g. io.latency, misc.max, cpu.idle"),
    ]
}

/// The signal and the patience of a stop.
pub(crate) fn stopping() -> [Arg; 2] {
    [
        value("time", "SECONDS", "Until it is killed").short('t').alias("timeout"),
        value("signal", "SIGNAL", "In place of the container's stop signal").short('s'),
    ]
}

/// All of `run` and `create`.
pub(crate) fn creation(command: Command) -> Command {
    command
        .args(basics())
        .args([switch("system", "A whole system: the image's own init, or the command, is process 1")])
        .args(environment())
        .args(program())
        .args(files())
        .args(security())
        .args([switch("privileged", "Allow everything that its user namespace allows")])
        .args(limits())
        .args(processes())
        .args([switch("init", "Run an init that reaps processes and passes signals on")])
        .args(namespaces())
        .args(network())
        .args(systems())
        .arg(
            // One list: after the image nothing is a flag of ours any more.
            Arg::new("words")
                .value_names(["IMAGE", "COMMAND"])
                .num_args(1..)
                .required(true)
                .trailing_var_arg(true)
                .help(
                    "host, dir:/PATH, tar:/PATH, oci:/LAYOUT[:TAG] or bootstrap:debian/SUITE; then a command with \
                     arguments in place of the image's",
                ),
        )
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
}

/// All of `launch`: what has a meaning for a whole system.
pub(crate) fn launch(command: Command) -> Command {
    command
        .args(general())
        .args(environment())
        .args(files())
        .args(security())
        .args(limits())
        .args(processes())
        .args([list("time-offset", "CLOCK=SECONDS", "Shift boottime or monotonic")])
        .args(network())
        .args(systems())
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
}

fn basics() -> Vec<Arg> {
    let mut all = vec![
        switch("interactive", "Pass standard input on").short('i'),
        switch("tty", "Give it a terminal").short('t'),
        value("name", "NAME", "Its name (one is made up otherwise)"),
        value("cidfile", "FILE", "Write its id to a new file"),
    ];
    all.extend(general());
    all
}

/// What only a single program has.
fn program() -> [Arg; 3] {
    [
        value("workdir", "DIR", "Where the program starts").short('w'),
        value("user", "USER[:GROUP]", "Who runs the program, by name or number").short('u'),
        value("entrypoint", "PROGRAM", "In place of the image's entry point (empty: none)"),
    ]
}

/// What only a whole system has, and what is said about the host's own start and groups.
fn systems() -> Vec<Arg> {
    let mut all = vec![
        switch("nesting", "It runs containers itself: 1,048,576 ids in place of 65,536"),
        list("set-credential", "NAME:VALUE", "What its services are told in confidence"),
        list("load-credential", "NAME:PATH", "The same, from a file of the host at each start"),
        value("cgroup-driver", "DRIVER", "auto, systemd (a scope of the host's) or direct"),
    ];
    all.extend(autostart());
    all
}

/// Whether it is started with the host, also of `set`.
pub(crate) fn autostart() -> [Arg; 3] {
    [
        switch("autostart", "Start it with the host"),
        value("order", "NUMBER", "Lower numbers start first and stop last (default 0)").requires("autostart"),
        value("delay", "SECONDS", "Until the next one is started").requires("autostart"),
    ]
}

fn general() -> Vec<Arg> {
    vec![
        switch("rm", "Remove it when it has ended"),
        value("hostname", "NAME", "Its host name (its name otherwise)").short('h'),
        value("domainname", "NAME", "Its NIS domain name"),
        list("label", "KEY=VALUE", "A label").short('l'),
        list("annotation", "KEY=VALUE", "An annotation of its specification"),
        value("restart", "POLICY", "no, on-failure[:N], always, unless-stopped"),
        value("log-max-size", "SIZE", "Size of one log file, of which three are kept (default 10M)"),
    ]
}

fn environment() -> Vec<Arg> {
    vec![
        list("env", "NAME[=VALUE]", "A variable; without a value it is ours").short('e'),
        list("env-file", "FILE", "Variables, one a line"),
    ]
}

fn files() -> Vec<Arg> {
    vec![
        list("volume", "[SOURCE:]TARGET[:OPTIONS]", "A directory of the host, or a named volume").short('v'),
        list("mount", "type=…,src=…,dst=…", "A mount in words"),
        list("tmpfs", "TARGET[:OPTIONS]", "A directory in memory"),
        switch("read-only", "Its root file system can not be written"),
        value("shm-size", "SIZE", "Size of /dev/shm (default 64M; of a system half of the memory)"),
        list("device", "PATH[:PATH][:rwm]", "A device of the host"),
    ]
}

fn security() -> Vec<Arg> {
    vec![
        list("cap-add", "CAPABILITY", "Allow more"),
        list("cap-drop", "CAPABILITY", "Allow less"),
        list(
            "security-opt",
            "OPTION",
            "no-new-privileges[=BOOL], seccomp=FILE|unconfined, apparmor=PROFILE, label=LABEL, systempaths=unconfined",
        ),
    ]
}

fn processes() -> Vec<Arg> {
    vec![
        list("ulimit", "NAME=SOFT[:HARD]", "A resource limit of its processes"),
        list("sysctl", "KEY=VALUE", "A kernel parameter of its namespaces"),
        value("stop-signal", "SIGNAL", "What asks it to end"),
        value("stop-timeout", "SECONDS", "Until it is killed then (default 10; of a system 60)"),
        value("oom-score-adj", "NUMBER", "-1000 to 1000"),
        value("proc-view", "WHETHER", "Its own memory, processors, load in /proc and /sys: on, off or auto"),
        value("pidfile", "FILE", "Write its first process's id to a file").hide_default_value(true),
    ]
}

fn namespaces() -> Vec<Arg> {
    vec![
        value("userns", "MODE", "private, host, container:NAME"),
        value("pid", "MODE", "private, host, container:NAME"),
        value("ipc", "MODE", "private, host, container:NAME"),
        value("uts", "MODE", "private, host, container:NAME"),
        value("cgroupns", "MODE", "private, host, container:NAME"),
        list("time-offset", "CLOCK=SECONDS", "Shift boottime or monotonic"),
    ]
}

/// Networks, names and ports.
fn network() -> Vec<Arg> {
    let mut all = vec![
        list(
            "network",
            "NETWORK[,OPTION…]",
            "A network by name, or none, host, container:NAME, ns:PATH, bridge:BRIDGE, macvlan:DEVICE, ipvlan:DEVICE, \
             vlan:DEVICE.ID, physical:DEVICE; options: ip= ip6= mac= alias= interface= mtu= egress= ingress= \
             egress-packets= ingress-packets= mode= (default: cella0)",
        )
        .alias("net"),
        list("publish", "[IP:][HOST:]PORT[/PROTOCOL]", "A port of the host that leads to one of its own, or ranges")
            .short('p'),
        switch("publish-all", "Publish every port that the image declares").short('P'),
        list("network-alias", "NAME", "A further name on its first network").alias("net-alias"),
        list("dns", "ADDRESS", "A name server in place of the network's"),
        list("dns-search", "DOMAIN", "A domain that is tried behind a name (.: none)"),
        list("dns-option", "OPTION", "An option of resolv.conf").alias("dns-opt"),
        list("add-host", "NAME:ADDRESS", "A line of /etc/hosts"),
    ];
    all.extend(addressing());
    all.extend(bandwidth());
    all.push(quota());
    all
}

/// Limits of bandwidth, also of `set`.
pub(crate) fn bandwidth() -> [Arg; 4] {
    [
        value("net-egress", "RATE", "What it may send, e.g. 10mbit (none: no limit)"),
        value("net-ingress", "RATE", "What it may receive"),
        value("net-egress-packets", "NUMBER", "Packets that it may send in a second, e.g. 5k (none: no limit)"),
        value("net-ingress-packets", "NUMBER", "Packets that it may receive in a second"),
    ]
}

/// What may go in a month, also of `set`.
pub(crate) fn quota() -> Arg {
    value("net-quota", "SIZE", "What it may send and receive in a calendar month, e.g. 100G (-1: no limit)")
}

/// Who a device is on its link.
fn addressing() -> [Arg; 4] {
    [
        value("ip", "ADDRESS", "Its IPv4 address"),
        value("ip6", "ADDRESS", "Its IPv6 address"),
        value("mac-address", "MAC", "Its address on the link"),
        value("mtu", "BYTES", "Maximum size of a packet"),
    ]
}

/// Options of one network device.
pub(crate) fn device_options() -> Vec<Arg> {
    let further = [
        value("interface", "NAME", "Its name inside"),
        list("alias", "NAME", "A further name on this network"),
        value("egress", "RATE", "What it may send, e.g. 10mbit"),
        value("ingress", "RATE", "What it may receive"),
        value("egress-packets", "NUMBER", "Packets that it may send in a second, e.g. 5k"),
        value("ingress-packets", "NUMBER", "Packets that it may receive in a second"),
        value("guarantee", "RATE", "What it has in any case of the network's own limit"),
        value("priority", "NUMBER", "Who has what is left of that: 0 first, 7 last (default 4)"),
    ];
    addressing().into_iter().chain(further).collect()
}

/// How a terminal is let go, and whether signals are passed on.
pub(crate) fn attaching() -> [Arg; 2] {
    [
        value("detach-keys", "KEYS", "What lets go of it (default ctrl-p,ctrl-q)"),
        value("sig-proxy", "BOOL", "Pass signals on (default true)")
            .value_parser(["true", "false"])
            .default_value("true"),
    ]
}
