// SPDX-License-Identifier: Apache-2.0
//! What a control group uses, in the words of `events`.

use kernel::cgroup::Group;
use serde_json::{Value, json};

/// As runc tells it, as far as this host counts it.
pub(crate) fn told(id: &str, group: &Group) -> Value {
    let stats = group.stats();
    let number = |value: Option<u64>| value.unwrap_or(0);
    let block =
        |operation: &str, bytes: Option<u64>| json!({"major": 0, "minor": 0, "op": operation, "value": number(bytes)});
    json!({
        "type": "stats",
        "id": id,
        "data": {
            "cpu": {
                "usage": {
                    "total": number(stats.cpu_ns), "percpu": [],
                    "kernel": number(stats.cpu_system_ns), "user": number(stats.cpu_user_ns),
                },
                "throttling": {"throttledTime": number(stats.throttled_ns)},
            },
            "memory": {
                "usage": {"limit": stats.memory_limit.unwrap_or(u64::MAX), "usage": number(stats.memory), "max": 0, "failcnt": number(stats.oom_kills)},
                "swap": {"limit": 0, "usage": 0, "max": 0, "failcnt": 0},
                "kernel": {"limit": 0, "failcnt": 0},
                "kernelTCP": {"limit": 0, "failcnt": 0},
                "raw": {},
            },
            "pids": {"current": number(stats.pids), "limit": number(stats.pids_limit)},
            "blkio": {"ioServiceBytesRecursive": [block("Read", stats.read_bytes), block("Write", stats.write_bytes)]},
            "hugetlb": {},
            "intel_rdt": {},
            "network_interfaces": null,
        },
    })
}
