// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench network`: throughput, starts, limits, many containers and many ports, each beside the same made by hand and
//! beside peers, in network namespaces of its own.

pub(super) mod place;
mod shaping;
mod speed;
mod starts;

use super::Options;
use super::report::machine;
use crate::Result;
use place::Place;
use std::process::ExitCode;

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let place = Place::new()?;
    println!("bench network; {}\n", machine());
    speed::throughput(&place)?;
    starts::added(&place, options.rounds)?;
    shaping::table(&place)?;
    starts::many(&place)?;
    starts::ports(&place)?;
    Ok(ExitCode::SUCCESS)
}

/// The middle one.
fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_middle_of_three() {
        assert!((super::median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
