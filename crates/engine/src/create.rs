// SPDX-License-Identifier: Apache-2.0
//! Makes a container: all that is checked first, then its directory beside the others, then its name at once.

use std::path::Path;

use kernel::Errno;
use spec::Name;
use spec::definition::{Definition, Network, Share};
use spec::mount::{Kind as MountKind, Mount};
use spec::signal::Signal;

use crate::error::{Doing, Error, Kind, Result};
use crate::ids::Ranges;
use crate::names;
use crate::record::{Ids, Record};
use crate::seed;
use crate::store::{Found, Store};
use crate::system;

/// How many names of ours are tried.
const ATTEMPTS: usize = 16;

/// A container that was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: Name,
    /// What its user should know.
    pub warnings: Vec<String>,
}

pub(crate) fn create(
    store: &Store,
    name: Option<Name>,
    definition: Definition,
    progress: &mut dyn image::Progress,
) -> Result<Created> {
    check(&definition)?;
    crate::network::exist(store, &definition)?;
    if let Some(name) = &name {
        refuse_taken(store, name)?;
    }
    let sharing = sharing(store, &definition)?;
    store.make()?;
    store.sweep()?;
    let record = record(store, definition, sharing, progress)?;
    crate::compose::arguments(&record)?;
    let (id, warnings) = (record.id.clone(), warnings(&record));
    let name = make(store, name, record).doing(|| "create the container")?;
    store.events().append("create", &id, name.as_str(), &[])?;
    Ok(Created { id, name, warnings })
}

