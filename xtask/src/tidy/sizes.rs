// SPDX-License-Identifier: Apache-2.0
//! How long our files and functions are, per crate, beside the house numbers.

use std::collections::BTreeMap;

#[derive(Default)]
struct Row {
    files: Vec<usize>,
    functions: Vec<usize>,
}

/// Lines of every file and every function seen, by crate.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, Row>);

impl Table {
    pub(crate) fn add(&mut self, owner: &str, lines: usize, functions: &[usize]) {
        for name in [owner, "~all"] {
            let row = self.0.entry(name.to_owned()).or_default();
            row.files.push(lines);
            row.functions.extend(functions);
        }
    }

    pub(crate) fn print(self) {
        println!("{:<10} {:>22}   {:>36}", "", "files", "functions");
        println!(
            "{:<10} {:>4} {:>6} {:>4} {:>5}   {:>6} {:>6} {:>4} {:>4} {:>5} {:>6}",
            "crate", "n", "median", "p90", "max", "n", "median", "p90", "max", "> 40", "> 100"
        );
        for (name, mut row) in self.0 {
            row.files.sort_unstable();
            row.functions.sort_unstable();
            let over = |limit: usize| row.functions.iter().filter(|n| **n > limit).count();
            println!(
                "{:<10} {:>4} {:>6} {:>4} {:>5}   {:>6} {:>6} {:>4} {:>4} {:>5} {:>6}",
                name.trim_start_matches('~'),
                row.files.len(),
                at(&row.files, 50),
                at(&row.files, 90),
                at(&row.files, 100),
                row.functions.len(),
                at(&row.functions, 50),
                at(&row.functions, 90),
                at(&row.functions, 100),
                over(40),
                over(100)
            );
        }
        println!(
            "{:<10} {:>4} {:>6} {:>4} {:>5}   {:>6} {:>6} {:>4} {:>4}",
            "house", "", 200, 600, 1000, "", 10, 40, 100
        );
    }
}

/// The value below which `percent` of a sorted list lies; 0 for an empty one.
fn at(sorted: &[usize], percent: usize) -> usize {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn percentiles_of_short_lists() {
        assert_eq!(super::at(&[], 50), 0);
        assert_eq!(super::at(&[7], 90), 7);
        assert_eq!(super::at(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 50), 6);
        assert_eq!(super::at(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 100), 10);
    }
}
