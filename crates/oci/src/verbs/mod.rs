// SPDX-License-Identifier: Apache-2.0
//! The verbs, one file each.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod plan;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;
mod version;

use lexopt::{Arg, Parser, ValueExt};

use crate::arguments::{Global, unknown};
use crate::failure::{Failure, Result};

const HELP: &str = "\
cella-oci starts OCI bundles for Docker, Podman, containerd and people.

usage: cella-oci [GLOBAL] VERB [OPTIONS] [ID]

  create ID          makes a container; its program waits for start
  start ID           runs the program of a created container
  run ID             create, start and wait (or --detach)
  exec ID PROGRAM…   runs a further program in a container
  state ID           the state as JSON
  kill ID [SIGNAL]   sends a signal (TERM); --all to every process
  delete ID          removes a stopped container; --force kills it first
  list               all containers
  ps ID              the processes of a container
  pause, resume ID   stops its processes, lets them go on
  update ID          changes limits
  events ID          use and limits, again and again; --stats once
  spec               writes a config.json to begin with
  features           what is supported, as JSON
  plan               what create would do, step by step
  mounts add|remove ID FILE
                     changes the mounts of a running container

global: --root DIR  --log FILE  --log-format text|json  --log-level LEVEL  --debug  --systemd-cgroup
        --cgroup-manager cgroupfs|systemd|disabled  --rootless true|false|auto  --criu PATH  --version";

/// Runs what the words say; the exit code.
pub(crate) fn run(global: &mut Global, words: &mut Parser) -> Result<u8> {
    loop {
        let name = match words.next()? {
            None => {
                println!("{HELP}");
                return Ok(1);
            }
            Some(Arg::Value(verb)) => return verb_of(&verb.string()?, global, words),
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(letter)) => letter.to_string(),
        };
        match name.as_str() {
            "version" | "v" => return version::run(),
            "help" | "h" => {
                println!("{HELP}");
                return Ok(0);
            }
            name if global.take(name, words)? => {}
            name => return unknown(name),
        }
    }
}

fn verb_of(verb: &str, global: &mut Global, words: &mut Parser) -> Result<u8> {
    match verb {
        "create" => create::run(global, words),
        "start" => start::run(global, words),
        "run" => run::run(global, words),
        "exec" => exec::run(global, words),
        "state" => state::run(global, words),
        "kill" => kill::run(global, words),
        "delete" => delete::run(global, words),
        "list" => list::run(global, words),
        "ps" => ps::run(global, words),
        "pause" => pause::run(global, words),
        "resume" => resume::run(global, words),
        "update" => update::run(global, words),
        "events" => events::run(global, words),
        "spec" => spec::run(global, words),
        "features" => features::run(global, words),
        "plan" => plan::run(global, words),
        "mounts" => mounts::run(global, words),
        "version" => version::run(),
        "help" => {
            println!("{HELP}");
            Ok(0)
        }
        other => Err(Failure::new(format!("unknown verb {other:?}; see cella-oci --help"))),
    }
}

/// Prints JSON as people and programs read it.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<u8> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    println!("{text}");
    Ok(0)
}
