// SPDX-License-Identifier: Apache-2.0
//! What is in which directory: only what the host has too.

use std::path::Path;

use kernel::cgroup::Resource;

use super::host::NODES;
use super::node::{
    CACHE_FILES, CPU_FILES, CPUS_FILES, Entry, Id, NODES_FILES, NUMA_FILES, Node, ProcFile, SMT_FILES, Shape,
    TOPOLOGY_FILES,
};
use super::processors::CPUS;
use super::{Content, Sight};

impl Content {
    /// The entry of this name in a directory.
    pub fn find(&mut self, parent: Id, name: &[u8]) -> Option<Entry> {
        let name = std::str::from_utf8(name).ok()?;
        let parent = Node::of(parent)?;
        let node = self.children(parent).into_iter().find(|(_, other)| other == name)?.0;
        self.is_there(node).then(|| entry(node, name.to_owned()))
    }

    /// All entries of a directory, without `.` and `..`.
    pub fn list(&mut self, directory: Id) -> Vec<Entry> {
        let Some(directory) = Node::of(directory) else { return Vec::new() };
        if !self.is_there(directory) {
            return Vec::new();
        }
        let children = self.children(directory);
        let there = children.into_iter().filter(|(node, _)| self.is_there(*node));
        there.map(|(node, name)| entry(node, name)).collect()
    }

    /// The directory that a node is in; the root is in itself, and so is what never was.
    #[must_use]
    pub fn parent(&self, id: Id) -> Id {
        Node::of(id).map_or(Id(1), |node| node.parent().id())
    }

    /// What a node is; `None` when it is not there any more, or never was.
    pub fn shape(&mut self, id: Id) -> Option<Shape> {
        let node = Node::of(id)?;
        self.is_there(node).then(|| node.shape())
    }

    /// Where the host would have what depends on the processors that are seen: their numbers are the container's own.
    fn changing_path(&mut self, node: Node) -> Option<String> {
        let sight = self.sight();
        let cpu = |number: usize| Some(format!("{CPUS}/cpu{}", sight.visible.get(number)?));
        let below = |directory: String, names: &[&str], file: usize| Some(format!("{directory}/{}", names.get(file)?));
        match node {
            Node::Cpu(number) => cpu(number),
            Node::CpuFile(number, file) => below(cpu(number)?, CPU_FILES, file),
            Node::CpuSubsystem(number) => Some(format!("{}/subsystem", cpu(number)?)),
            Node::CpuNuma(number, node) => Some(format!("{}/node{node}", cpu(number)?)),
            Node::Topology(number) => Some(format!("{}/topology", cpu(number)?)),
            Node::TopologyFile(number, file) => below(format!("{}/topology", cpu(number)?), TOPOLOGY_FILES, file),
            Node::Caches(number) => Some(format!("{}/cache", cpu(number)?)),
            Node::Cache(number, index) => Some(format!("{}/cache/index{index}", cpu(number)?)),
            Node::CacheFile(number, index, file) => {
                below(format!("{}/cache/index{index}", cpu(number)?), CACHE_FILES, file)
            }
            Node::Numa(node) => self.numa_path(&sight, node),
            Node::NumaFile(node, file) => below(self.numa_path(&sight, node)?, NUMA_FILES, file),
            Node::NumaSubsystem(node) => Some(format!("{}/subsystem", self.numa_path(&sight, node)?)),
            Node::NumaCpu(node, number) => {
                let path = self.numa_path(&sight, node)?;
                Some(format!("{path}/cpu{}", sight.visible.get(number)?))
            }
            _ => None,
        }
    }

    fn numa_path(&mut self, sight: &Sight, node: usize) -> Option<String> {
        let layout = self.host.layout(&sight.visible, sight.limits.nodes.as_deref());
        let is_seen = layout.nodes.iter().any(|one| usize::try_from(one.number) == Ok(node));
        is_seen.then(|| format!("{NODES}/node{node}"))
    }

    fn is_there(&mut self, node: Node) -> bool {
        self.place(node).is_some()
    }

    /// Where the host has it; `None` when it has not.
    pub(super) fn place(&mut self, node: Node) -> Option<String> {
        match lasting_path(node) {
            Some(path) => self.host.has(&path).then_some(path),
            None => self.changing_path(node).filter(|path| kernel::file::exists(Path::new(path))),
        }
    }

