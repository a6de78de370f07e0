// SPDX-License-Identifier: Apache-2.0
//! The trees of the root file system: overlays of read-only layers, shown with shifted ids, below a writable one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kernel::mount::{self, Depth, Parameter};
use kernel::types::attr;
use kernel::{Errno, Result};
use plan::Tree;

/// Mounts the tree, detached. `userns` shifts the ids of its layers.
///
/// Where the file system of a layer can not be id-mapped, its files keep their owners, whom nobody inside is: they can
/// be read as far as everybody may read them.
pub(crate) fn mount(tree: &Tree, userns: Option<&OwnedFd>) -> Result<OwnedFd> {
    let layers = tree.lowers.iter().map(|path| layer(path, userns)).collect::<Result<Vec<_>>>()?;
    let upper = kernel::root::open_directory_path(&tree.upper)?;
    let work = kernel::root::open_directory_path(&tree.work)?;
    let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(layers.len() + 4);
    parameters.push(Parameter::Text("source", "cella"));
    parameters.extend(layers.iter().map(|layer| Parameter::Fd("lowerdir+", layer.directory.as_fd())));
    parameters.push(Parameter::Fd("upperdir", upper.as_fd()));
    parameters.push(Parameter::Fd("workdir", work.as_fd()));
    if tree.volatile {
        parameters.push(Parameter::Flag("volatile"));
    }
    mount::new("overlay", &parameters, attr::NODEV)
}

/// Mounts the tree of a container that does not run, detached, as its users see it.
///
/// # Errors
/// mount_setattr(2)'s, or those of the new mount.
pub fn mount_tree(tree: &Tree, userns: &OwnedFd) -> Result<OwnedFd> {
    mount(tree, Some(userns))
}

/// A detached mount lives as long as the descriptor that came with it; overlayfs takes an ordinary one of its root.
struct Layer {
    _mount: OwnedFd,
    directory: OwnedFd,
}

fn layer(path: &Path, userns: Option<&OwnedFd>) -> Result<Layer> {
    let copy = mount::clone(path, false)?;
    mount::set_attributes(&copy, attr::RDONLY, 0, Depth::One)?;
    if let Some(userns) = userns {
        match mount::idmap(&copy, userns, Depth::One) {
            Err(error) if error.is(Errno::INVAL) || error.is(Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    let directory = kernel::root::open_directory(&copy, ".")?;
    Ok(Layer { _mount: copy, directory })
}
