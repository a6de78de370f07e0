// SPDX-License-Identifier: Apache-2.0
//! The lines of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). Pure; what a mount is called is anybody's choice.

use serde::Serialize;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MountView {
    /// Where it is.
    pub target: String,
    /// What kind of file system.
    pub kind: String,
    /// What of it: a directory, for a namespace its name.
    pub root: String,
    /// What the file system is from.
    pub source: String,
    /// `ro` or `rw`, and what else holds for this mount.
    pub options: String,
    /// The device, as `major:minor`.
    #[serde(skip)]
    pub device: String,
}

/// All that can be read.
pub(crate) fn parse(text: &str) -> Vec<MountView> {
    text.lines().filter_map(line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn line(text: &str) -> Option<MountView> {
    let (before, after) = text.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (device, root, target, options) = (before.next()?, before.next()?, before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, source) = (after.next()?, after.next().unwrap_or("none"));
    Some(MountView {
        target: unescape(target),
        kind: kind.to_owned(),
        root: unescape(root),
        source: unescape(source),
        options: options.to_owned(),
        device: device.to_owned(),
    })
}

/// Space, tab, line break and backslash are written in octal: `\040`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .first_chunk::<3>()
            .filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        let value = octal.map(|digits| digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Does the way to `path` lead through the kernel's own file systems only? A server behind one (FUSE, NFS) could have us wait.
pub(crate) fn is_local(table: &[MountView], path: &str) -> bool {
    const REMOTE: [&str; 9] = ["fuse", "nfs", "9p", "cifs", "smb", "ceph", "afs", "autofs", "virtiofs"];
    let on_the_way = |mount: &&MountView| std::path::Path::new(path).starts_with(&mount.target);
    table.iter().filter(on_the_way).all(|mount| !REMOTE.iter().any(|kind| mount.kind.starts_with(kind)))
}

/// How the kernel hides the processes of others in this `/proc`: the word after `hidepid=`.
pub(crate) fn hidden_processes(text: &str) -> Option<String> {
    let line =
        text.lines().rfind(|text| line(text).is_some_and(|mount| mount.target == "/proc" && mount.kind == "proc"))?;
    let options = line.rsplit(' ').next()?;
    let word = options.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (!["0", "off"].contains(&word)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_with_escapes_and_optional_fields() {
        let text = "36 35 98:0 /a\\040b /mnt\\134x rw,noatime master:1 shared:2 - ext3 /dev/root rw\n\
                    40 35 0:4 net:[4026532000] /run/netns/n rw shared:5 - nsfs nsfs rw\nbroken\n";
        let list = parse(text);
        assert_eq!(list.len(), 2);
        assert_eq!(
            (list[0].root.as_str(), list[0].target.as_str(), list[0].options.as_str()),
            ("/a b", "/mnt\\x", "rw,noatime")
        );
        assert_eq!((list[1].root.as_str(), list[1].kind.as_str()), ("net:[4026532000]", "nsfs"));
    }

    #[test]
    fn the_way_to_a_mount_does_not_lead_through_a_server() {
        let table = parse(
            "1 0 8:1 / / rw - ext4 x rw\n2 1 0:40 / /mnt rw - fuse.sshfs x rw\n3 2 0:4 net:[1] /mnt/n rw - nsfs nsfs rw\n",
        );
        assert!(is_local(&table, "/mnt2/n") && !is_local(&table, "/mnt/n"));
    }

    #[test]
    fn a_proc_that_hides_processes_is_known() {
        let with = |options: &str| format!("24 1 0:22 / /proc rw - proc proc {options}\n");
        assert_eq!(hidden_processes(&with("rw,hidepid=invisible")).as_deref(), Some("invisible"));
        assert_eq!(hidden_processes(&with("rw")), None);
        assert_eq!(hidden_processes(&with("rw,gid=4,hidepid=2")).as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn whatever_a_mount_is_called(name in "[^\n]{0,20}", noise in "\\PC{0,60}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' => "\\040".to_owned(), '\t' => "\\011".to_owned(), '\\' => "\\134".to_owned(), other => other.to_string(),
            }).collect();
            prop_assert_eq!(unescape(&escaped), name);
            parse(&noise);
        }
    }
}