/// What can be said before anything is looked at.
pub(crate) fn check(definition: &Definition) -> Result<()> {
    definition.limits.check()?;
    system::check(definition)?;
    if let Some(hostname) = &definition.hostname {
        spec::name::check_hostname(hostname)?;
    }
    if let Some(domain) = &definition.domainname {
        spec::name::check_hostname(domain)?;
    }
    if let Some(workdir) = definition.workdir.as_ref().filter(|path| !path.starts_with('/')) {
        let message = format!("invalid working directory {workdir:?}: it is not an absolute path");
        return Err(Error::new(Kind::Invalid, message));
    }
    crate::network::check(definition)?;
    for mount in &definition.mounts {
        check_source(mount)?;
    }
    let mut targets: Vec<&str> = definition.mounts.iter().map(|mount| mount.target.trim_end_matches('/')).collect();
    targets.sort_unstable();
    if let Some(pair) = targets.windows(2).find(|pair| pair.first() == pair.get(1)) {
        let message = format!("two mounts have the target {:?}", pair.first().copied().unwrap_or_default());
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(())
}

fn check_source(mount: &Mount) -> Result<()> {
    let MountKind::Bind { source, .. } = &mount.kind else { return Ok(()) };
    if kernel::file::exists(Path::new(source)) {
        return Ok(());
    }
    let message = format!("cannot mount {source} at {}: there is no {source}", mount.target);
    Err(Error::new(Kind::Invalid, message).hint(format!("make it first (mkdir -p {source}), or name a volume")))
}

fn refuse_taken(store: &Store, name: &Name) -> Result<()> {
    if !store.directory(name).exists() {
        return Ok(());
    }
    let message = format!("the name {name} is taken by another container");
    Err(Error::new(Kind::Conflict, message)
        .hint(format!("remove it (cella rm {name}), rename it, or choose another name")))
}

/// The container whose user namespace this one shares, because it shares another namespace of it.
pub(crate) fn sharing(store: &Store, definition: &Definition) -> Result<Option<Found>> {
    let wanted = &definition.namespaces;
    let shares = [&wanted.user, &wanted.pid, &wanted.ipc, &wanted.uts, &wanted.cgroup];
    let mut names: Vec<&str> = shares
        .into_iter()
        .filter_map(|share| match share {
            Share::Container(name) => Some(name.as_str()),
            Share::Private | Share::Host => None,
        })
        .collect();
    if let Network::Container(name) = &wanted.network {
        names.push(name);
    }
    let found = names.into_iter().map(|name| store.find(name)).collect::<Result<Vec<_>>>()?;
    let mut owners = found.into_iter();
    let Some(first) = owners.next() else { return Ok(None) };
    let same = |other: &Found| other.record.ids.map(|ids| ids.base) == first.record.ids.map(|ids| ids.base);
    match owners.find(|other| !same(other)) {
        Some(other) => {
            let message =
                format!("cannot share namespaces of {} and of {}: they have different ids", first.name, other.name);
            Err(Error::new(Kind::Invalid, message).hint("share with one container only"))
        }
        None => Ok(Some(first)),
    }
}

/// Everything settled but the ids.
pub(crate) fn record(
    store: &Store,
    definition: Definition,
    sharing: Option<Found>,
    progress: &mut dyn image::Progress,
) -> Result<Record> {
    let use_as = if definition.system.is_some() { image::Use::System } else { image::Use::Program };
    let images = image::Images::open(&store.place.root).map_err(|error| of_image(&definition, &error))?;
    let image = images.prepare(&definition.image, use_as, progress).map_err(|error| of_image(&definition, &error))?;
    if let Some(signal) = &image.config.stop_signal {
        signal.parse::<Signal>().doing(|| format!("use image {}", definition.image))?;
    }
    let mut definition = definition;
    system::complete(&mut definition);
    let init = match (&definition.system, image.trees.first()) {
        (Some(_), Some(tree)) if definition.command.is_empty() => {
            Some(system::find_init(&seed::image_root(tree)?, &definition.image.to_string())?)
        }
        _ => None,
    };
    let id = names::new_id();
    let volumes = name_volumes(&mut definition, &image.config, &id)?;
    let ids = match (sharing, &definition.namespaces.user) {
        (_, Share::Host) => None,
        (Some(owner), _) => owner.record.ids.map(|ids| Ids { own: false, ..ids }),
        // Which ones is settled when they are taken.
        (None, _) => {
            let nesting = definition.system.as_ref().is_some_and(|system| system.nesting);
            Some(Ids { base: Ranges::ANY, count: store.ranges.count(nesting), own: true })
        }
    };
    Ok(Record {
        version: Record::VERSION,
        id,
        created: spec::timestamp::format(kernel::time::now_ns()),
        definition,
        digest: image.digest,
        config: image.config,
        init,
        trees: image.trees,
        ids,
        volumes,
    })
}

fn of_image(definition: &Definition, error: &image::Error) -> Error {
    let mut message = format!("cannot use image {}: {error}", definition.image);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Error { kind: Kind::Own, message, hint: error.advice() }
}

/// Gives unnamed volumes names: those asked for, and those that the image declares where nothing else is mounted.
fn name_volumes(definition: &mut Definition, config: &spec::image::Config, id: &str) -> Result<Vec<String>> {
    for target in config.volumes.iter().flat_map(|volumes| volumes.keys()) {
        spec::mount::check_target(target)?;
        let is_target = |mount: &Mount| mount.target.trim_end_matches('/') == target.trim_end_matches('/');
        if !definition.mounts.iter().any(is_target) {
            definition.mounts.push(Mount::parse_volume(target)?);
        }
    }
    let mut made = Vec::new();
    for mount in &mut definition.mounts {
        if let MountKind::Volume { name: name @ None } = &mut mount.kind {
            let text = format!("{}-{}", id.get(..32).unwrap_or(id), made.len());
            *name = Some(text.parse()?);
            made.push(text);
        }
    }
    Ok(made)
}

/// Makes the directory, completes it, and gives it its name; on failure all of it goes again.
fn make(store: &Store, name: Option<Name>, mut record: Record) -> Result<Name> {
    let (path, lock) = store.begin(&record.id)?;
    let done = fill(store, &path, name.as_ref(), &mut record).and_then(|()| publish(store, &path, name, &record));
    if done.is_err() {
        // The first failure is what the user needs to hear; what can not be undone now, the next sweep undoes.
        store.undo(&record).ok();
    }
    drop(lock);
    done
}

fn fill(store: &Store, path: &Path, name: Option<&Name>, record: &mut Record) -> Result<()> {
    if let Some(ids) = record.ids.as_mut().filter(|ids| ids.own) {
        ids.base = store.ranges.allocate(&record.id, ids.count)?;
    }
    let base = record.ids.map_or(0, |ids| ids.base);
    for kind in ["upper", "work"] {
        kernel::file::make_new_directory(&path.join(kind), 0o700)?;
    }
    for (index, tree) in record.trees.iter().enumerate() {
        let (uid, gid, mode) = top(tree)?;
        let upper = path.join("upper").join(index.to_string());
        kernel::file::make_new_directory(&upper, mode)?;
        kernel::file::set_owner(&upper, base + uid, base + gid)?;
        kernel::file::make_new_directory(&path.join("work").join(index.to_string()), 0o700)?;
    }
    // Written before the volumes are made: whoever finds it half done knows which they are.
    record.write(path, !record.definition.remove)?;
    for mount in &record.definition.mounts {
        if let MountKind::Volume { name: Some(name) } = &mount.kind {
            kernel::file::make_directory(&store.volumes(), 0o711)?;
            kernel::file::make_directory(&store.volumes().join(name.as_str()), 0o755)?;
        }
    }
    introduce(path, name, record)
}

/// Tells a new system who it is.
fn introduce(path: &Path, name: Option<&Name>, record: &Record) -> Result<()> {
    let (Some(_), Some(ids)) = (&record.definition.system, record.ids) else { return Ok(()) };
    // Whose name is still to be found is called by the one that it most probably gets.
    let name = name.cloned().or_else(|| names::name_for(&record.id, 0));
    let (Some(tree), Some(name)) = (crate::compose::trees(record, path).into_iter().next(), name) else {
        return Ok(());
    };
    let found = Found { name, record: record.clone() };
    match seed::Files::of(&tree, ids)? {
        Some(files) => files.introduce(&found).doing(|| "write its name into /etc"),
        None => Ok(()),
    }
}

/// Owner and mode of the topmost layer's root directory: the upper layer's must be the same.
fn top(tree: &image::Tree) -> Result<(u32, u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let Some(path) = tree.lowers.first() else { return Ok((0, 0, 0o755)) };
    let found = kernel::Call::call(std::fs::metadata(path), || format!("stat({path:?})"))?;
    let inside = |id: u32| if id < crate::ids::COUNT { id } else { 0 };
    Ok((inside(found.uid()), inside(found.gid()), found.mode() & 0o7777))
}

fn publish(store: &Store, path: &Path, name: Option<Name>, record: &Record) -> Result<Name> {
    let attempts = if name.is_some() { 1 } else { ATTEMPTS };
    for attempt in 0..attempts {
        let candidate = name.clone().or_else(|| names::name_for(&record.id, attempt));
        let Some(candidate) = candidate else { continue };
        match kernel::file::rename_new(path, &store.directory(&candidate)) {
            Ok(()) => {
                if !record.definition.remove {
                    kernel::file::sync_directory(&store.containers())?;
                }
                return Ok(candidate);
            }
            Err(error) if error.is(Errno::EXIST) => refuse_taken(store, &candidate).or_else(|error| match name {
                Some(_) => Err(error),
                None => Ok(()),
            })?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::new(Kind::Conflict, "no name is free").hint("give it one with --name"))
}

fn warnings(record: &Record) -> Vec<String> {
    let definition = &record.definition;
    let mut list = Vec::new();
    if definition.security.privileged && definition.namespaces.user == Share::Host {
        list.push("root inside is root of this host: only run what you trust".to_owned());
    }
    list
}
