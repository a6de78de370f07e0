// SPDX-License-Identifier: Apache-2.0
//! From a specification and the host's facts to the exact steps that start a container; pure: no I/O, no clock, no chance.

pub mod seccomp;
