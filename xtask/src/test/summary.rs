// SPDX-License-Identifier: Apache-2.0
//! Counts what passed, failed and was skipped: nextest's JUnit report, and the lines of the tests that skipped themselves.

use crate::Result;
use roxmltree::{Document, Node};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// A test that skips writes one line of this form into the file named by CELLA_SKIP_LOG, and passes.
const SKIPPED: &str = "SKIPPED: ";

/// So much of a failure is told again at the end, where it is found: lines, and characters of each.
const TOLD: (usize, usize) = (6, 300);

#[derive(Default)]
pub(crate) struct Summary {
    passed: usize,
    failed: usize,
    /// Reason by test.
    skipped: BTreeMap<String, String>,
    reasons: Vec<String>,
    /// Tests that failed at first and passed when tried once more, with the reason: a fault to be found, of the test or not.
    flaky: Vec<String>,
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

    /// Adds the numbers of a JUnit file, and what failed in it; returns how many tests failed.
    pub(crate) fn add_report(&mut self, xml: &str) -> Result<usize> {
        let document = Document::parse(xml).map_err(|error| format!("the JUnit report: {error}"))?;
        let suites = document.root_element();
        let number = |name: &str| {
            let value = suites.attribute(name).and_then(|text| text.parse::<usize>().ok());
            value.ok_or(format!("the JUnit report does not count {name}"))
        };
        let bad = number("failures")? + number("errors")?;
        self.failed += bad;
        self.passed += number("tests")?.saturating_sub(bad);
        for case in suites.descendants().filter(|node| node.has_tag_name("testcase")) {
            let name = case.attribute("name").unwrap_or("?");
            let told = |tags: &[&str]| {
                let found = case.children().find(|child| tags.contains(&child.tag_name().name()));
                found.map(|found| format!("{name}: {}", reason(found)))
            };
            self.reasons.extend(told(&["failure", "error"]));
            self.flaky.extend(told(&["flakyFailure", "flakyError"]));
        }
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
        let there = |list: Vec<String>| list.into_iter().map(move |reason| format!("{place}: {reason}"));
        self.reasons.extend(there(other.reasons));
        self.flaky.extend(there(other.flaky));
    }

    /// Something that could not be done at all, without being a fault.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.insert(name.to_owned(), reason.to_owned());
    }

    fn counts(&self) -> String {
        let flaky = match self.flaky.len() {
            0 => String::new(),
            some => format!(" ({some} when tried once more)"),
        };
        format!("{} passed{flaky}, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }

    fn text(&self) -> String {
        let skips = self.skipped.iter().map(|(name, reason)| format!("skipped: {name}: {reason}\n"));
        let fails = self.reasons.iter().map(|reason| format!("failed: {reason}\n"));
        let flaky = self.flaky.iter().map(|reason| format!("flaky: {reason}\n"));
        let lines: String = skips.chain(flaky).chain(fails).chain(self.elsewhere.iter().cloned()).collect();
        lines + &self.counts()
    }

    pub(crate) fn print(&self) -> ExitCode {
        println!("\n{}", self.text());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What a test said last, without where it was called from.
fn reason(failure: Node<'_, '_>) -> String {
    let text = failure.text().or(failure.attribute("message")).unwrap_or_default();
    let lines = text.lines().take_while(|line| !line.starts_with("stack backtrace:")).map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty()).take(TOLD.0);
    let lines: Vec<String> = lines.map(|line| line.chars().take(TOLD.1).collect()).collect();
    if lines.is_empty() {
        failure.attribute("type").unwrap_or("no reason given").to_owned()
    } else {
        lines.join("\n  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_did_not_pass() {
        let mut summary = Summary::default();
        let xml = "<?xml version=\"1.0\"?>\n<testsuites name=\"nextest-run\" tests=\"9\" failures=\"1\" errors=\"1\" uuid=\"u\"/>";
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
    fn what_failed_is_told_with_its_reason() {
        let xml = "<testsuites tests='3' failures='1' errors='0'><testsuite>
            <testcase name='a'><flakyFailure message='m' type='t'>thread a panicked at b.rs:1:2:\nleft: 1\nstack backtrace:\n 0: x</flakyFailure></testcase>
            <testcase name='c'><failure type='test timeout'/><rerunFailure message='m'/></testcase><testcase name='d'/></testsuite></testsuites>";
        let mut summary = Summary::default();
        assert_eq!(summary.add_report(xml), Ok(1));
        let text = "flaky: a: thread a panicked at b.rs:1:2:\n  left: 1\nfailed: c: test timeout\n2 passed (1 when tried once more), 1 failed, 0 skipped";
        assert_eq!(summary.text(), text);
    }

    #[test]
    fn a_broken_report_is_an_error() {
        assert!(Summary::default().add_report("<testsuites tests=\"1\">").is_err());
        assert!(Summary::default().add_report("").is_err());
    }
}
