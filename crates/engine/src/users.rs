// SPDX-License-Identifier: Apache-2.0
//! Users and groups of an image, looked up in its own files before it runs.
//!
//! The files are read through the layers as data, bounded in size: no program and no library of the image takes part.

use std::io::Read;
use std::path::{Path, PathBuf};

use kernel::Errno;
use kernel::root::Root;

use crate::error::{Error, Kind, Result};

/// The most bytes of passwd or group that are read.
const LARGEST: u64 = 4 << 20;

/// The highest id that a container has.
const HIGHEST: u32 = crate::ids::COUNT - 1;

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Home directory.
    pub(crate) home: String,
}

/// The layers of the root directory, top first.
pub(crate) struct Layers(Vec<PathBuf>);

impl Layers {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// The text of a file as the layers together show it; empty when there is none.
    fn read(&self, path: &str) -> Result<String> {
        for layer in &self.0 {
            let Ok(directory) = kernel::root::open_directory_path(layer) else { continue };
            match Root::new(directory).open_file(Path::new(path)) {
                Ok(file) => {
                    let mut text = Vec::new();
                    let read = std::fs::File::from(file).take(LARGEST).read_to_end(&mut text);
                    kernel::Call::call(read, || format!("read({path:?})"))?;
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                // A whiteout (a device) hides what is below; a missing file does not.
                Err(error) if error.is(Errno::INVAL) => return Ok(String::new()),
                Err(_) => {}
            }
        }
        Ok(String::new())
    }

    /// The user that `text` (`user[:group]`, names or numbers; empty for root) means.
    pub(crate) fn user(&self, text: &str) -> Result<User> {
        resolve(text, &self.read("/etc/passwd")?, &self.read("/etc/group")?)
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    })
}

/// Name, id and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

fn resolve(text: &str, passwd: &str, group: &str) -> Result<User> {
    let refuse = |reason: String| Error::new(Kind::Invalid, format!("invalid user {text:?}: {reason}"));
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = |text: &str, what: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        false => Ok(None),
        true => match text.parse::<u32>() {
            Ok(id) if id <= HIGHEST => Ok(Some(id)),
            _ => Err(refuse(format!("{what} id {text} is not in the range of a container (0 to {HIGHEST})"))),
        },
    };
    let uid = number(user, "user")?;
    let account = accounts(passwd).find(|account| uid.map_or(account.name == user, |uid| account.uid == uid));
    let (uid, default_gid, home, name) = match (&account, uid) {
        (Some(account), _) => (account.uid, account.gid, account.home, account.name),
        (None, Some(0)) => (0, 0, "/root", "root"),
        (None, Some(uid)) => (uid, 0, "/", ""),
        (None, None) => {
            return Err(
                refuse("the image has no such user".to_owned()).hint("use a number, or a name of its /etc/passwd")
            );
        }
    };
    let gid = match wanted_group {
        None => default_gid,
        Some(wanted) => match number(wanted, "group")? {
            Some(gid) if !wanted.is_empty() => gid,
            _ => groups(group)
                .find(|(name, ..)| *name == wanted)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| refuse(format!("the image has no group {wanted:?}")))?,
        },
    };
    let member = |members: &str| !name.is_empty() && members.split(',').any(|member| member == name);
    let mut supplementary: Vec<u32> = match wanted_group {
        Some(_) => Vec::new(),
        None => groups(group).filter(|(.., members)| member(members)).map(|(_, gid, _)| gid).collect(),
    };
    supplementary.retain(|gid| *gid <= HIGHEST);
    supplementary.sort_unstable();
    supplementary.dedup();
    if uid > HIGHEST || gid > HIGHEST {
        return Err(refuse(format!("its ids are above {HIGHEST}")));
    }
    Ok(User { uid, gid, groups: supplementary, home: home.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:33:34:w:/var/www:/bin/sh\nbroken\nbig:x:99999:1::/:";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,root\nwww:x:34:\nssl:x:7:web\n";

    fn user(text: &str) -> Option<(u32, u32, Vec<u32>, String)> {
        resolve(text, PASSWD, GROUP).ok().map(|user| (user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(user(""), Some((0, 0, vec![4], "/root".into())));
        assert_eq!(user("web"), Some((33, 34, vec![4, 7], "/var/www".into())));
        assert_eq!(user("33"), user("web"));
        assert_eq!(user("web:adm"), Some((33, 4, vec![], "/var/www".into())));
        assert_eq!(user("1234:5"), Some((1234, 5, vec![], "/".into())));
    }

    #[test]
    fn what_does_not_fit_is_refused_not_guessed() {
        for bad in ["nobody-here", "70000", "99999999999", "web:none", "web:70000", "big", "web:"] {
            assert_eq!(user(bad), None, "{bad}");
        }
    }
}
