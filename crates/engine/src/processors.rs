// SPDX-License-Identifier: Apache-2.0
//! `--cpuset-cpus auto`: as many processors as `--cpus` asks for, those that the fewest other containers hold.

use std::collections::BTreeMap;

use kernel::cgroup::{Group, Layout};
use spec::limits::AUTO;

use crate::error::Result;
use crate::store::{Found, Store};

/// The container with a list in place of the word.
pub(crate) fn placed(store: &Store, mut found: Found) -> Result<Found> {
    let limits = &found.record.definition.limits;
    let Some(milli) = limits.milli_cpus.filter(|_| limits.cpuset_cpus.as_deref() == Some(AUTO)) else {
        return Ok(found);
    };
    let layout = Layout::detect()?;
    let set = |name: &str| Group::new(layout.clone(), name).watch().processors().set;
    let own = store.group_name(&found);
    let above = own.rsplit_once('/').map_or("", |(above, _)| above);
    let all = || kernel::cgroup::parse_list(&std::fs::read_to_string(ONLINE).unwrap_or_default());
    let allowed = set(above).filter(|set| !set.is_empty()).unwrap_or_else(all);
    let mut holders: BTreeMap<u32, usize> = BTreeMap::new();
    for name in store.names()?.into_iter().filter(|name| *name != found.name) {
        let Ok(other) = store.find(name.as_str()) else { continue };
        if other.record.definition.limits.cpuset_cpus.is_some() && store.state(&other)?.is_some() {
            let held = set(&store.group_name(&other)).unwrap_or_default();
            held.into_iter().for_each(|one| *holders.entry(one).or_default() += 1);
        }
    }
    // One that runs keeps what it has as far as that goes.
    let kept = if store.state(&found)?.is_some() { set(&own).unwrap_or_default() } else { Vec::new() };
    let count = usize::try_from(milli.div_ceil(1000)).unwrap_or(usize::MAX);
    let chosen = choose(&allowed, count, |one| (holders.get(&one).copied().unwrap_or(0), !kept.contains(&one)));
    let list: Vec<String> = chosen.iter().map(u32::to_string).collect();
    found.record.definition.limits.cpuset_cpus = Some(list.join(","));
    Ok(found)
}

const ONLINE: &str = "/sys/devices/system/cpu/online";

/// The `count` with the least weight, the lowest numbers first; at least one.
fn choose(allowed: &[u32], count: usize, weight: impl Fn(u32) -> (usize, bool)) -> Vec<u32> {
    let mut sorted = allowed.to_vec();
    sorted.sort_by_key(|one| (weight(*one), *one));
    sorted.truncate(count.max(1));
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_held_are_chosen_and_own_ones_kept() {
        let held = |one: u32| usize::from(one < 2);
        assert_eq!(choose(&[0, 1, 2, 3], 2, |one| (held(one), true)), [2, 3]);
        assert_eq!(choose(&[0, 1, 2, 3], 3, |one| (held(one), true)), [0, 2, 3]);
        assert_eq!(choose(&[0, 1, 2, 3], 1, |one| (0, one != 3)), [3]);
        assert_eq!(choose(&[4, 6], 9, |_| (0, true)), [4, 6]);
        assert_eq!(choose(&[4, 6], 0, |_| (0, true)), [4]);
        assert_eq!(choose(&[], 1, |_| (0, true)), Vec::<u32>::new());
    }
}
