// SPDX-License-Identifier: Apache-2.0
//! A message of FUSE, as bytes, to the view of a container that is not there: names, numbers of nodes and offsets that nobody
//! was told.
#![no_main]

use std::cell::RefCell;

use kernel::cgroup::{Group, Layout};
use kernel::fuse::{self, Call};
use kernel::seccomp::{NOTIFICATION, Waiting};
use libfuzzer_sys::fuzz_target;
use procview::{Birth, Content, Id, Shape};

thread_local! {
    static CONTENT: RefCell<Content> = RefCell::new(content());
}

fn content() -> Content {
    let birth = Birth { boottime_ns: 0, own_clock: true, boot_id: "id".to_owned(), init: None };
    Content::new(Group::new(Layout::detect().unwrap_or_default(), "cella-fuzz-none"), birth)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(call)) = bytes.get(..NOTIFICATION).map(<&[u8; NOTIFICATION]>::try_from) {
        assert!(Waiting::parse(call).is_none_or(|waiting| waiting.id != 0));
    }
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    let kept: Vec<u64> = words.collect();
    let message = fuse::whole(bytes);
    assert!(message.len() <= bytes.len());
    CONTENT.with_borrow_mut(|content| {
        if bytes.len() % 16 == 0 {
            content.go_on(&kept);
        }
        let Some(request) = fuse::parse(message) else { return };
        let node = Id(request.node);
        match request.call {
            Call::Lookup(name) => {
                if let Some(entry) = content.find(node, name) {
                    assert_eq!(entry.name.as_bytes(), name);
                    assert_eq!((content.parent(entry.id), content.shape(entry.id)), (node, Some(entry.shape)));
                }
            }
            Call::List { .. } => {
                let entries = content.list(node);
                assert!(entries.is_empty() || content.shape(node) == Some(Shape::Directory));
            }
            _ => {
                let mut text = Vec::new();
                let shape = content.shape(node);
                assert_eq!(content.text(node, &mut text), matches!(shape, Some(Shape::File | Shape::Link)));
            }
        }
    });
});
