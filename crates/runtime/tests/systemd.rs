// SPDX-License-Identifier: Apache-2.0
//! The D-Bus client against a server in a thread, and against a systemd and a dbus-daemon where those are installed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test says that it failed")]

#[path = "systemd/mock.rs"]
mod mock;
#[path = "systemd/real.rs"]
mod real;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};
use std::time::Instant;

use mock::{Asked, Place, job_removed, refusal, reply, serve};
use real::{Real, skip};
use runtime::systemd::{Error, Property, Scope, Value, properties_of, set_properties, slice_path, start, stop};

const JOB: &str = "/org/freedesktop/systemd1/job/7";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

fn scope() -> Scope {
    let mut scope = Scope::parse("a-b.slice:x:1", "1", false).unwrap();
    scope.properties = vec![Property { name: "TasksMax".into(), value: Value::U64(7) }];
    scope
}

#[test]
fn a_scope_through_a_bus() {
    let place = Place::new();
    let (bus, server) = serve(&place, "bus", |asked| match asked.method.as_str() {
        "StartTransientUnit" => {
            for part in
                [&b"x-1.scope\0"[..], b"a-b.slice\0", b"\x02au\0\0\0\0\x04\0\0\0\xd2\x04\0\0", b"TasksMax\0\x01t\0"]
            {
                assert!(asked.has(part), "{part:?}");
            }
            // Before the reply: somebody else's lie, another job, and then ours.
            let before = [job_removed(":1.9", JOB, "failed"), job_removed(":1.1", "/job/8", "failed")].concat();
            [before, job_removed(":1.1", JOB, "done"), reply(asked.serial, "o", JOB)].concat()
        }
        "Get" => {
            assert!(asked.has(b"/org/freedesktop/systemd1/unit/x_2d1_2escope\0") && asked.has(PROPERTIES.as_bytes()));
            reply(asked.serial, "v", "/a.slice/a-b.slice/x-1.scope")
        }
        _ => reply(asked.serial, "", ""),
    });
    let group = start(&bus, &scope(), 1234).unwrap().wait(5000).unwrap();
    assert_eq!(group, "/a.slice/a-b.slice/x-1.scope");
    assert_eq!(server.join().unwrap(), ["Hello", "AddMatch", "Subscribe", "StartTransientUnit", "Get"]);
}

