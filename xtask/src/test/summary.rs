// SPDX-License-Identifier: Apache-2.0
//! Counts what passed, failed and was skipped: nextest's JUnit report, and the lines of the tests that skipped themselves.

use crate::Result;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// A test that skips writes one line of this form into the file named by CELLA_SKIP_LOG, and passes.
const SKIPPED: &str = "SKIPPED: ";

#[derive(Default)]
pub(crate) struct Summary {
    passed: usize,
    failed: usize,
    /// Reason by test.
    skipped: BTreeMap<String, String>,
    reasons: Vec<String>,
}

impl Summary {
    pub(crate) fn check(&mut self, name: &str, good: bool) {
        if good { self.passed += 1 } else { self.fail(name) }
    }

    pub(crate) fn fail(&mut self, reason: &str) {
        self.failed += 1;
        self.reasons.push(reason.to_owned());
    }

    /// Adds the numbers of the `testsuites` element of a JUnit file; returns how many tests failed.
    pub(crate) fn add_report(&mut self, xml: &str) -> Result<usize> {
        let element = xml.split_once("<testsuites ").and_then(|(_, rest)| rest.split_once('>'));
        let (element, _) = element.ok_or("the JUnit report has no testsuites")?;
        let number = |name: &str| {
            let value = element.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
            value.and_then(|(n, _)| n.parse::<usize>().ok()).ok_or(format!("the JUnit report does not count {name}"))
        };
        let bad = number("failures")? + number("errors")?;
        self.failed += bad;
        self.passed += number("tests")?.saturating_sub(bad);
        Ok(bad)
    }

    pub(crate) fn add_skips(&mut self, log: &str) {
        for line in log.lines().filter_map(|line| line.strip_prefix(SKIPPED)) {
            let (name, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
            if self.skipped.insert(name.to_owned(), reason.to_owned()).is_none() {
                // Nextest counted it as passed.
                self.passed = self.passed.saturating_sub(1);
            }
        }
    }

    fn text(&self) -> String {
        let skips = self.skipped.iter().map(|(name, reason)| format!("skipped: {name}: {reason}\n"));
        let fails = self.reasons.iter().map(|reason| format!("failed: {reason}\n"));
        let lines: String = skips.chain(fails).collect();
        format!("{lines}{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }

    pub(crate) fn print(&self) -> ExitCode {
        println!("\n{}", self.text());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_did_not_pass() {
        let mut summary = Summary::default();
        let xml = "<?xml version=\"1.0\"?>\n<testsuites name=\"nextest-run\" tests=\"9\" failures=\"1\" errors=\"1\" uuid=\"u\">";
        summary.add_report(xml).unwrap();
        summary.add_skips("SKIPPED: a::b: no btrfs: here\nSKIPPED: a::b: no btrfs: here\nnoise\n");
        summary.check("tidy", true);
        assert_eq!(summary.text(), "skipped: a::b: no btrfs: here\n7 passed, 2 failed, 1 skipped");
        summary.fail("cargo build: exit status: 101");
        assert!(summary.text().ends_with("failed: cargo build: exit status: 101\n7 passed, 3 failed, 1 skipped"));
    }

    #[test]
    fn a_broken_report_is_an_error() {
        assert!(Summary::default().add_report("<testsuites tests=\"1\">").is_err());
        assert!(Summary::default().add_report("").is_err());
    }
}
