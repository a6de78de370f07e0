// SPDX-License-Identifier: Apache-2.0
//! The plan of a container, shown and not executed.

use plan::Plan;
use spec::{Definition, Name};

use crate::compose;
use crate::create;
use crate::error::{Doing, Error, Kind, Result};
use crate::start;
use crate::store::{Found, Store};

pub(crate) fn existing(store: &Store, container: &str) -> Result<Plan> {
    plan(store, &store.find(container)?)
}

/// As if it had been made: its ids and directories are examples, and nothing is.
pub(crate) fn imagined(store: &Store, definition: Definition, progress: &mut dyn image::Progress) -> Result<Plan> {
    store.make()?;
    let sharing = create::sharing(store, &definition)?;
    create::check(&definition)?;
    crate::network::exist(store, &definition)?;
    let record = create::record(store, definition, sharing, progress)?;
    let name: Name = "example".parse().map_err(|_| Error::new(Kind::Own, "no name"))?;
    plan(store, &Found { name, record })
}

fn plan(store: &Store, found: &Found) -> Result<Plan> {
    let found = &crate::processors::placed(store, found.clone())?;
    let (directory, run) = (store.directory(&found.name), store.run_directory(&found.record.id));
    let composed = compose::compose(store, found, &directory, &run).doing(|| format!("plan {}", found.name))?;
    start::compile(composed, &found.record.definition, &start::facts()?)
}
