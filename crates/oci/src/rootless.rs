// SPDX-License-Identifier: Apache-2.0
//! Maps of a user namespace for who is not root: newuidmap and newgidmap write those of more than one's own id.

use std::process::Command;

use kernel::types::IdRange;
use plan::{Map, Plan};

/// Writes both maps.
pub(crate) fn map_ids(pid: i32, plan: &Plan) -> Result<(), runtime::Failure> {
    if kernel::process::euid() == 0 && runtime::write_maps(pid, plan).is_ok() {
        return Ok(());
    }
    let (uid, gid) = kernel::process::real_ids();
    let own = |map: &[Map], id: u32| matches!(map, [one] if one.outside == id && one.count == 1);
    if own(&plan.gid_map, gid) {
        // Without help one may map oneself alone, and only who can not drop groups any more.
        kernel::idmap::deny_groups(pid)?;
        kernel::idmap::write_groups(pid, &ranges(&plan.gid_map))?;
    } else {
        helper("newgidmap", pid, &plan.gid_map)?;
    }
    if own(&plan.uid_map, uid) {
        return Ok(kernel::idmap::write_users(pid, &ranges(&plan.uid_map))?);
    }
    helper("newuidmap", pid, &plan.uid_map)
}

fn ranges(maps: &[Map]) -> Vec<IdRange> {
    maps.iter().map(|one| IdRange { inside: one.inside, outside: one.outside, count: one.count }).collect()
}

fn helper(program: &str, pid: i32, maps: &[Map]) -> Result<(), runtime::Failure> {
    let fail = |reason: String| runtime::Failure {
        kind: runtime::FailureKind::Own,
        message: format!("{program} {pid}: {reason} (does /etc/subuid or /etc/subgid lend these ids?)"),
    };
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.inside, map.outside, map.count].map(|number| number.to_string()));
    }
    let output = command.output().map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
