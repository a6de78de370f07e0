// SPDX-License-Identifier: Apache-2.0
//! A login in a whole system: by the system's own programs, so that its accounts, its PAM and its sessions are what counts.

use std::path::Path;

use kernel::root::Root;

use crate::error::{Error, Kind, Result};
use crate::request::Exec;
use crate::session::not_running;
use crate::store::Store;

/// The program that logs `user` in, or that runs `command` as a login of theirs.
pub(crate) fn login(store: &Store, container: &str, user: &str, command: &[String], tty: bool) -> Result<Exec> {
    let found = store.find(container)?;
    let pid = store.state(&found)?.and_then(|state| state.pid).ok_or_else(|| not_running(&found.name))?;
    let plain = user.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
    if user.is_empty() || user.starts_with('-') || !plain {
        return Err(Error::new(Kind::Invalid, format!("invalid user {user:?}")).hint("name an account of the system"));
    }
    let root = Root::new(kernel::root::open_directory_path(Path::new(&format!("/proc/{pid}/root")))?);
    let has = |path: &str| root.open_file(Path::new(path)).is_ok();
    let find = |name: &str| {
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
            .map(|place| format!("{place}/{name}"))
            .into_iter()
            .find(|path| has(path))
    };
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // Whether we have to become the user ourselves.
    let (program, by_us) = match (command, find("login"), find("su")) {
        ([], Some(login), _) if tty => (words(&[&login, "-f", user]), false),
        ([], _, Some(su)) => (words(&[&su, "-l", user]), false),
        ([], ..) => (words(&["/bin/sh", "-l"]), true),
        (command, _, Some(su)) => (words(&[&su, "-l", user, "-c", &quoted(command)]), false),
        (command, ..) => (command.to_vec(), true),
    };
    Ok(Exec {
        command: program,
        env: vec![("TERM".to_owned(), "xterm-256color".to_owned())].into_iter().filter(|_| tty).collect(),
        user: by_us.then(|| user.to_owned()),
        workdir: Some("/".to_owned()),
        tty,
        interactive: true,
        ..Exec::default()
    })
}

/// The words as a shell reads them.
fn quoted(words: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted(&["a b".to_owned(), "it's".to_owned(), "$x;".to_owned()]), r"'a b' 'it'\''s' '$x;'");
    }
}
