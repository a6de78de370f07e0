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
    /// How many of all these were elsewhere: a line for each place.
    elsewhere: Vec<String>,
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

    /// Adds what was done in another place; its lines begin with that.
    pub(crate) fn add(&mut self, place: &str, other: Self) {
        self.elsewhere.push(format!("{place}: {}\n", other.counts()));
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.into_iter().map(|(name, reason)| (format!("{place}: {name}"), reason)));
        self.reasons.extend(other.reasons.into_iter().map(|reason| format!("{place}: {reason}")));
    }

    /// Something that could not be done at all, without being a fault.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.insert(name.to_owned(), reason.to_owned());
    }

    fn counts(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }

    fn text(&self) -> String {
        let skips = self.skipped.iter().map(|(name, reason)| format!("skipped: {name}: {reason}\n"));
        let fails = self.reasons.iter().map(|reason| format!("failed: {reason}\n"));
        let lines: String = skips.chain(fails).chain(self.elsewhere.iter().cloned()).collect();
        lines + &self.counts()
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
    fn what_was_elsewhere_counts_and_is_told() {
        let mut there = Summary { passed: 3, ..Summary::default() };
        there.skip("a", "no b");
        there.fail("c");
        let mut summary = Summary { passed: 2, ..Summary::default() };
        summary.skip("a", "no d");
        summary.add("vm", there);
        let text = "skipped: a: no d\nskipped: vm: a: no b\nfailed: vm: c\nvm: 3 passed, 1 failed, 1 skipped\n5 passed, 1 failed, 2 skipped";
        assert_eq!(summary.text(), text);
    }

    #[test]
    fn a_broken_report_is_an_error() {
        assert!(Summary::default().add_report("<testsuites tests=\"1\">").is_err());
        assert!(Summary::default().add_report("").is_err());
    }
}
