// SPDX-License-Identifier: Apache-2.0
//! The files of `/sys/devices/system/cpu` and `…/node`.

use kernel::cgroup::page_bytes;

use super::host::{Layout, NODES};
use super::node::{CACHE_FILES, CPUS_FILES, NODES_FILES, NUMA_FILES, Node, SMT_FILES, TOPOLOGY_FILES};
use super::{Content, Sight, memory, processors};

impl Content {
    /// What is at this place of the host's, with the container's own numbers.
    pub(super) fn sys_text(&mut self, node: Node, path: &str, out: &mut Vec<u8>) -> bool {
        let sight = self.sight();
        let text = match node {
            Node::CpusFile(file) => self.cpus_text(&sight, name(CPUS_FILES, file)),
            Node::SmtFile(file) => self.smt_text(&sight, name(SMT_FILES, file)),
            Node::CpuSubsystem(_) => Some("../../../../bus/cpu".into()),
            Node::NumaSubsystem(_) => Some("../../../../bus/node".into()),
            Node::CpuNuma(_, node) => Some(format!("../../node/node{node}")),
            Node::NumaCpu(_, cpu) => Some(format!("../../cpu/cpu{cpu}")),
            Node::TopologyFile(cpu, file) => self.topology_text(&sight, cpu, name(TOPOLOGY_FILES, file), path),
            Node::CacheFile(_, _, file) => self.cache_text(&sight, name(CACHE_FILES, file), path),
            Node::NumasFile(file) => self.numas_text(&sight, name(NODES_FILES, file)),
            Node::NumaFile(node, file) => return self.numa_text(&sight, node, name(NUMA_FILES, file), path, out),
            _ => None,
        };
        match text {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => return self.host_text(path, out),
        }
        true
    }

    /// What is the same for everybody.
    fn host_text(&mut self, path: &str, out: &mut Vec<u8>) -> bool {
        let text = self.host.small(path);
        out.extend_from_slice(text.unwrap_or_default());
        text.is_some()
    }

    fn cpus_text(&mut self, sight: &Sight, file: &str) -> Option<String> {
        let all: Vec<usize> = (0..sight.visible.len()).collect();
        match file {
            "online" | "present" | "possible" | "enabled" => Some(format!("{}\n", processors::list(&all))),
            "offline" | "isolated" => Some("\n".into()),
            _ => None,
        }
    }

    /// Threads that share a core are told of only where both are seen.
    fn smt_text(&mut self, sight: &Sight, file: &str) -> Option<String> {
        if file != "active" {
            return None;
        }
        let places = &self.layout(sight).places;
        let mut cores: Vec<_> = places.iter().map(|place| (place.package, place.core)).collect();
        cores.sort_unstable();
        cores.dedup();
        Some(if cores.len() < places.len() { "1\n".into() } else { "0\n".into() })
    }

    fn topology_text(&mut self, sight: &Sight, cpu: usize, file: &str, path: &str) -> Option<String> {
        let place = *self.layout(sight).places.get(cpu)?;
        let number = match file {
            "physical_package_id" => place.package,
            "die_id" => place.die,
            "core_id" => place.core,
            // Where the host has none it says so in its own way.
            "cluster_id" => place.cluster?,
            _ => return self.set_text(sight, file, path),
        };
        Some(format!("{number}\n"))
    }

    /// A set of processors, as a mask or as a list.
    fn set_text(&mut self, sight: &Sight, file: &str, path: &str) -> Option<String> {
        let is_list = file.ends_with("_list");
        let list = match path.strip_suffix("_map") {
            Some(set) => format!("{set}_list"),
            None if is_list => path.to_owned(),
            None => format!("{path}_list"),
        };
        let inside = processors::inside(self.host.small_text(&list), &sight.visible);
        let text = if is_list { processors::list(&inside) } else { processors::mask(&inside, sight.visible.len()) };
        Some(format!("{text}\n"))
    }

    fn cache_text(&mut self, sight: &Sight, file: &str, path: &str) -> Option<String> {
        if file.starts_with("shared_cpu") { self.set_text(sight, file, path) } else { None }
    }

    fn layout(&mut self, sight: &Sight) -> &Layout {
        self.host.layout(&sight.visible, sight.limits.nodes.as_deref())
    }

