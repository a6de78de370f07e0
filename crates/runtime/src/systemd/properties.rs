// SPDX-License-Identifier: Apache-2.0
//! Properties of units, and the resource limits of the OCI specification as such.

use spec::oci::{Cpu, Memory, Resources};

/// A value that a property has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`.
    Bool(bool),
    /// `u`.
    U32(u32),
    /// `t`: sizes, weights, microseconds.
    U64(u64),
    /// `s`.
    Str(String),
    /// `as`.
    StrArray(Vec<String>),
    /// `au`.
    U32Array(Vec<u32>),
    /// `ay`.
    Bytes(Vec<u8>),
}

impl Value {
    /// Its type, as D-Bus writes it.
    pub(super) fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::U32(_) => "u",
            Self::U64(_) => "t",
            Self::Str(_) => "s",
            Self::StrArray(_) => "as",
            Self::U32Array(_) => "au",
            Self::Bytes(_) => "ay",
        }
    }
}

/// One of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// As systemd calls it on D-Bus.
    pub name: String,
    /// What it is to be.
    pub value: Value,
}

impl Property {
    pub(super) fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value }
    }
}

/// What systemd takes for no limit.
const INFINITY: u64 = u64::MAX;

/// The period where none is said, microseconds: the kernel's.
const PERIOD: u64 = 100_000;

/// systemd counts shares of a processor in hundredths of a second.
const QUOTA_STEP: u64 = 10_000;

const SECOND: u64 = 1_000_000;

/// The highest processor or memory node that a list may name.
const HIGHEST: usize = 8191;

/// Resource limits as properties of a unit, for a host whose control groups are `unified` (version 2) or not. What has
/// no property (or is not sound, such as a list that is none) is left to the group's own files, which refuse it.
#[must_use]
pub fn properties_of(resources: &Resources, unified: bool) -> Vec<Property> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: Option<Value>| list.extend(value.map(|value| Property::new(name, value)));
    let number = |value: Option<u64>| value.map(Value::U64);
    let Resources { memory, cpu, pids, block_io, .. } = resources;
    if unified {
        add("MemoryMax", number(limit(memory.limit)));
        add("MemoryLow", number(limit(memory.reservation)));
        add("MemorySwapMax", number(swap(memory)));
        add("CPUWeight", number(cpu.shares.filter(|shares| *shares != 0).map(weight_of_shares)));
    } else {
        add("MemoryLimit", number(limit(memory.limit)));
        add("CPUShares", number(cpu.shares.filter(|shares| *shares != 0).map(|shares| shares.clamp(2, 262_144))));
    }
    add("CPUQuotaPeriodUSec", number(cpu.period.filter(|period| *period != 0)));
    add("CPUQuotaPerSecUSec", number(quota(cpu)));
    if unified {
        add("AllowedCPUs", cpu.cpus.as_deref().and_then(mask).map(Value::Bytes));
        add("AllowedMemoryNodes", cpu.mems.as_deref().and_then(mask).map(Value::Bytes));
    }
    // No process at all is no limit that a group with one could keep.
    add("TasksMax", number(pids.limit.and_then(|limit| if limit == 0 { Some(1) } else { self::limit(Some(limit)) })));
    let weight = block_io.weight.filter(|weight| *weight != 0).map(|weight| u64::from(weight).clamp(10, 1000));
    if unified {
        add("IOWeight", number(weight.map(|weight| 1 + (weight - 10) * 9999 / 990)));
    } else {
        add("BlockIOWeight", number(weight));
    }
    list
}

/// -1 is none; 0 says nothing, and other negative numbers are not sound.
fn limit(value: Option<i64>) -> Option<u64> {
    match value? {
        -1 => Some(INFINITY),
        value => u64::try_from(value).ok().filter(|value| *value != 0),
    }
}

/// Version 2 counts swap alone, the specification memory and swap together.
fn swap(memory: &Memory) -> Option<u64> {
    match (memory.swap, limit(memory.limit)) {
        (Some(-1), _) => Some(INFINITY),
        (Some(total @ 1..), Some(memory)) => u64::try_from(total).ok()?.checked_sub(memory),
        // All memory that there is, and swap unsaid.
        (None | Some(0), Some(INFINITY)) => Some(INFINITY),
        _ => None,
    }
}

/// Microseconds of processor time per second; rounded up, since a little more is not a limit broken.
fn quota(cpu: &Cpu) -> Option<u64> {
    let period = cpu.period.filter(|period| *period != 0);
    match cpu.quota {
        Some(quota @ 1..) => {
            let per_second = u64::try_from(quota).ok()?.saturating_mul(SECOND) / period.unwrap_or(PERIOD);
            Some(per_second.checked_next_multiple_of(QUOTA_STEP).unwrap_or(INFINITY).max(QUOTA_STEP))
        }
        Some(-1) => Some(INFINITY),
        _ => None,
    }
}