#[test]
fn a_failed_unit_of_that_name_is_forgotten_first() {
    let place = Place::new();
    let mut times = 0;
    let (bus, server) = serve(&place, "systemd/private", move |asked| match asked.method.as_str() {
        "StartTransientUnit" => {
            times += 1;
            if times == 1 {
                return refusal(asked.serial, "org.freedesktop.systemd1.UnitExists");
            }
            let removed = job_removed("org.freedesktop.systemd1", JOB, "timeout");
            [reply(asked.serial, "o", JOB), removed].concat()
        }
        _ => reply(asked.serial, "", ""),
    });
    let error = start(&bus, &scope(), 1234).unwrap().wait(5000).unwrap_err();
    assert!(matches!(&error, Error::Job { result, .. } if result == "timeout"), "{error}");
    assert_eq!(server.join().unwrap(), ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn what_is_gone_need_not_be_stopped() {
    let place = Place::new();
    let (bus, server) =
        serve(&place, "systemd/private", |asked| refusal(asked.serial, "org.freedesktop.systemd1.NoSuchUnit"));
    stop(&bus, "x.scope").unwrap();
    assert_eq!(server.join().unwrap(), ["StopUnit", "ResetFailedUnit"]);
}

#[test]
fn answers_that_do_not_help() {
    let job = |result: fn() -> Vec<u8>| {
        let place = Place::new();
        let (bus, _server) = serve(&place, "systemd/private", move |asked| match asked.method.as_str() {
            "StartTransientUnit" => [reply(asked.serial, "o", JOB), result()].concat(),
            _ => reply(asked.serial, "v", "/../up"),
        });
        start(&bus, &scope(), 1234).unwrap().wait(200).unwrap_err()
    };
    assert!(matches!(job(Vec::new), Error::Timeout));
    assert!(matches!(job(|| job_removed("", "/job/other", "done")), Error::Timeout));
    assert!(matches!(job(|| job_removed("", JOB, "done")), Error::Malformed), "a path that leads up");
    assert!(matches!(job(|| vec![0xff; 64]), Error::Malformed));
    assert!(matches!(job(|| [b"l\x02\x00\x01".as_slice(), &[0xff; 12]].concat()), Error::Malformed));

    let one = |answer: fn(&Asked) -> Vec<u8>| {
        let place = Place::new();
        let (bus, _server) = serve(&place, "bus", answer);
        set_properties(&bus, "x.scope", &[]).unwrap_err()
    };
    assert!(matches!(one(|_| Vec::new()), Error::Closed | Error::Io(_)));
    let error = one(|asked| refusal(asked.serial, "a.b"));
    assert_eq!(error.to_string(), "SetUnitProperties: because (a.b)");
}

#[test]
fn nobody_to_ask_and_nothing_to_ask_for() {
    let place = Place::new();
    let bus = place.bus("bus");
    assert!(matches!(stop(&bus, "x.scope"), Err(Error::Unreachable(_))));
    assert!(matches!(stop(&bus, "../x.scope"), Err(Error::Invalid(_))));
    assert!(matches!(stop(&bus, "sshd.service"), Err(Error::Invalid(_))));
    assert!(matches!(start(&bus, &scope(), 0), Err(Error::Invalid(_))));
    let listener = UnixListener::bind(place.0.join("bus")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        drop(stream.read(&mut [0; 100]));
    });
    let error = stop(&bus, "x.scope").unwrap_err().to_string();
    assert!(error.ends_with("bus: refused: REJECTED EXTERNAL"), "{error}");
    server.join().unwrap();
}

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

fn everything() -> spec::oci::Resources {
    let json = r#"{"memory":{"limit":104857600,"reservation":500000,"swap":209715200},"cpu":{"shares":2048,"quota":150000,
        "period":100000,"cpus":"0","mems":"0"},"pids":{"limit":70},"blockIO":{"weight":500}}"#;
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_real_systemd_directly_and_through_a_bus() {
    let real = match Real::new() {
        Ok(real) => real,
        Err(reason) => return skip("a_real_systemd_directly_and_through_a_bus", reason),
    };
    for (bus, unified) in real.buses().iter().zip([true, false]) {
        let mut child = sleeper();
        let mut scope = Scope::parse("cella-test.slice:x:1", "1", false).unwrap();
        scope.properties = properties_of(&everything(), unified);
        let time = Instant::now();
        let started = start(bus, &scope, child.id()).unwrap();
        let group = started.wait(10_000).unwrap();
        println!("{:?}: {:?} {group}", bus.address, time.elapsed());
        let expected = format!("{}/x-1.scope", slice_path("cella-test.slice").unwrap());
        assert!(group.ends_with(&expected), "{group}");
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
        assert!(groups.lines().any(|line| line.ends_with(&group)), "{groups}");
        let limit = if unified { "MemoryMax" } else { "MemoryLimit" };
        for (name, value) in [(limit, "t 104857600"), ("TasksMax", "t 70"), ("CPUQuotaPerSecUSec", "t 1500000")] {
            assert_eq!(real.property("x-1.scope", name), value, "{name}");
        }
        assert_eq!(real.property("x-1.scope", "Delegate"), "b true");
        let processors = real.property("x-1.scope", "AllowedCPUs"); // type, count, bytes
        assert_eq!(processors.split(' ').nth(2), unified.then_some("1"), "{processors}");

        let tasks = |value| [Property { name: "TasksMax".into(), value: Value::U64(value) }];
        set_properties(bus, "x-1.scope", &tasks(50)).unwrap();
        assert_eq!(real.property("x-1.scope", "TasksMax"), "t 50");
        let unknown = [Property { name: "NoSuch".into(), value: Value::Bool(true) }];
        assert!(matches!(set_properties(bus, "x-1.scope", &unknown), Err(Error::Method { .. })));
        let again = start(bus, &scope, child.id()).unwrap_err();
        assert!(again.to_string().contains("UnitExists"), "{again}");

        stop(bus, "x-1.scope").unwrap();
        child.wait().unwrap();
        stop(bus, "x-1.scope").unwrap();
        scope.unit = "x-gone.scope".into();
        let gone = start(bus, &scope, child.id()).and_then(|started| started.wait(10_000)).unwrap_err();
        assert!(matches!(gone, Error::Method { .. } | Error::Job { .. }), "{gone}");

        let slice = Scope::parse("cella.slice::cella-other.slice", "1", false).unwrap();
        let group = start(bus, &slice, 0).unwrap().wait(10_000).unwrap();
        assert!(group.ends_with("/cella.slice/cella-other.slice"), "{group}");
        stop(bus, "cella-other.slice").unwrap();
    }
}

#[test]
fn many_at_once() {
    let real = match Real::new() {
        Ok(real) => real,
        Err(reason) => return skip("many_at_once", reason),
    };
    let buses = real.buses();
    std::thread::scope(|threads| {
        for number in 0..16 {
            let bus = &buses[number % 2];
            threads.spawn(move || {
                let mut child = sleeper();
                let id = number.to_string();
                let scope = Scope::parse("", &id, true).unwrap();
                let group = start(bus, &scope, child.id()).unwrap().wait(20_000).unwrap();
                assert!(group.ends_with(&format!("/user.slice/cella-{id}.scope")), "{group}");
                stop(bus, &scope.unit).unwrap();
                child.wait().unwrap();
            });
        }
    });
}
