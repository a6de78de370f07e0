// SPDX-License-Identifier: Apache-2.0
//! `cella help [TOPIC]`: ideas, in a screen each.

use clap::{Arg, ArgMatches, Command};
use engine::{Error, Kind, Result};

const TOPICS: &[(&str, &str)] = &[
    (
        "images",
        "An image is named by where it comes from:\n\n  host                       this machine's own userland, without its secrets; nothing is downloaded\n  dir:/PATH                  a directory that is a root file system; it is not written to\n  tar:/PATH                  an archive of one (plain, gzip, xz, zstd)\n  oci:/LAYOUT[:TAG]          an image in an OCI image layout (umoci, skopeo, buildah make them)\n  bootstrap:debian/SUITE     made from the distribution's packages, kept after the first time\n\nWhat a container changes goes to a layer of its own, which goes with it.",
    ),
    (
        "networks",
        "Without a word a container is on cella0: a bridge with IPv4 and IPv6, names, and the host's address outside.\n\n  --network NAME             another network (cella network create NAME), also several\n  --network none             a loopback device and nothing else\n  --network host             the host's\n  --network container:NAME   that of another container\n  --network ns:/run/netns/N  that of a file\n  --network bridge:br0       a bridge of the host as it is\n  --network macvlan:eth0     a device of its own on the host's link; also ipvlan:, vlan:eth0.5\n  --network physical:eth1    the host's device itself, which is given back\n\nOptions follow with commas: back,ip=10.1.0.9,alias=db,egress=10mbit. Containers on one network find each other by name.\n\n  -p 8080:80                 the host's port 8080 leads to its port 80 (cella port add, on a running one)\n  --net-egress 10mbit --net-ingress 50mbit   what it may send and receive, in queues that root inside can not reach\n  --net-egress-packets 5k    packets in a second\n\n  cella network set --egress 1gbit --ingress 1gbit NAME    what all containers of a network may, at its border\n  --network NAME,guarantee=20mbit,priority=1               a part of that for sure, and who borrows the rest first",
    ),
    (
        "systems",
        "A system container is a whole distribution with its own init:\n\n  cella launch bootstrap:debian/trixie web     made from packages, started, waited for until it is up\n  cella shell web                              a login; -u USER, or a command after the name\n  cella console web                            its console; ctrl-p ctrl-q lets go\n  cella boot-log web                           what was said there since the last start\n  cella reboot web, cella poweroff web         in the way of its own init\n  cella device add web /dev/fuse               devices, while it runs\n  cella set --autostart --order 10 web         started with the host (cella autostart)\n\nRoot inside has all rights over what is inside, and none outside. --nesting lets it run containers itself. cella run --system is the same, attached.",
    ),
    (
        "limits",
        "  --memory 512M --memory-swap 1G --cpus 1.5 --cpuset-cpus 0-1 --pids-limit 100 --blkio-weight 500\n\nSizes are in powers of 1024 (512M, 2G). -1 is no limit, where there is one by default.\ncella set NAME changes limits while it runs; cella stats shows what is used.",
    ),
    (
        "isolation",
        "A container has mount, pid, network, ipc, uts, cgroup and user namespaces of its own. Root inside is one of 65,536 ids that nobody else\nhas, with ten capabilities, a filter for system calls, and no way to gain more. cella plan NAME shows each step.\n\n  --userns host --pid host --ipc host --uts host --network host --cgroupns host   share the host's\n  --privileged                                                                   everything its user namespace allows",
    ),
    (
        "namespaces",
        "A namespace is one kind of view that some processes share: user, mnt, pid, net, ipc, uts, cgroup, time.\n\n  cella ns ls                                    every one, whose it is, who is in it\n  cella ns tree --svg > namespaces.svg           which was made in which\n  cella ns show web, cella ns diff web 1234      what a process has of its own\n  cella ns id uid:33@web                         what an id inside is outside; web@uid:100033 the other way\n  cella ns enter --types net web -- ip address   a program of the host in the network of a container\n  cella ns unshare --map-root --types net -- sh  a program in new ones; needs no root\n  cella ns pin --net lab                         one that stays; ip netns finds it\n\nA target is a process's number, a container's name (also docker:ID, podman:ID, lxc:NAME), or a file of a namespace.",
    ),
    (
        "files",
        "  /var/lib/cella/containers/NAME   definition, changes, log\n  /var/lib/cella/layers            unpacked images\n  /var/lib/cella/volumes           volumes\n  /run/cella                       what runs now, and events.jsonl\n\n--root DIR (or CELLA_ROOT) moves all of it below DIR.",
    ),
    (
        "exit-codes",
        "  0        the program's success\n  1        what was asked for could not be done\n  125      run, create, exec: not the program's failure; or a malformed command\n  126      the program can not be run\n  127      the program was not found\n  128+n    signal n ended the program\n  others   the program's own",
    ),
];

pub(crate) fn command() -> Command {
    Command::new("help").about("Explain an idea, or a command").arg(Arg::new("topic").value_name("TOPIC|COMMAND"))
}

pub(crate) fn topic(matches: &ArgMatches) -> Result<i32> {
    let Some(wanted) = matches.get_one::<String>("topic") else {
        crate::output::print(&crate::app::whole().render_help().to_string());
        return Ok(0);
    };
    if let Some((_, text)) = TOPICS.iter().find(|(name, _)| name == wanted) {
        crate::output::line(text);
        return Ok(0);
    }
    if let Some(verb) = crate::verbs::find(wanted) {
        crate::output::print(&verb.build().render_long_help().to_string());
        return Ok(0);
    }
    let names: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).collect();
    Err(Error::new(Kind::Invalid, format!("there is no topic {wanted:?}"))
        .hint(format!("topics are: {}", names.join(" "))))
}
