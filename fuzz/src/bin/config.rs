// SPDX-License-Identifier: Apache-2.0
//! A `config.json` to a plan, on hosts with control groups of version 1 and of version 2; every plan can be shown.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use kernel::cgroup::{Hierarchy, Layout};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use plan::{Facts, Request, compile, joining, mounts, settings};
use spec::oci::Spec;

static HOSTS: LazyLock<[Facts; 2]> = LazyLock::new(|| [old(), new()]);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(mut spec) = serde_json::from_slice::<Spec>(bytes) else { return Corpus::Reject };
    assert!(
        serde_json::to_vec(&spec)
            .is_ok_and(|text| serde_json::from_slice::<Spec>(&text).is_ok_and(|again| again == spec))
    );
    // As cella-oci does it: the container's id, when nothing is said.
    if spec.linux.cgroups_path.is_empty() {
        "cella".clone_into(&mut spec.linux.cgroups_path);
    }
    for facts in HOSTS.iter() {
        let bundle = Some(Path::new("/b"));
        show(&spec, Request { bundle, ..Request::default() }, facts);
        let other = Request { bundle, init: true, no_pivot: true, park: true, rootless: true, ..Request::default() };
        show(&spec, other, facts);
        // What joins later or is changed later says the same fields over.
        drop(joining(&spec, None, facts));
        drop(settings(&spec.linux.resources, facts));
    }
    drop(mounts(&spec.mounts, &spec, Path::new("/b")));
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| { fuzz::mutate(data, size, most, seed) });

fn show(spec: &Spec, request: Request<'_>, facts: &Facts) {
    match compile(spec, request, facts) {
        Ok(plan) => {
            assert!(!plan.to_string().is_empty());
            assert!(serde_json::to_vec(&plan).is_ok(), "a plan that is not JSON");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

const CONTROLLERS: [&str; 11] =
    ["cpu", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "rdma", "net_cls", "net_prio"];

fn old() -> Facts {
    let legacy = CONTROLLERS
        .iter()
        .map(|name| Hierarchy { controllers: vec![(*name).to_owned()], path: Path::new("/sys/fs/cgroup").join(name) });
    let cgroups = Layout { legacy: legacy.collect(), ..Layout::default() };
    Facts { cgroups, selinux: true, ..Facts::default() }
}

fn new() -> Facts {
    let names = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc"];
    let unified_controllers = names.iter().map(|name| (*name).to_owned()).collect();
    let cgroups = Layout { unified: Some("/sys/fs/cgroup".into()), unified_controllers, legacy: Vec::new() };
    Facts { cgroups, apparmor: true, selinux: true, landlock: 6, possible_processors: 4 }
}
