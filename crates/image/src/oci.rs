// SPDX-License-Identifier: Apache-2.0
//! `oci:`: an image in an OCI image layout (image-spec 1.1), as umoci, skopeo and buildah write them.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use spec::image::Config;

use crate::Progress;
use crate::archive::{self, hex};
use crate::error::{At, Error, Result};
use crate::layers::Layers;
use crate::unpack::Meaning;

/// The most bytes of a document, layers of an image, and indexes within indexes.
const DOCUMENT: u64 = 4 << 20;
const LAYERS: usize = 500;
const NESTING: usize = 4;

/// The annotation that holds a manifest's name.
const NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Config>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An image that was found, its layers in the store.
pub(crate) struct Found {
    pub(crate) digest: String,
    pub(crate) config: Config,
    /// Top first.
    pub(crate) lowers: Vec<PathBuf>,
}

/// A layout: a directory that is looked up in, and not trusted.
struct Layout {
    root: OwnedFd,
    path: String,
}

pub(crate) fn prepare(layers: &Layers, path: &str, tag: Option<&str>, progress: &mut dyn Progress) -> Result<Found> {
    let layout = Layout::open(path)?;
    let manifest = layout.manifest(tag)?;
    let digest = manifest.digest.clone();
    let manifest: Manifest = layout.document(&manifest)?;
    let configuration: Configuration = layout.document(&manifest.config)?;
    let diffs = &configuration.rootfs.diff_ids;
    if diffs.len() != manifest.layers.len() || diffs.len() > LAYERS {
        return Err(Error::new(format!(
            "{path}: {} layers, but {} digests of their content",
            manifest.layers.len(),
            diffs.len()
        )));
    }
    if diffs.is_empty() {
        return Err(
            Error::new(format!("{path}: the image has no layers")).hint("it is not an image of a root file system")
        );
    }
    let mut lowers = Vec::with_capacity(diffs.len());
    for (number, (layer, diff)) in manifest.layers.iter().zip(diffs).enumerate() {
        progress.stage(&format!("unpack layer {} of {}", number + 1, diffs.len()));
        lowers.push(layout.layer(layers, layer, diff, progress)?);
    }
    lowers.reverse();
    // The same layer twice says nothing the second time, and overlayfs refuses it.
    let mut seen = std::collections::BTreeSet::new();
    lowers.retain(|lower| seen.insert(lower.clone()));
    Ok(Found { digest, config: configuration.config.unwrap_or_default(), lowers })
}

/// The digits of a digest: nothing else may become part of a path.
fn digits(digest: &str) -> Result<&str> {
    let digits = digest.strip_prefix("sha256:").filter(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    digits.ok_or_else(|| Error::new(format!("malformed digest {digest:?}")).hint("only sha256 is known"))
}

impl Layout {
    fn open(path: &str) -> Result<Self> {
        let hint = "name a directory with oci-layout and index.json in it";
        let root = kernel::root::open_directory_path(path.as_ref())
            .map_err(|error| Error::new(format!("open image layout {path}")).because(error).hint(hint))?;
        let layout = Self { root, path: path.to_owned() };
        if layout.read("oci-layout", DOCUMENT).is_err() {
            return Err(Error::new(format!("{path} is not an image layout")).hint(hint));
        }
        Ok(layout)
    }

    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let fd = kernel::fs::open_plain(&self.root, name).at(|| format!("open {}/{name}", self.path))?;
        let mut bytes = Vec::new();
        std::fs::File::from(fd).take(most + 1).read_to_end(&mut bytes).at(|| format!("read {}/{name}", self.path))?;
        match bytes.len() as u64 > most {
            true => Err(Error::new(format!("{}/{name} is larger than {most} bytes", self.path))),
            false => Ok(bytes),
        }
    }

    /// A document by its digest, which its bytes must have.
    fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let digits = digits(&descriptor.digest)?;
        let bytes = self.read(&format!("blobs/sha256/{digits}"), DOCUMENT)?;
        if bytes.len() as u64 != descriptor.size || hex(&Sha256::digest(&bytes)) != digits {
            return Err(damaged(&descriptor.digest));
        }
        serde_json::from_slice(&bytes).at(|| format!("understand {}", descriptor.digest))
    }

    /// The manifest with this name; without a name, the only one.
    fn manifest(&self, tag: Option<&str>) -> Result<Descriptor> {
        let text = self.read("index.json", DOCUMENT)?;
        let index: Index = serde_json::from_slice(&text).at(|| format!("understand {}/index.json", self.path))?;
        let named: Vec<&Descriptor> = match tag {
            Some(tag) => {
                index.manifests.iter().filter(|one| one.annotations.get(NAME).is_some_and(|name| name == tag)).collect()
            }
            None => index.manifests.iter().collect(),
        };
        match named.as_slice() {
            [one] => self.native((*one).clone(), 0),
            several => {
                let names: Vec<&str> =
                    index.manifests.iter().filter_map(|one| one.annotations.get(NAME)).map(String::as_str).collect();
                let what = match (tag, several.len()) {
                    (Some(tag), 0) => format!("{} has no image {tag:?}", self.path),
                    (Some(tag), _) => format!("{} has more than one image {tag:?}", self.path),
                    (None, 0) => format!("{} has no image", self.path),
                    (None, count) => format!("{} has {count} images", self.path),
                };
                Err(Error::new(what).hint(format!("name one of: {}", names.join(" "))))
            }
        }
    }

    /// Of an index of platforms, the manifest of this machine's.
    fn native(&self, descriptor: Descriptor, depth: usize) -> Result<Descriptor> {
        if !descriptor.media_type.ends_with("image.index.v1+json") && !descriptor.media_type.contains("manifest.list") {
            return Ok(descriptor);
        }
        let index: Index = self.document(&descriptor)?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let is_native = |one: &&Descriptor| {
            one.platform
                .as_ref()
                .is_some_and(|platform| platform.architecture == architecture && platform.os == "linux")
        };
        let native = index.manifests.iter().find(is_native).or(match index.manifests.as_slice() {
            [one] if one.platform.is_none() => Some(one),
            _ => None,
        });
        match native {
            Some(one) if depth < NESTING => self.native(one.clone(), depth + 1),
            _ => Err(Error::new(format!("{}: the image is not made for {architecture}", self.path))),
        }
    }

    fn layer(&self, layers: &Layers, layer: &Descriptor, diff: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        let (wanted, diff) = (digits(&layer.digest)?, digits(diff)?);
        layers.get_or_make(&format!("sha256-{diff}"), |directory| {
            let name = format!("blobs/sha256/{wanted}");
            let blob = kernel::fs::open_plain(&self.root, &name).at(|| format!("open {}/{name}", self.path))?;
            let size = kernel::fs::look_fd(&blob).at(|| format!("look at {name}"))?.size;
            if size != layer.size {
                return Err(damaged(&layer.digest));
            }
            let digests = archive::feed(std::fs::File::from(blob), Some(size), directory, Meaning::Layer, progress)?;
            match digests.stored == wanted && digests.plain == diff {
                true => Ok(()),
                false => Err(damaged(&layer.digest)),
            }
        })
    }
}

fn damaged(digest: &str) -> Error {
    Error::new(format!("{digest}: its content has another digest")).hint("the image is damaged: get it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_become_paths() {
        assert!(digits(&format!("sha256:{}", "a".repeat(64))).is_ok());
        for bad in [
            "sha256:../../x",
            "sha256:",
            "md5:aa",
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}/", "a".repeat(63)),
        ] {
            assert!(digits(bad).is_err(), "{bad}");
        }
    }
}