    fn numas_text(&mut self, sight: &Sight, file: &str) -> Option<String> {
        let nodes = &self.layout(sight).nodes;
        let numbers: Vec<usize> = match file {
            "online" | "possible" => nodes.iter().map(number).collect(),
            "has_cpu" => nodes.iter().filter(|node| !node.processors.is_empty()).map(number).collect(),
            "has_memory" | "has_normal_memory" => nodes.iter().filter(|node| node.has_memory).map(number).collect(),
            "has_generic_initiator" => Vec::new(),
            _ => return None,
        };
        Some(format!("{}\n", processors::list(&numbers)))
    }

    fn numa_text(&mut self, sight: &Sight, node: usize, file: &str, path: &str, out: &mut Vec<u8>) -> bool {
        let count = sight.visible.len();
        let layout = self.layout(sight);
        let seen = layout.nodes.iter().find(|one| number(one) == node);
        let processors = seen.map(|one| one.processors.as_slice()).unwrap_or_default();
        let text = match file {
            "cpulist" => format!("{}\n", processors::list(processors)),
            "cpumap" => format!("{}\n", processors::mask(processors, count)),
            "distance" => {
                let (shown, all): (Vec<_>, _) =
                    (layout.nodes.iter().map(|node| node.number).collect(), layout.host_nodes.clone());
                distance(self.host.small_text(path), &all, &shown)
            }
            // Nobody counts by container from where its pages came.
            "numastat" => self.host.small_text(path).lines().filter_map(zero).collect(),
            "meminfo" | "vmstat" => return self.numa_memory(sight, node, file, path, out),
            _ => return self.host_text(path, out),
        };
        out.extend_from_slice(text.as_bytes());
        true
    }

    /// The container's memory on one node: all of it, or as large a part as the node has of all those that it may use.
    fn numa_memory(&mut self, sight: &Sight, node: usize, file: &str, path: &str, out: &mut Vec<u8>) -> bool {
        let Some(figures) = self.figures().1 else { return self.host_text(path, out) };
        let usable: Vec<usize> = self.layout(sight).nodes.iter().filter(|one| one.has_memory).map(number).collect();
        let mut total = |node: usize| node_total(self.host.small_text(&format!("{NODES}/node{node}/meminfo")));
        let whole = usable.iter().map(|node| total(*node)).fold(0, u64::saturating_add);
        let part = if usable.contains(&node) { total(node) } else { 0 };
        let figures = if usable == [node] { figures } else { figures.part(part, whole.max(1)) };
        let host = self.host.small_text(path);
        if file == "meminfo" {
            memory::node_meminfo(host, &figures, out);
        } else {
            memory::vmstat(host, &figures, page_bytes(), |_| None, out);
        }
        true
    }
}

fn name<'a>(names: &[&'a str], index: usize) -> &'a str {
    names.get(index).copied().unwrap_or_default()
}

fn number(node: &super::host::Numa) -> usize {
    usize::try_from(node.number).unwrap_or_default()
}

fn zero(line: &str) -> Option<String> {
    line.split(' ').next().filter(|key| !key.is_empty()).map(|key| format!("{key} 0\n"))
}

/// In kB.
fn node_total(meminfo: &str) -> u64 {
    let value = |line: &str| line.split_once("MemTotal:")?.1.split_ascii_whitespace().next()?.parse().ok();
    meminfo.lines().find_map(value).unwrap_or(0)
}

/// The columns of the nodes that are shown, out of all.
fn distance(host: &str, all: &[u32], shown: &[u32]) -> String {
    let columns = host.split_ascii_whitespace().zip(all).filter(|(_, node)| shown.contains(node));
    let columns: Vec<&str> = columns.map(|(distance, _)| distance).collect();
    columns.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_nodes_that_are_seen() {
        assert_eq!(distance("10 21 31\n", &[0, 1, 4], &[0, 4]), "10 31\n");
        assert_eq!(node_total("Node 0 MemTotal:       15952084 kB\nNode 0 MemFree: 1 kB\n"), 15_952_084);
        assert_eq!(zero("numa_hit 502048494"), Some("numa_hit 0\n".into()));
    }
}
