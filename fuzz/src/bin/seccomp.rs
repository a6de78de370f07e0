// SPDX-License-Identifier: Apache-2.0
//! A system call filter, as JSON or made of bytes, to `plan::seccomp::compile`; what comes out is run as the kernel would.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use plan::seccomp::simulate::{Data, run};
use plan::seccomp::{Arch, LONGEST, compile, outcome};
use spec::oci::seccomp::Seccomp;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(profile) = serde_json::from_slice::<Seccomp>(bytes) else { return Corpus::Reject };
    let again = serde_json::to_vec(&profile).map(|text| serde_json::from_slice::<Seccomp>(&text));
    assert!(again.is_ok_and(|again| again.is_ok_and(|again| again == profile)), "what is written is what was read");
    for arch in [Arch::X86_64, Arch::Aarch64] {
        if let Ok(program) = compile(&profile, arch) {
            assert!(program.instructions.len() <= LONGEST);
            for data in samples(&profile, arch) {
                let end = run(&program.instructions, &data);
                assert!(end.is_ok(), "{end:?} for {data:x?}");
                assert!(native(data.arch, arch) || end == Ok(outcome::KILL_PROCESS), "{end:?} for {data:x?}");
            }
        }
    }
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| { fuzz::mutate(data, size, most, seed) });

/// Is it this architecture, or the one that its kernel runs too?
fn native(audit: u32, arch: Arch) -> bool {
    let compat = if arch == Arch::X86_64 { Arch::X86 } else { Arch::Arm };
    [arch, compat].iter().any(|one| one.audit() == audit)
}

/// Calls with the arguments that the profile speaks of, and their neighbours.
fn samples(profile: &Seccomp, arch: Arch) -> Vec<Data> {
    let said = profile.syscalls.iter().flat_map(|rule| &rule.args).take(4);
    let values = said.flat_map(|arg| [arg.value, arg.value.wrapping_add(1), arg.value_two, !arg.value]);
    let values: Vec<u64> = values.chain([0, u64::MAX]).collect();
    let compat = if arch == Arch::X86_64 { Arch::X86 } else { Arch::Arm };
    let mut samples = Vec::new();
    for audit in [arch.audit(), compat.audit(), Arch::X86_64.audit() ^ 1] {
        for nr in [0, 1, 16, 56, 59, 135, 435, 600, 0x4000_0000, 0x4000_0200, 0x000f_0001, u32::MAX] {
            let args = values.iter().map(|value| [*value; 6]);
            samples.extend(args.map(|args| Data { nr, arch: audit, ip: 0, args }));
        }
    }
    samples
}
