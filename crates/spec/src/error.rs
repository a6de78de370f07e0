// SPDX-License-Identifier: Apache-2.0
//! Why something that a person wrote is refused.

/// A value that is refused: what it was for, what it was, why, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value:?}: {reason}")]
pub struct Invalid {
    /// What the value was meant to be, e.g. `memory size`.
    pub what: &'static str,
    /// The value as written.
    pub value: String,
    /// Why it is refused.
    pub reason: String,
    /// What would be accepted.
    pub hint: Option<String>,
}

impl Invalid {
    /// Refuses `value`.
    pub fn new(what: &'static str, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what, value: value.into(), reason: reason.into(), hint: None }
    }

    /// Adds what would be accepted.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The candidate nearest to `word`, when it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let above = rows.last().map_or(&[][..], Vec::as_slice);
            let mut best = (at(above, j) + usize::from(a != b)).min(at(above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                best = best.min(rows.get(i - 1).map_or(usize::MAX / 2, |row| at(row, j - 1)) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("hots", ["dir", "host", "oci"]), Some("host"));
        assert_eq!(nearest("--memroy", ["--memory", "--memory-swap"]), Some("--memory"));
        assert_eq!(nearest("xyz", ["dir", "host"]), None);
    }
}
