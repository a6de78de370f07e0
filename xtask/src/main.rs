// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask`: the house rules (tidy), all tests (test), the measurements (bench), hostile input (fuzz) and
//! a stock machine (vm).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for developers: printing is its job")]

mod bench;
mod cargo;
mod fuzz;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask VERB

  tidy  [--fast]                 house rules; without --fast also cargo fmt and cargo clippy
  test  [--fast] [FILTER…]       installs what is missing, builds, runs tidy and every test; --fast does neither of the
                                 first and the third
  bench start [--rounds N] [--format markdown|json]
                                 what a start costs: the kernel's floor, cella, and the peers that are installed
  bench run|exec|density [--rounds N] [--format markdown|json]
                                 cella-oci, crun, youki and runc: the same bundle; BENCH_CRUN and so on name others
  bench network [--rounds N]     speed, starts, limits, many containers and ports, beside podman and the same made by hand
  bench boot [--rounds N] [--format markdown|json]
                                 a whole Debian up to its last unit, and 50 at once, beside lxc-start and systemd-nspawn
  bench procview [--rounds N] [--only native,lxcfs,cella] [--containers N] [--readers N] [--kills N] [--format …]
                                 /proc in a container: the kernel's, lxcfs's and ours; many at once; the server killed
  bench namespaces [--rounds N] [--format markdown|json]
                                 1,000 namespaces and 5,000 processes, listed by lsns and by cella in turn
  fuzz  [--seconds N]            gives each target of fuzz/ input made up for N seconds (60), and shows what it crashes on
  vm make                        a Debian machine for qemu: systemd, control groups of version 2, AppArmor, project quota
  vm run  [OPTIONS] -- SCRIPT    boots it and runs a shell script there, with cella and cella-oci in its PATH
  vm test [OPTIONS] [--all] [FILTER… | -E EXPRESSION]
                                 runs our tests there: those of the profile vm, all, or those of these names. OPTIONS:
                                 --user (not root, but tester), --stock-kernel (trixie's own), --limit SECONDS";

/// What a verb says when it cannot do its work: one line for a person.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy", rest @ ..] => tidy::run(rest),
        ["test", rest @ ..] => test::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["vm", rest @ ..] => vm::run(rest),
        [] | ["help" | "--help" | "-h", ..] => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        [verb, ..] => Err(format!("unknown verb {verb:?}; see cargo xtask --help")),
    };
    done.unwrap_or_else(|reason| {
        eprintln!("xtask: {reason}");
        ExitCode::FAILURE
    })
}
