// SPDX-License-Identifier: Apache-2.0
//! Scheduling, I/O priority, personality and memory policy: names of the specification as numbers of the kernel.

use spec::oci;

use crate::Error;
use crate::step::Scheduler;

/// The number of a name, or which names there are.
fn number<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<T, Error> {
    known.iter().find(|(one, _)| *one == name).map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Error::invalid(what, format!("{name:?} is none of {}", names.join(" ")))
    })
}

pub(crate) fn scheduler(asked: &oci::Scheduler) -> Result<Scheduler, Error> {
    const POLICIES: [(&str, u32); 7] = [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ];
    const FLAGS: [(&str, u64); 7] = [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01),
        ("SCHED_FLAG_RECLAIM", 0x02),
        ("SCHED_FLAG_DL_OVERRUN", 0x04),
        ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ];
    let what = "process.scheduler";
    let policy = number(what, &asked.policy, &POLICIES)?;
    let flags = asked.flags.iter().try_fold(0, |all, flag| number(what, flag, &FLAGS).map(|flag| all | flag))?;
    let refuse = |reason: &str| Error::invalid(what, reason);
    if !(-20..=19).contains(&asked.nice) {
        return Err(refuse("nice is from -20 to 19"));
    }
    let priority = u32::try_from(asked.priority).map_err(|_| refuse("the priority is negative"))?;
    if matches!(policy, 1 | 2) != (priority != 0) {
        return Err(refuse("a priority goes with SCHED_FIFO and SCHED_RR, and with these only"));
    }
    if policy != 6 && (asked.runtime | asked.deadline | asked.period) != 0 {
        return Err(refuse("runtime, deadline and period go with SCHED_DEADLINE only"));
    }
    let (runtime, deadline, period) = (asked.runtime, asked.deadline, asked.period);
    Ok(Scheduler { policy, flags, nice: asked.nice, priority, runtime, deadline, period })
}

pub(crate) fn io_priority(asked: &oci::IoPriority) -> Result<u32, Error> {
    const CLASSES: [(&str, u32); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
    let class = number("process.ioPriority", &asked.class, &CLASSES)?;
    match u32::try_from(asked.priority) {
        Ok(priority) if priority <= 7 => Ok(class << 13 | priority),
        _ => Err(Error::invalid("process.ioPriority", "the priority is from 0 to 7")),
    }
}

pub(crate) fn personality(asked: &oci::Personality) -> Result<u32, Error> {
    if !asked.flags.is_empty() {
        return Err(Error::invalid("linux.personality", "the specification has no flags yet"));
    }
    number("linux.personality", &asked.domain, &[("LINUX", 0), ("LINUX32", 8)])
}

pub(crate) fn memory_policy(asked: &oci::MemoryPolicy) -> Result<(u32, Vec<u32>), Error> {
    const MODES: [(&str, u32); 7] = [
        ("MPOL_DEFAULT", 0),
        ("MPOL_PREFERRED", 1),
        ("MPOL_BIND", 2),
        ("MPOL_INTERLEAVE", 3),
        ("MPOL_LOCAL", 4),
        ("MPOL_PREFERRED_MANY", 5),
        ("MPOL_WEIGHTED_INTERLEAVE", 6),
    ];
    const FLAGS: [(&str, u32); 3] =
        [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];
    let what = "linux.memoryPolicy";
    let mode = number(what, &asked.mode, &MODES)?;
    let flags = asked.flags.iter().try_fold(0, |all, flag| number(what, flag, &FLAGS).map(|flag| all | flag))?;
    let nodes = list(what, &asked.nodes)?;
    let none = matches!(mode, 0 | 4);
    if none != nodes.is_empty() && mode != 1 {
        return Err(Error::invalid(what, "this mode and these nodes do not go together"));
    }
    Ok((mode | flags, nodes))
}

/// The numbers of a list like `0-3,7`.
///
/// # Errors
/// What is no such list, or goes beyond 8191.
pub fn list(what: &str, text: &str) -> Result<Vec<u32>, Error> {
    let refuse = || Error::invalid(what, format!("{text:?} is not a list like 0-3,7"));
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < 8192).ok_or_else(refuse);
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refuse());
        }
        numbers.extend(first..=last);
        // A text of many ranges must not become more numbers than there are.
        if numbers.len() > 8192 {
            return Err(refuse());
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(list("x", "0-2,7"), Ok(vec![0, 1, 2, 7]));
        assert_eq!(list("x", ""), Ok(vec![]));
        for wrong in ["a", "3-1", "9999", "1-", "-1", &"0-8191,".repeat(3)] {
            assert!(list("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_priority_needs_a_real_time_policy() {
        let asked = |policy: &str, priority| oci::Scheduler { policy: policy.into(), priority, ..Default::default() };
        assert!(scheduler(&asked("SCHED_OTHER", 1)).is_err());
        assert!(scheduler(&asked("SCHED_FIFO", 0)).is_err());
        assert_eq!(scheduler(&asked("SCHED_RR", 5)).unwrap().priority, 5);
        assert!(scheduler(&asked("SCHED_BOGUS", 0)).is_err());
    }
}
