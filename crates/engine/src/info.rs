// SPDX-License-Identifier: Apache-2.0
//! The host and the store in a few words.

use crate::error::Result;
use crate::list;
use crate::store::Store;
use crate::view::{Info, Status};

pub(crate) fn info(store: &Store) -> Result<Info> {
    let containers = list::list(store)?;
    let count = |status: Status| containers.iter().filter(|one| one.status == status).count();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(Info {
        version: env!("CARGO_PKG_VERSION"),
        kernel: kernel::probe::release(),
        architecture: kernel::probe::machine(),
        hostname: kernel::probe::hostname(),
        cgroups: kernel::cgroup::Layout::detect()?.kind().to_owned(),
        security_modules: kernel::probe::security_modules(),
        root: store.place.root.display().to_string(),
        run: store.place.run.display().to_string(),
        containers: containers.len(),
        running: count(Status::Running),
        paused: count(Status::Paused),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory: total.unwrap_or(0) * 1024,
    })
}
