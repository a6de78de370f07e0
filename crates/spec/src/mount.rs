// SPDX-License-Identifier: Apache-2.0
//! Mounts as people ask for them: `-v`, `--mount`, `--tmpfs`.

use serde::{Deserialize, Serialize};

use crate::error::{Invalid, nearest};
use crate::size::parse_bytes;

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Kind {
    /// A file or directory of the host.
    Bind {
        /// Its absolute path on the host.
        source: String,
        /// Mounts below it come along.
        recursive: bool,
    },
    /// A named volume, kept in the store.
    Volume {
        /// Its name; `None` makes one that goes with the container.
        name: Option<crate::Name>,
    },
    /// Memory.
    Tmpfs {
        /// Its size in bytes.
        size: Option<u64>,
        /// Mode of its root, e.g. 0o1777.
        mode: Option<u32>,
    },
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
    /// Where inside: absolute.
    pub target: String,
    /// Not writable.
    #[serde(default)]
    pub read_only: bool,
    /// Ids are shifted so that root inside owns what root owns outside (`idmap`), or left as they are.
    #[serde(default)]
    pub idmap: bool,
    /// Programs may be run from it.
    #[serde(default = "yes")]
    pub exec: bool,
    /// Device nodes work on it.
    #[serde(default)]
    pub dev: bool,
    /// Set-user-id programs work on it.
    #[serde(default)]
    pub suid: bool,
    /// `private`, `slave`, `shared`, with or without a leading `r`.
    #[serde(default)]
    pub propagation: Option<String>,
}

fn yes() -> bool {
    true
}

impl Mount {
    fn new(kind: Kind, target: &str) -> Result<Self, Invalid> {
        check_target(target)?;
        let target = target.to_owned();
        Ok(Self {
            kind,
            target,
            read_only: false,
            idmap: false,
            exec: true,
            dev: false,
            suid: false,
            propagation: None,
        })
    }

    /// `-v [SOURCE:]TARGET[:OPTIONS]`: an absolute source is a path, any other a volume's name.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse_volume(text: &str) -> Result<Self, Invalid> {
        let refuse =
            |reason: &str| Invalid::new("volume", text, reason).hint("write /on/the/host:/inside[:ro] or NAME:/inside");
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, options] => (Some(*source), *target, *options),
            _ => return Err(refuse("it has more than three parts")),
        };
        let kind = match source {
            None => Kind::Volume { name: None },
            Some(path) if path.starts_with('/') => Kind::Bind { source: path.to_owned(), recursive: true },
            Some(path) if path.starts_with('.') || path.contains('/') => {
                return Err(refuse("the source is neither an absolute path nor a volume's name"));
            }
            Some(name) => Kind::Volume { name: Some(name.parse()?) },
        };
        let mut mount = Self::new(kind, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount.option(option).map_err(|reason| refuse(&reason))?;
        }
        Ok(mount)
    }

    fn option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "idmap" => self.idmap = true,
            "exec" => self.exec = true,
            "noexec" => self.exec = false,
            "dev" => self.dev = true,
            "nodev" => self.dev = false,
            "suid" => self.suid = true,
            "nosuid" => self.suid = false,
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                self.propagation = Some(option.to_owned());
            }
            // A label is only ever shared or private to the container: without SELinux there is nothing to do.
            "z" | "Z" => {}
            other => {
                let known = ["ro", "rw", "idmap", "noexec", "nodev", "nosuid", "rprivate", "rslave", "rshared"];
                let near = nearest(other, known).map(|near| format!("; did you mean {near:?}?"));
                return Err(format!("unknown option {other:?}{}", near.unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// `--tmpfs TARGET[:size=64m,mode=1777,ro,noexec,…]`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse_tmpfs(text: &str) -> Result<Self, Invalid> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut mount = Self::new(Kind::Tmpfs { size: None, mode: None }, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount.tmpfs_option(text, option)?;
        }
        Ok(mount)
    }

    fn tmpfs_option(&mut self, text: &str, option: &str) -> Result<(), Invalid> {
        let refuse = |reason: String| Invalid::new("tmpfs", text, reason);
        let Kind::Tmpfs { size, mode } = &mut self.kind else { return Ok(()) };
        match option.split_once('=') {
            Some(("size" | "tmpfs-size", value)) => *size = Some(parse_bytes("tmpfs size", value)?),
            Some(("mode" | "tmpfs-mode", value)) => {
                let parsed = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                *mode = Some(parsed.ok_or_else(|| refuse(format!("mode {value:?} is not an octal mode")))?);
            }
            _ => self.option(option).map_err(refuse)?,
        }
        Ok(())
    }

    /// `--mount type=bind,source=/a,target=/b,readonly`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse_long(text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: String| {
            Invalid::new("mount", text, reason).hint("write type=bind,source=/on/the/host,target=/inside[,readonly]")
        };
        let (mut kind, mut source, mut target) = ("volume", None, None);
        let mut rest = Vec::new();
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = value,
                Some(("source" | "src", value)) => source = Some(value),
                Some(("target" | "destination" | "dst", value)) => target = Some(value),
                _ => rest.push(field),
            }
        }
        let target = target.ok_or_else(|| refuse("it has no target".to_owned()))?;
        let kind = match (kind, source) {
            ("bind", Some(path)) if path.starts_with('/') => Kind::Bind { source: path.to_owned(), recursive: true },
            ("bind", _) => return Err(refuse("a bind mount needs an absolute source".to_owned())),
            ("volume", None) => Kind::Volume { name: None },
            ("volume", Some(name)) => Kind::Volume { name: Some(name.parse()?) },
            ("tmpfs", None) => Kind::Tmpfs { size: None, mode: None },
            ("tmpfs", Some(_)) => return Err(refuse("a tmpfs has no source".to_owned())),
            (other, _) => return Err(refuse(format!("unknown type {other:?} (bind, volume, tmpfs)"))),
        };
        let mut mount = Self::new(kind, target)?;
        for field in rest {
            mount.long_field(text, field)?;
        }
        Ok(mount)
    }

    fn long_field(&mut self, text: &str, field: &str) -> Result<(), Invalid> {
        let refuse = |reason: String| Invalid::new("mount", text, reason);
        match field.split_once('=') {
            None => return self.tmpfs_option_or(text, field),
            Some(("readonly" | "ro", "true" | "1")) => self.read_only = true,
            Some(("readonly" | "ro", "false" | "0")) => self.read_only = false,
            Some(("idmap", "true" | "1")) => self.idmap = true,
            Some(("bind-propagation" | "propagation", value)) => self.option(value).map_err(refuse)?,
            Some(("bind-recursive" | "bind-nonrecursive", value)) => {
                let wanted =
                    matches!((field.starts_with("bind-non"), value), (false, "enabled" | "true") | (true, "false"));
                if let Kind::Bind { recursive, .. } = &mut self.kind {
                    *recursive = wanted;
                }
            }
            Some(("tmpfs-size" | "tmpfs-mode" | "size" | "mode", _)) if matches!(self.kind, Kind::Tmpfs { .. }) => {
                self.tmpfs_option(text, field)?;
            }
            Some((key, _)) => return Err(refuse(format!("unknown field {key:?}"))),
        }
        Ok(())
    }

    fn tmpfs_option_or(&mut self, text: &str, field: &str) -> Result<(), Invalid> {
        self.option(field).map_err(|reason| Invalid::new("mount", text, reason))
    }
}

