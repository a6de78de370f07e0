// SPDX-License-Identifier: Apache-2.0
//! Whose container a process is in: by its control groups, which every engine names after its containers. Pure.

use serde::Serialize;

/// Who runs a container, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// `cella`, `docker`, `podman`, `lxc`, `kubernetes`, `nspawn`.
    pub engine: &'static str,
    /// Its name; where the group has only an id, that.
    pub name: String,
}

impl Owner {
    /// As it is shown: `cella:web`, `docker:4f1c…`, an id in twelve digits.
    #[must_use]
    pub fn text(&self) -> String {
        let is_id = self.name.len() == 64 && is_hexadecimal(&self.name);
        format!("{}:{}", self.engine, if is_id { self.name.get(..12).unwrap_or_default() } else { &self.name })
    }
}

/// The container that these groups (`/proc/PID/cgroup`) are of. `ours` are the groups' names of our own, with the containers'.
#[must_use]
pub(crate) fn owner(text: &str, ours: &[(String, String)]) -> Option<Owner> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let own = |path: &str| ours.iter().find(|(group, _)| is_below(path, group)).map(|(_, name)| name.clone());
    if let Some(name) = paths().find_map(own) {
        return Some(Owner { engine: "cella", name });
    }
    paths().find_map(foreign)
}

/// Is the group one of the path's elements? A group of several elements is so from its first to its last.
fn is_below(path: &str, group: &str) -> bool {
    let (path, group) = (path.trim_matches('/'), group.trim_matches('/'));
    let after = path.match_indices(group).find_map(|(at, _)| {
        let before = path.get(..at)?;
        (before.is_empty() || before.ends_with('/')).then(|| path.get(at + group.len()..))?
    });
    !group.is_empty() && after.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn foreign(path: &str) -> Option<Owner> {
    let mut words = path.split('/').filter(|word| !word.is_empty()).peekable();
    let some = |engine, name: &str| Some(Owner { engine, name: name.to_owned() });
    while let Some(word) = words.next() {
        let next = words.peek().copied();
        let unit = word.strip_suffix(".scope").unwrap_or(word);
        // What systemd makes has the engine's word before the id: `docker-ID.scope`, `libpod-ID.scope`.
        // The first is one of ours that is in another store, or that we may not read of.
        let by_prefix = [
            ("cella-", "cella"),
            ("docker-", "docker"),
            ("libpod-", "podman"),
            ("crio-", "kubernetes"),
            ("cri-containerd-", "kubernetes"),
        ];
        for (prefix, engine) in by_prefix {
            if let Some(id) = unit.strip_prefix(prefix).filter(|id| is_id(id)) {
                return some(engine, id);
            }
        }
        // What the engines make themselves has it above: `/docker/ID`, `/libpod_parent/libpod-ID`, `/lxc/NAME`.
        match (word, next) {
            ("docker", Some(id)) if is_id(id) => return some("docker", id),
            ("lxc" | "lxc.payload", Some(name)) => return some("lxc", name),
            _ => {}
        }
        if let Some(name) = word.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
            return some("lxc", name);
        }
        let nspawn = word.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
        if let Some(name) = nspawn.or_else(|| unit.strip_prefix("machine-").filter(|_| unit != word)) {
            return some("nspawn", &unescape(name));
        }
        if word.starts_with("pod") && next.is_some_and(is_id) {
            return some("kubernetes", next.unwrap_or_default());
        }
    }
    None
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hexadecimal(text)
}

/// systemd writes what a unit's name can not have as `\x2d`.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        plain.push_str(before);
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii_graphic) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push_str("\\x");
                rest = after;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f1c2a3b4c5d6e7f8091a2b3c4d5e6f74f1c2a3b4c5d6e7f8091a2b3c4d5e6f7";

    #[test]
    fn every_engine_is_known_by_its_groups() {
        let cases = [
            (format!("0::/system.slice/docker-{ID}.scope"), "docker:4f1c2a3b4c5d"),
            (format!("4:memory:/docker/{ID}\n0::/"), "docker:4f1c2a3b4c5d"),
            (format!("0::/machine.slice/libpod-{ID}.scope/container"), "podman:4f1c2a3b4c5d"),
            (format!("3:cpu,cpuacct:/libpod_parent/libpod-{ID}"), "podman:4f1c2a3b4c5d"),
            ("0::/lxc.payload.web/init.scope".to_owned(), "lxc:web"),
            ("4:memory:/lxc/web".to_owned(), "lxc:web"),
            ("0::/machine.slice/machine-my\\x2dbox.scope/payload".to_owned(), "nspawn:my-box"),
            ("0::/machine.slice/systemd-nspawn@deb.service".to_owned(), "nspawn:deb"),
            (format!("0::/kubepods/burstable/pod12-3/{ID}"), "kubernetes:4f1c2a3b4c5d"),
            (format!("0::/kubepods.slice/x.slice/cri-containerd-{ID}.scope"), "kubernetes:4f1c2a3b4c5d"),
            ("0::/cella.slice/cella-ab12.scope".to_owned(), "cella:web"),
            ("4:memory:/cella-ab12/inner".to_owned(), "cella:web"),
            (format!("4:memory:/cella-{ID}"), "cella:4f1c2a3b4c5d"),
        ];
        let ours = [("cella-ab12.scope".to_owned(), "web".to_owned()), ("cella-ab12".to_owned(), "web".to_owned())];
        for (text, wanted) in cases {
            assert_eq!(owner(&text, &ours).map(|owner| owner.text()).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "",
            "0::/",
            "0::/user.slice/docker-me.scope",
            "0::/docker/short",
            "4:memory:/xcella-ab12",
            "0::/init.scope",
        ] {
            assert_eq!(owner(text, &ours), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_group_is_called(text in "\\PC{0,80}", group in "[a-z-]{0,6}") {
            let found = owner(&text, &[(group, "web".to_owned())]);
            prop_assert!(found.is_none_or(|found| !found.engine.is_empty()));
        }
    }
}