/// `CPUWeight` (1 to 10000, default 100) for shares (2 to 262144, default 1024): the same curve as for `cpu.weight`,
/// through the minima, the defaults and the maxima.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "at most 262144: exact")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
            let weight = 10f64.powf(exponent).ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// A list such as `0-3,8` as bits, the lowest first; nothing when it is no list.
fn mask(list: &str) -> Option<Vec<u8>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|number: &usize| *number <= HIGHEST)
    };
    let mut mask: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        if first > last {
            return None;
        }
        if mask.len() <= last / 8 {
            mask.resize(last / 8 + 1, 0);
        }
        for bit in first..=last {
            *mask.get_mut(bit / 8)? |= 1 << (bit % 8);
        }
    }
    Some(mask).filter(|mask| !mask.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(json: &str, unified: bool) -> Vec<String> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let text = |Property { name, value }: &Property| match value {
            Value::U64(INFINITY) => format!("{name}=infinity"),
            Value::U64(number) => format!("{name}={number}"),
            other => format!("{name}={other:?}"),
        };
        properties_of(&resources, unified).iter().map(text).collect()
    }

    #[test]
    fn one_set_of_limits_in_both_versions() {
        let json = r#"{"memory":{"limit":1000,"reservation":500,"swap":1500},"cpu":{"shares":1024,"quota":150000,
            "period":100000,"cpus":"0-1,9","mems":"0"},"pids":{"limit":7},"blockIO":{"weight":1000}}"#;
        let unified = [
            "MemoryMax=1000",
            "MemoryLow=500",
            "MemorySwapMax=500",
            "CPUWeight=100",
            "CPUQuotaPeriodUSec=100000",
            "CPUQuotaPerSecUSec=1500000",
            "AllowedCPUs=Bytes([3, 2])",
            "AllowedMemoryNodes=Bytes([1])",
            "TasksMax=7",
            "IOWeight=10000",
        ];
        assert_eq!(texts(json, true), unified);
        let legacy = [
            "MemoryLimit=1000",
            "CPUShares=1024",
            "CPUQuotaPeriodUSec=100000",
            "CPUQuotaPerSecUSec=1500000",
            "TasksMax=7",
            "BlockIOWeight=1000",
        ];
        assert_eq!(texts(json, false), legacy);
        assert!(texts("{}", true).is_empty() && texts("{}", false).is_empty());
    }

    #[test]
    fn no_limits_and_odd_ones() {
        let none = r#"{"memory":{"limit":-1,"swap":-1},"cpu":{"quota":-1},"pids":{"limit":-1}}"#;
        let infinite =
            ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"].map(|name| format!("{name}=infinity"));
        assert_eq!(texts(none, true), infinite);
        let nothing = r#"{"memory":{"limit":0,"swap":0,"reservation":-7},"cpu":{"quota":0,"shares":0,"period":0,
            "cpus":"","mems":"x"},"blockIO":{"weight":0}}"#;
        assert!(texts(nothing, true).is_empty());
        assert_eq!(texts(r#"{"pids":{"limit":0}}"#, true), ["TasksMax=1"]);
        assert_eq!(texts(r#"{"memory":{"limit":9,"swap":9}}"#, true), ["MemoryMax=9", "MemorySwapMax=0"]);
        assert!(texts(r#"{"memory":{"swap":9}}"#, true).is_empty());
    }

    #[test]
    fn quotas_are_rounded_up() {
        let of = |quota, period| super::quota(&Cpu { quota: Some(quota), period, ..Cpu::default() });
        assert_eq!(of(50_000, None), Some(500_000));
        assert_eq!(of(33_333, Some(100_000)), Some(340_000));
        assert_eq!(of(1, Some(1_000_000)), Some(10_000));
        assert_eq!(of(i64::MAX, Some(1)), Some(INFINITY));
    }

    #[test]
    fn lists_as_bits() {
        assert_eq!(mask("0"), Some(vec![1]));
        assert_eq!(mask("1,3-5, 16\n"), Some(vec![0b11_1010, 0, 1]));
        for wrong in ["", ",", "a", "3-1", "-1", "1-", "+1", "1-2-3", "8192", "99999999999999999999"] {
            assert_eq!(mask(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_list_is_a_panic(list in "[0-9,+ -]{0,20}") {
            prop_assert!(mask(&list).is_none_or(|mask| mask.len() <= HIGHEST / 8 + 1));
        }
    }
}
