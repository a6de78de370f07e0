// SPDX-License-Identifier: Apache-2.0
//! Speaks to Linux: every system call, and all `unsafe` code, of the project. It knows nothing of what it is used for.

pub mod address;
pub mod arena;
pub mod bpf;
pub mod capability;
pub mod cgroup;
pub mod conntrack;
pub mod entry;
pub mod error;
pub mod event;
pub mod file;
pub mod fs;
pub mod fuse;
pub mod idmap;
pub mod inet;
pub mod inotify;
pub mod jail;
pub mod landlock;
pub mod link;
pub mod lock;
pub mod mount;
pub mod namespace;
pub mod neighbour;
pub mod net;
pub mod netlink;
pub mod nft;
pub mod pidfd;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod procfs;
pub mod program;
pub mod pty;
pub mod root;
pub mod route;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod survey;
mod syscall;
pub mod time;
pub mod traffic;
pub mod types;

pub use error::{Call, Errno, Error, Result};
