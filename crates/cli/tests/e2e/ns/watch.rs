// SPDX-License-Identifier: Apache-2.0
//! `cella ns watch`: what comes and goes is told.

use std::io::BufRead;
use std::process::Stdio;

use super::Sandbox;
use crate::support::{Store, is_root};

#[test]
fn a_namespace_is_told_as_it_comes_and_goes() {
    if !is_root("a_namespace_is_told_as_it_comes_and_goes") {
        return;
    }
    let store = Store::new("nswatch");
    let mut command = store.command(&["ns", "watch", "--json", "--interval", "100ms", "--for", "60s", "--type", "uts"]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut err = std::io::BufReader::new(watch.stderr.take().unwrap());
    err.read_line(&mut told).unwrap();
    assert!(told.starts_with("cella: watching by ") && told.contains("100 ms"), "{told}");
    let sandbox = Sandbox::new(&["--uts"]);
    let inode = sandbox.inode("uts");
    let mut lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
    // Other tests' may be among them.
    let mut next = |event: &str| {
        lines
            .by_ref()
            .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
            .find(|change| change["inode"] == inode && change["event"] == event)
    };
    assert_eq!(next("new").unwrap()["kind"], "uts");
    drop(sandbox);
    assert_eq!(next("gone").unwrap()["kind"], "uts");
    watch.kill().unwrap();
    watch.wait().unwrap();
    let ended = store.cella(&["ns", "watch", "--for", "50ms"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    store.finish();
}
