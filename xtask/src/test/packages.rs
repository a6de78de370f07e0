// SPDX-License-Identifier: Apache-2.0
//! The Debian packages that `xtask/packages.txt` lists: who needs which, and how those that are missing are installed.

use crate::{Result, cargo};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

const LIST: &str = include_str!("../../packages.txt");

/// The packages that `user` ("test", "vm" or "bench") needs.
pub(crate) fn of(user: &str) -> Vec<&'static str> {
    wanted(LIST, user)
}

fn wanted<'a>(list: &'a str, user: &str) -> Vec<&'a str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let needs = |users: &&str| users.split(',').any(|one| one == user);
    fields.filter(|f| f.get(1).is_some_and(needs)).filter_map(|f| f.first().copied()).collect()
}

pub(crate) fn install(user: &str) -> Result<()> {
    let wanted = of(user);
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package}\n"]).args(&wanted);
    let Ok(output) = query.stderr(Stdio::null()).output() else {
        println!("test: no dpkg here, so it is yours to have: {}", wanted.join(" "));
        return Ok(());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let there: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !there.contains(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("test: installing {}", missing.join(" "));
    cargo::succeed(apt().args(["update", "-q"]))?;
    cargo::succeed(apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(missing))
        .map_err(|reason| format!("{reason} (root is needed to install packages)"))
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_user_and_a_reason() {
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let known = |user| ["test", "vm", "bench"].contains(&user);
            assert!(fields.len() > 3 && fields[1].split(',').all(known), "{line}");
        }
        let list = "# a test b\nc test d e\nf bench g h\ni test,vm j\n";
        assert_eq!((wanted(list, "test"), wanted(list, "vm")), (vec!["c", "i"], vec!["i"]));
    }
}
