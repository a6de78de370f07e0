// SPDX-License-Identifier: Apache-2.0
//! Tables, colours, times and JSON on standard output.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// Writes to standard output; when nobody reads it, there is nothing left to say.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a line to standard error; when that is closed there is nobody to tell.
pub(crate) fn tell(text: &str) {
    let mut err = std::io::stderr().lock();
    writeln!(err, "{}", plain(text)).ok();
}

/// Without the characters that drive a terminal: a command line or a label may come from anybody.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// At most so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// One line.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// A JSON document, in lines.
pub(crate) fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A JSON document in one line.
pub(crate) fn json_line(value: &impl Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// A cell, and whether it is about something that needs a look (red), is well (green), or neither.
#[derive(Clone)]
pub(crate) struct Cell(String, Option<u8>);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(plain(&text.into()), None)
    }
}

impl Cell {
    pub(crate) fn green(text: impl Into<String>) -> Self {
        Self(text.into(), Some(32))
    }

    pub(crate) fn yellow(text: impl Into<String>) -> Self {
        Self(text.into(), Some(33))
    }

    pub(crate) fn red(text: impl Into<String>) -> Self {
        Self(text.into(), Some(31))
    }
}

/// Prints rows below a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<Cell>]) {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty());
    print(&layout(heading, rows, colour));
}

fn layout(heading: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let heading: Vec<Cell> = heading.iter().map(|text| (*text).into()).collect();
    let width = |column: usize| {
        std::iter::once(&heading)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.0.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = if index + 1 == row.len() { 0 } else { width + 2 - cell.0.chars().count() };
            match cell.1.filter(|_| colour) {
                Some(code) => line.push_str(&format!("\x1b[{code}m{}\x1b[0m", cell.0)),
                None => line.push_str(&cell.0),
            }
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago, in the largest unit that fits: `3m`.
pub(crate) fn since(time: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    match spec::timestamp::parse(time) {
        Ok(then) => span(now.saturating_sub(std::time::Duration::from_nanos(then)).as_secs()),
        Err(_) => "?".to_owned(),
    }
}

/// Seconds in the largest unit that fits.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `61M / 512M`; `-` for what is not known.
pub(crate) fn usage(used: Option<u64>, limit: Option<u64>) -> String {
    let format = spec::size::format_bytes;
    match (used, limit) {
        (Some(used), Some(limit)) => format!("{} / {}", format(used), format(limit)),
        (Some(used), None) => format(used),
        (None, _) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_is_not_padded() {
        let rows = vec![vec!["a".into(), Cell::green("running")], vec!["longer".into(), "x".into()]];
        assert_eq!(layout(&["NAME", "STATE"], &rows, false), "NAME    STATE\na       running\nlonger  x\n");
        assert!(layout(&["NAME", "STATE"], &rows, true).contains("\x1b[32mrunning\x1b[0m"));
    }

    #[test]
    fn what_drives_a_terminal_is_not_printed() {
        let rows = vec![vec!["a\x1b[31m\n\u{9b}b".into()]];
        assert_eq!(layout(&["X"], &rows, false), "X\na\u{fffd}[31m\u{fffd}\u{fffd}b\n");
    }

    #[test]
    fn spans() {
        assert_eq!([59, 61, 7200, 200_000].map(span), ["59s", "1m", "2h", "2d"]);
    }
}
