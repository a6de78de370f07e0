// SPDX-License-Identifier: Apache-2.0
//! A server in a thread that says what a test wants it to, with an encoder of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use runtime::systemd::{Bus, Manager};

/// A directory of our own, removed in the end.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cella-systemd-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("systemd")).unwrap();
        Self(path)
    }

    pub(crate) fn bus(&self, socket: &str) -> Bus {
        let address = Some(format!("unix:path={}", self.0.join(socket).display()));
        Bus { manager: Manager::User, uid: fs::metadata("/proc/self").unwrap().uid(), address }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message as a bus writes it: the fields by code, `u` being the serial that is answered.
fn message(kind: u8, fields: &[(u8, &str, &str)], answers: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (code, kind, value) in fields {
        pad(&mut list, 8);
        list.extend([*code, 1, kind.as_bytes()[0], 0]);
        text(&mut list, value);
    }
    if answers != 0 {
        pad(&mut list, 8);
        list.extend([5, 1, b'u', 0]);
        list.extend(answers.to_le_bytes());
    }
    pad(&mut list, 8);
    list.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
    list.extend(signature.as_bytes());
    list.push(0);
    let mut bytes = vec![b'l', kind, 1, 1];
    for number in [body.len(), 77, list.len()] {
        bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    bytes.extend(list);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

pub(crate) fn reply(serial: u32, signature: &str, word: &str) -> Vec<u8> {
    let mut body = if signature == "v" { b"\x01s\x00".to_vec() } else { Vec::new() };
    if !signature.is_empty() {
        text(&mut body, word);
    }
    message(2, &[(7, "s", ":1.1")], serial, signature, &body)
}

pub(crate) fn refusal(serial: u32, name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "because");
    message(3, &[(4, "s", name)], serial, "s", &body)
}

pub(crate) fn job_removed(sender: &str, job: &str, result: &str) -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0];
    for word in [job, "x.scope", result] {
        text(&mut body, word);
    }
    let fields = [
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (3, "s", "JobRemoved"),
        (7, "s", sender),
    ];
    message(4, &fields, 0, "uoss", &body)
}

/// A call: its serial, its method, all of it.
pub(crate) struct Asked {
    pub(crate) serial: u32,
    pub(crate) method: String,
    bytes: Vec<u8>,
}

impl Asked {
    fn read(stream: &mut UnixStream) -> Option<Self> {
        let mut bytes = vec![0; 16];
        stream.read_exact(&mut bytes).ok()?;
        let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (body, serial, fields) = (number(&bytes, 4), number(&bytes, 8), number(&bytes, 12));
        let end = 16 + usize::try_from(fields).unwrap();
        bytes.resize(end.next_multiple_of(8) + usize::try_from(body).unwrap(), 0);
        stream.read_exact(&mut bytes[16..]).ok()?;
        let (mut at, mut method) = (16, String::new());
        while at < end {
            at = at.next_multiple_of(8);
            let (code, kind) = (bytes[at], bytes[at + 2]);
            let (length, first) = if kind == b'g' {
                (usize::from(bytes[at + 4]), at + 5)
            } else {
                (number(&bytes, at + 4) as usize, at + 8)
            };
            if code == 3 {
                method = String::from_utf8(bytes[first..first + length].to_vec()).unwrap();
            }
            at = first + length + 1;
        }
        Some(Self { serial, method, bytes })
    }

    pub(crate) fn has(&self, what: &[u8]) -> bool {
        self.bytes.windows(what.len()).any(|window| window == what)
    }
}

/// A server for one conversation that says in the end what it was asked.
pub(crate) fn serve(
    place: &Place,
    socket: &str,
    mut answer: impl FnMut(&Asked) -> Vec<u8> + Send + 'static,
) -> (Bus, JoinHandle<Vec<String>>) {
    let bus = place.bus(socket);
    let expected: String = bus.uid.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    let listener = UnixListener::bind(place.0.join(socket)).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let expected = format!("\0AUTH EXTERNAL {expected}\r\nBEGIN\r\n");
        let mut greeting = vec![0; expected.len()];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, expected.into_bytes());
        stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
        let mut methods = Vec::new();
        while let Some(asked) = Asked::read(&mut stream) {
            let bytes = if asked.method == "Hello" { reply(asked.serial, "s", ":1.5") } else { answer(&asked) };
            methods.push(asked.method);
            // In pieces, as it may come.
            if bytes.chunks(7).any(|piece| stream.write_all(piece).is_err()) || bytes.is_empty() {
                break;
            }
        }
        methods
    });
    (bus, thread)
}
