// SPDX-License-Identifier: Apache-2.0
//! The program that follows a plan inside the namespaces: no standard library, no allocator, no parsing of text.
//!
//! This library is its wire format, for who writes programs; the program itself is `main.rs`, which the `runtime` crate's
//! build script compiles on its own and embeds.
#![no_std]

pub mod wire;