/// A place inside: absolute, without `..`, not the root itself.
///
/// # Errors
/// Why it is refused.
pub fn check_target(target: &str) -> Result<(), Invalid> {
    let refuse = |reason: &str| Err(Invalid::new("mount target", target, reason));
    match target {
        _ if !target.starts_with('/') => refuse("it is not an absolute path"),
        _ if target.split('/').any(|part| part == "..") => refuse("it has a .. in it"),
        _ if target.split('/').all(|part| part.is_empty() || part == ".") => refuse("it is the root itself"),
        _ if target.contains(['\0', '\n']) => refuse("it has a line break or a zero byte"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_docker_writes_them() {
        let mount = Mount::parse_volume("/data:/srv:ro,noexec").unwrap();
        assert_eq!(mount.kind, Kind::Bind { source: "/data".into(), recursive: true });
        assert!(mount.read_only && !mount.exec && mount.target == "/srv");
        assert_eq!(Mount::parse_volume("db:/var").unwrap().kind, Kind::Volume { name: Some("db".parse().unwrap()) });
        assert_eq!(Mount::parse_volume("/cache").unwrap().kind, Kind::Volume { name: None });
        for bad in ["", "a", "/a:b", "./a:/b", "/a:/b:r0", "/a:/b:ro:x", "/a:/../b", "/a:/", "../x:/b"] {
            assert!(Mount::parse_volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_mounts() {
        let mount = Mount::parse_long("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        assert_eq!(mount.kind, Kind::Tmpfs { size: Some(1 << 20), mode: Some(0o700) });
        let mount = Mount::parse_long("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert!(mount.read_only && mount.propagation.as_deref() == Some("rslave"));
        for bad in ["target=/a,type=nfs", "type=bind,target=/b", "type=bind,source=/a", "type=tmpfs,target=/a,mode=9"] {
            assert!(Mount::parse_long(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let mount = Mount::parse_tmpfs("/run:size=64k,mode=755,noexec").unwrap();
        assert_eq!(mount.kind, Kind::Tmpfs { size: Some(65536), mode: Some(0o755) });
        assert!(!mount.exec);
    }
}