    /// What a directory may have; whether it is there is asked of the host.
    fn children(&mut self, directory: Node) -> Vec<(Node, String)> {
        let named = |names: &[&str], node: &dyn Fn(usize) -> Node| -> Vec<(Node, String)> {
            names.iter().enumerate().map(|(index, name)| (node(index), (*name).to_owned())).collect()
        };
        match directory {
            Node::Root => vec![(Node::Proc, "proc".into()), (Node::Sys, "sys".into()), (Node::Disks, "block".into())],
            Node::Disks => {
                let names = kernel::file::names(Path::new(DISKS)).unwrap_or_default();
                names.into_iter().filter_map(|name| Some((Node::disk(&name)?, name))).collect()
            }
            Node::Proc => {
                let files = ProcFile::ALL.iter().map(|(file, name)| (Node::ProcFile(*file), (*name).to_owned()));
                files.chain([(Node::Pressure, "pressure".to_owned())]).collect()
            }
            Node::Pressure => Resource::ALL.map(|one| (Node::PressureFile(one), one.name().to_owned())).to_vec(),
            Node::Sys => vec![(Node::Cpus, "cpu".into()), (Node::Numas, "node".into())],
            Node::Cpus => {
                let mut children = named(CPUS_FILES, &Node::CpusFile);
                children.push((Node::Smt, "smt".into()));
                children.push((Node::Vulnerabilities, "vulnerabilities".into()));
                let count = self.sight().visible.len();
                children.extend((0..count).map(|number| (Node::Cpu(number), format!("cpu{number}"))));
                children
            }
            Node::Smt => named(SMT_FILES, &Node::SmtFile),
            Node::Vulnerabilities => {
                let names = vulnerabilities().into_iter().enumerate();
                names.map(|(index, name)| (Node::Vulnerability(index), name)).collect()
            }
            Node::Cpu(number) => self.processor_children(number),
            Node::Topology(number) => named(TOPOLOGY_FILES, &|file| Node::TopologyFile(number, file)),
            Node::Caches(number) => {
                (0..CACHES).map(|index| (Node::Cache(number, index), format!("index{index}"))).collect()
            }
            Node::Cache(number, index) => named(CACHE_FILES, &|file| Node::CacheFile(number, index, file)),
            Node::Numas => {
                let mut children = named(NODES_FILES, &Node::NumasFile);
                let nodes = self.numas().into_iter().map(|(node, _)| (Node::Numa(node), format!("node{node}")));
                children.extend(nodes);
                children
            }
            Node::Numa(node) => {
                let mut children = named(NUMA_FILES, &|file| Node::NumaFile(node, file));
                children.push((Node::NumaSubsystem(node), "subsystem".into()));
                let seen = self.numas().into_iter().find(|(one, _)| *one == node);
                let processors = seen.map(|(_, processors)| processors).unwrap_or_default();
                children.extend(processors.into_iter().map(|cpu| (Node::NumaCpu(node, cpu), format!("cpu{cpu}"))));
                children
            }
            _ => Vec::new(),
        }
    }

    fn processor_children(&mut self, number: usize) -> Vec<(Node, String)> {
        let mut children = vec![
            (Node::Topology(number), "topology".to_owned()),
            (Node::Caches(number), "cache".to_owned()),
            (Node::CpuSubsystem(number), "subsystem".to_owned()),
        ];
        let files = CPU_FILES.iter().enumerate();
        children.extend(files.map(|(file, name)| (Node::CpuFile(number, file), (*name).to_owned())));
        for (node, processors) in self.numas() {
            if processors.contains(&number) {
                children.push((Node::CpuNuma(number, node), format!("node{node}")));
            }
        }
        children
    }

    /// The memory nodes that are seen, with their processors by their numbers inside.
    fn numas(&mut self) -> Vec<(usize, Vec<usize>)> {
        let sight = self.sight();
        let layout = self.host.layout(&sight.visible, sight.limits.nodes.as_deref());
        let number = |number: u32| usize::try_from(number).unwrap_or_default();
        layout.nodes.iter().map(|node| (number(node.number), node.processors.clone())).collect()
    }
}

/// What the host has where no processor of the container is in the path: the same for everybody.
fn lasting_path(node: Node) -> Option<String> {
    let below = |directory: &str, names: &[&str], file: usize| Some(format!("{directory}/{}", names.get(file)?));
    match node {
        Node::Root | Node::Proc => Some("/proc".into()),
        Node::ProcFile(ProcFile::BootId) => Some("/proc/sys/kernel/random/boot_id".into()),
        Node::ProcFile(file) => {
            ProcFile::ALL.iter().find(|(one, _)| *one == file).map(|(_, name)| format!("/proc/{name}"))
        }
        Node::Pressure => Some("/proc/pressure".into()),
        Node::PressureFile(resource) => Some(format!("/proc/pressure/{}", resource.name())),
        Node::Sys | Node::Cpus => Some(CPUS.into()),
        Node::CpusFile(file) => below(CPUS, CPUS_FILES, file),
        Node::Smt => Some(format!("{CPUS}/smt")),
        Node::SmtFile(file) => below(&format!("{CPUS}/smt"), SMT_FILES, file),
        Node::Vulnerabilities => Some(format!("{CPUS}/vulnerabilities")),
        Node::Vulnerability(file) => {
            Some(format!("{CPUS}/vulnerabilities/{}", vulnerabilities().into_iter().nth(file)?))
        }
        Node::Numas => Some(NODES.into()),
        Node::NumasFile(file) => below(NODES, NODES_FILES, file),
        Node::Disks => Some(DISKS.into()),
        Node::Disk(major, minor) => Some(format!("{DISKS}/{major}:{minor}/stat")),
        _ => None,
    }
}

/// Where sysfs has the disks by their numbers.
const DISKS: &str = "/sys/dev/block";

/// No processor has more caches.
const CACHES: usize = 16;

/// The names of the known vulnerabilities of processors, in an order that stays.
fn vulnerabilities() -> Vec<String> {
    let path = format!("{CPUS}/vulnerabilities");
    let mut names = kernel::file::names(Path::new(&path)).unwrap_or_default();
    names.sort_unstable();
    names.truncate(256);
    names
}

fn entry(node: Node, name: String) -> Entry {
    Entry { id: node.id(), shape: node.shape(), name }
}
