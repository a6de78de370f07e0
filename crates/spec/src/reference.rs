// SPDX-License-Identifier: Apache-2.0
//! Which image: a transport and what it carries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Invalid, nearest};

/// The distributions that can be bootstrapped.
pub const DISTRIBUTIONS: &[&str] = &["debian", "ubuntu"];

/// The words that may stand before the first colon.
pub const TRANSPORTS: &[&str] = &["host", "dir", "tar", "oci", "bootstrap"];

/// Which image. Paths are absolute; where they were written relative, the command line has completed them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// `host`: this machine's own userland.
    Host,
    /// `dir:/path`: a directory that is a root file system.
    Dir(String),
    /// `tar:/path`: an archive of one.
    Tar(String),
    /// `oci:/layout[:tag]`: an image in an OCI image layout; the only one without a tag.
    Oci {
        /// The layout's directory.
        path: String,
        /// Its name in the index.
        tag: Option<String>,
    },
    /// `bootstrap:distribution/suite`: made from the distribution's packages.
    Bootstrap {
        /// One of [`DISTRIBUTIONS`].
        distribution: String,
        /// Its release, e.g. `bookworm`.
        suite: String,
    },
}

impl FromStr for Reference {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |reason: &str| {
            Invalid::new("image", text, reason)
                .hint("write host, dir:/PATH, tar:/PATH, oci:/LAYOUT[:TAG] or bootstrap:debian/SUITE")
        };
        if text == "host" {
            return Ok(Self::Host);
        }
        let Some((transport, rest)) = text.split_once(':') else {
            let near = nearest(text, TRANSPORTS.iter().copied());
            return Err(near.map_or_else(
                || refuse("it has no transport"),
                |near| refuse("it has no transport").hint(format!("did you mean {near}?")),
            ));
        };
        match transport {
            "dir" => Ok(Self::Dir(path(rest, &refuse)?)),
            "tar" => Ok(Self::Tar(path(rest, &refuse)?)),
            "oci" => match rest.rsplit_once(':') {
                Some((layout, tag)) if !tag.contains('/') => {
                    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-+@".contains(c);
                    if tag.is_empty() || tag.len() > 128 || !tag.chars().all(is_plain) {
                        return Err(refuse("the tag has characters that no tag has"));
                    }
                    Ok(Self::Oci { path: path(layout, &refuse)?, tag: Some(tag.to_owned()) })
                }
                _ => Ok(Self::Oci { path: path(rest, &refuse)?, tag: None }),
            },
            "bootstrap" => bootstrap(rest, &refuse),
            _ => Err(match nearest(transport, TRANSPORTS.iter().copied()) {
                Some(near) => refuse("unknown transport").hint(format!("did you mean {near}:{rest}?")),
                None => refuse("unknown transport"),
            }),
        }
    }
}

/// An absolute path without a line break or a null byte in it.
fn path(text: &str, refuse: &impl Fn(&str) -> Invalid) -> Result<String, Invalid> {
    match text {
        "" => Err(refuse("it has no path")),
        text if !text.starts_with('/') => Err(refuse("the path is not absolute")),
        text if text.contains(['\0', '\n', '\r']) => Err(refuse("the path has a line break in it")),
        text => Ok(text.to_owned()),
    }
}

/// `distribution/suite`.
fn bootstrap(text: &str, refuse: &impl Fn(&str) -> Invalid) -> Result<Reference, Invalid> {
    let (distribution, suite) =
        text.split_once('/').ok_or_else(|| refuse("it has no suite").hint("write bootstrap:debian/bookworm"))?;
    if !DISTRIBUTIONS.contains(&distribution) {
        return Err(refuse("unknown distribution").hint(format!("distributions are: {}", DISTRIBUTIONS.join(" "))));
    }
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if suite.is_empty() || suite.len() > 32 || !suite.bytes().all(is_plain) {
        return Err(refuse("the suite is not a word of small letters").hint("write bootstrap:debian/bookworm"));
    }
    Ok(Reference::Bootstrap { distribution: distribution.to_owned(), suite: suite.to_owned() })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Dir(path) => write!(f, "dir:{path}"),
            Self::Tar(path) => write!(f, "tar:{path}"),
            Self::Oci { path, tag: None } => write!(f, "oci:{path}"),
            Self::Oci { path, tag: Some(tag) } => write!(f, "oci:{path}:{tag}"),
            Self::Bootstrap { distribution, suite } => write!(f, "bootstrap:{distribution}/{suite}"),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_there_and_back() {
        for text in
            ["host", "dir:/a/b", "tar:/a.tar.gz", "oci:/a", "oci:/a:v1.2", "oci:/a:b/c", "bootstrap:debian/bookworm"]
        {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!(
            "oci:/a:b".parse::<Reference>().unwrap(),
            Reference::Oci { path: "/a".into(), tag: Some("b".into()) }
        );
    }

    #[test]
    fn are_refused() {
        for text in [
            "",
            "hots",
            "dir:",
            "dir:a",
            "oci:/a:",
            "oci:/a:b c",
            "bootstrap:debian",
            "bootstrap:arch/x",
            "zip:/a",
            "bootstrap:debian/../x",
            "tar:/a\nb",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert_eq!("hots".parse::<Reference>().unwrap_err().hint.unwrap(), "did you mean host?");
    }
}
