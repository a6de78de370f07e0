// SPDX-License-Identifier: Apache-2.0
//! Amounts as people write them: bytes, processors, durations. Every number is checked against its width.

use crate::error::Invalid;

/// Bytes: a number with an optional unit `b k m g t` (powers of 1024; `kb`, `KiB` and so on mean the same).
///
/// # Errors
/// Why it is refused: no number, unknown unit, more than 2^63.
pub fn parse_bytes(what: &'static str, text: &str) -> Result<u64, Invalid> {
    let refuse = |reason: &str| Invalid::new(what, text, reason).hint("write a number and a unit, such as 512m or 2g");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse("unknown unit")),
    };
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)),
        Some((whole, part)) => fraction(whole, part, shift),
    };
    match bytes {
        Some(bytes) if bytes <= i64::MAX.cast_unsigned() => Ok(bytes),
        Some(_) => Err(refuse("it is too large")),
        None if number.is_empty() => Err(refuse("it does not begin with a number")),
        None => Err(refuse("it is not a number, or too large")),
    }
}

fn fraction(whole: &str, part: &str, shift: u32) -> Option<u64> {
    if part.is_empty() || part.len() > 9 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let number = u128::from(whole.parse::<u64>().ok()?) * scale + u128::from(part.parse::<u64>().ok()?);
    u64::try_from((number << shift) / scale).ok()
}

/// Bytes in powers of 1024, short: `61M`, `1.5G`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let mut unit = 0;
    let mut scaled = u128::from(bytes) * 10;
    while scaled >= 10_240 && unit + 1 < units.len() {
        scaled = (scaled + 512) / 1024;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or("B");
    match (unit, scaled >= 100, scaled % 10) {
        (0, ..) | (_, true, _) | (_, _, 0) => format!("{}{name}", scaled / 10),
        _ => format!("{}.{}{name}", scaled / 10, scaled % 10),
    }
}

/// Processors as a decimal (`1.5`), in thousandths.
///
/// # Errors
/// Why it is refused.
pub fn parse_cpus(text: &str) -> Result<u64, Invalid> {
    let refuse =
        |reason: &str| Invalid::new("number of processors", text, reason).hint("write a number such as 0.5 or 2");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 9 || !part.bytes().chain(whole.bytes()).all(|digit| digit.is_ascii_digit()) {
        return Err(refuse("it is not a number"));
    }
    let thousandths: String = part.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| refuse("it is too large"))? };
    let total = whole.checked_mul(1000).and_then(|whole| whole.checked_add(thousandths.parse().ok()?));
    match total {
        Some(total) if (10..=8_192_000).contains(&total) => Ok(total),
        Some(total) if total < 10 => Err(refuse("it must be at least 0.01")),
        _ => Err(refuse("it is too large")),
    }
}

/// Seconds: a number with an optional unit `ms s m h d`; several may follow each other (`1h30m`).
///
/// # Errors
/// Why it is refused.
pub fn parse_duration_ms(what: &'static str, text: &str) -> Result<u64, Invalid> {
    let refuse = || {
        Invalid::new(what, text, "it is not a duration")
            .hint("write seconds, or a number and a unit: 90, 500ms, 10m, 1h30m")
    };
    let mut rest = text;
    let mut total = 0_u64;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let factor = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refuse()),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        total = number.checked_mul(factor).and_then(|add| total.checked_add(add)).ok_or_else(refuse)?;
        rest = next;
    }
    Ok(total)
}

/// A list of processors or memory nodes: `0-3,7`.
///
/// # Errors
/// Why it is refused.
pub fn check_cpu_list(what: &'static str, text: &str) -> Result<(), Invalid> {
    let number = |text: &str| text.parse::<u16>().ok();
    let good = |part: &str| match part.split_once('-') {
        None => number(part).is_some(),
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
    };
    if text.split(',').all(good) {
        Ok(())
    } else {
        Err(Invalid::new(what, text, "it is not a list of numbers").hint("write numbers and ranges: 0-3,7"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_written() {
        let bytes = |text| parse_bytes("size", text).ok();
        assert_eq!(bytes("12"), Some(12));
        assert_eq!(bytes("64M"), Some(64 << 20));
        assert_eq!(bytes("1.5g"), Some(3 << 29));
        assert_eq!(bytes("2KiB"), Some(2048));
        for bad in ["", "12x", "m", "-1", "1.m", "9999999999999999999", "8388608t", "1..2k", "0x10"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_are_told_short() {
        let told = [0, 1023, 1024, 1536, 61 << 20, 10 << 30, u64::MAX].map(format_bytes);
        assert_eq!(told, ["0B", "1023B", "1K", "1.5K", "61M", "10G", "16E"]);
    }

    #[test]
    fn processors_have_thousandths() {
        assert_eq!(parse_cpus("1.5").ok(), Some(1500));
        assert_eq!(parse_cpus(".25").ok(), Some(250));
        assert_eq!(parse_cpus("2").ok(), Some(2000));
        for bad in ["", "0", "0.001", "x", "1.", "-1", "99999999999"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(parse_duration_ms("timeout", "1h30m").ok(), Some(5_400_000));
        assert_eq!(parse_duration_ms("timeout", "10").ok(), Some(10_000));
        assert!(parse_duration_ms("timeout", "10y").is_err());
    }

    #[test]
    fn lists_of_processors() {
        assert!(check_cpu_list("processors", "0-3,7").is_ok());
        for bad in ["", "3-1", "a", "1,,2", "99999"] {
            assert!(check_cpu_list("processors", bad).is_err(), "{bad}");
        }
    }
}
