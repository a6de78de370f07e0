// SPDX-License-Identifier: Apache-2.0
//! A runtime, or what it has started, that is killed at any of its system calls: `delete --force` clears away what is there.
