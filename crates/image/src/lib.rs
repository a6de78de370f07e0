// SPDX-License-Identifier: Apache-2.0
//! From a reference to the layers of a root file system and the configuration that goes with them.

mod archive;
mod bootstrap;
mod compression;
mod error;
mod host;
mod layers;
mod oci;
mod unpack;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::image::Config;
use spec::reference::Reference;

pub use error::Error;
use error::Result;
use layers::Layers;

/// A part of a root file system: layers that are mounted one over the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Where inside: `/` for the first.
    pub target: PathBuf,
    /// The layers, top first, as directories of the host.
    pub lowers: Vec<PathBuf>,
}

/// Hears how long work goes on.
pub trait Progress {
    /// Something else begins.
    fn stage(&mut self, what: &str);

    /// So many bytes are done, of so many if that is known.
    fn advance(&mut self, done: u64, total: Option<u64>);
}

/// An image, ready to be mounted.
#[derive(Debug, Clone)]
pub struct Image {
    /// How it was named.
    pub reference: Reference,
    /// Digest of its manifest, when it has one.
    pub digest: Option<String>,
    /// How it wants to be run.
    pub config: Config,
    /// The parts of its root file system, `/` first.
    pub trees: Vec<Tree>,
}

/// The images of a store.
#[derive(Debug)]
pub struct Images {
    layers: Layers,
}

impl Images {
    /// Those of the store at `root`; nothing is made yet.
    ///
    /// # Errors
    /// None today.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { layers: Layers::new(root) })
    }

    /// The image that the reference means, with its layers in the store.
    ///
    /// # Errors
    /// Why it can not be had; nothing half made is left.
    pub fn prepare(&self, reference: &Reference, use_as: Use, progress: &mut dyn Progress) -> Result<Image> {
        let root = |lowers: Vec<PathBuf>| vec![Tree { target: "/".into(), lowers }];
        let (trees, config, digest) = match reference {
            Reference::Host => {
                let (trees, config) = host::prepare(&self.layers)?;
                (trees, config, None)
            }
            Reference::Dir(path) => (root(vec![directory(path)?]), shell(), None),
            Reference::Tar(path) => (root(vec![archive::prepare(&self.layers, path, progress)?]), shell(), None),
            Reference::Oci { path, tag } => {
                let found = oci::prepare(&self.layers, path, tag.as_deref(), progress)?;
                (root(found.lowers), found.config, Some(found.digest))
            }
            Reference::Bootstrap { distribution, suite } => {
                let made = bootstrap::prepare(&self.layers, (distribution, suite), use_as, progress)?;
                (root(vec![made]), shell(), None)
            }
        };
        Ok(Image { reference: reference.clone(), digest, config, trees })
    }

    /// Removes what nobody is making any more; says what.
    ///
    /// # Errors
    /// What can not be removed.
    pub fn repair(&self) -> Result<Vec<String>> {
        self.layers.repair()
    }
}

/// What an image that is made here is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Single programs: the smallest that its packages can be installed into.
    Program,
    /// A whole system: with an init, logins and the network's tools.
    System,
}

/// What runs in an image that says nothing.
fn shell() -> Config {
    Config { cmd: Some(vec!["/bin/sh".to_owned()]), ..Config::default() }
}

fn directory(path: &str) -> Result<PathBuf> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(path.into()),
        Ok(_) => Err(Error::new(format!("{path} is not a directory")).hint(format!("for an archive write tar:{path}"))),
        Err(error) => {
            Err(Error::new(format!("cannot open {path}")).because(error).hint("name a directory that is there"))
        }
    }
}
