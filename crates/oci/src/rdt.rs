// SPDX-License-Identifier: Apache-2.0
//! Cache and memory bandwidth by resctrl: a directory per class of service.

use std::path::{Path, PathBuf};

use spec::oci::IntelRdt;

use crate::failure::{Failure, Result};

const ROOT: &str = "/sys/fs/resctrl";

/// Puts the process into its class; the directory that was made for it, if one was.
pub(crate) fn join(wanted: &IntelRdt, id: &str, pid: i32) -> Result<Option<String>> {
    if !Path::new(ROOT).join("schemata").exists() {
        return Err(Failure::new("linux.intelRdt: this host has no resctrl file system mounted"));
    }
    let name = wanted.clos_id.clone().unwrap_or_else(|| id.to_owned());
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(Failure::new(format!("linux.intelRdt: closID {name:?} is not a name")));
    }
    let directory = Path::new(ROOT).join(&name);
    let made = match kernel::file::make_new_directory(&directory, 0o755) {
        Ok(()) => true,
        Err(error) if error.is(kernel::Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let lines = [wanted.l3_cache_schema.as_ref(), wanted.mem_bw_schema.as_ref()].into_iter().flatten();
    for line in lines.chain(&wanted.schemata) {
        write(&directory.join("schemata"), &format!("{}\n", line.trim_end()))?;
    }
    write(&directory.join("tasks"), &pid.to_string())?;
    if wanted.enable_monitoring {
        let group = directory.join("mon_groups").join(id);
        kernel::file::make_directory(&group, 0o755)?;
        write(&group.join("tasks"), &pid.to_string())?;
    }
    Ok(made.then_some(name))
}

pub(crate) fn leave(name: &str) -> Result<()> {
    let directory: PathBuf = Path::new(ROOT).join(name);
    Ok(kernel::file::remove_directory(&directory)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(kernel::idmap::write_file(path, text.as_bytes())?)
}
