// SPDX-License-Identifier: Apache-2.0
//! Whole systems: distributions as their packages make them, with nothing changed.

mod boot;
mod device;
mod hostile;
mod nested;
mod refused;
mod roots;
mod trouble;
mod use_it;

pub(crate) use roots::image;
