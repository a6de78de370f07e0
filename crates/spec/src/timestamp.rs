// SPDX-License-Identifier: Apache-2.0
//! RFC 3339 times from and to nanoseconds since 1970, always UTC.

use crate::error::Invalid;

const DAY: u64 = 86_400;
const NANOS: u64 = 1_000_000_000;

/// `2026-11-23T19:39:23.123456789Z`.
#[must_use]
pub fn format(nanoseconds: u64) -> String {
    let (seconds, fraction) = (nanoseconds / NANOS, nanoseconds % NANOS);
    let (year, month, day) = date(seconds / DAY);
    let rest = seconds % DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:09}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Nanoseconds since 1970 of an RFC 3339 time (`Z` or `+hh:mm`; the time of day and the fraction may be left out).
///
/// # Errors
/// Why it is refused.
pub fn parse(text: &str) -> Result<u64, Invalid> {
    parse_parts(text).ok_or_else(|| {
        Invalid::new("time", text, "it is not an RFC 3339 time")
            .hint("write 2026-11-23T19:39:23Z, or a duration such as 10m")
    })
}

fn parse_parts(text: &str) -> Option<u64> {
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00Z"));
    let mut numbers = day.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut numbers = clock.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let local = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let seconds = local.checked_add_signed(-zone_seconds(zone)?)?;
    seconds.checked_mul(NANOS)?.checked_add(nanos.parse().ok()?)
}

fn zone_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return Some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days since 1970 of a date of the Gregorian calendar: years count from March, so that leap days come last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(format(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(format(951_782_400 * NANOS + 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(parse("2000-02-29T01:00:00+01:00").ok(), Some(951_782_400 * NANOS));
        assert!(parse("yesterday").is_err() && parse("2000-13-01").is_err());
    }

    proptest! {
        #[test]
        fn there_and_back(nanoseconds in 0..253_402_300_799_000_000_000_u128) {
            let nanoseconds = u64::try_from(nanoseconds % u128::from(u64::MAX)).unwrap();
            prop_assert_eq!(parse(&format(nanoseconds)).ok(), Some(nanoseconds));
        }
    }
}
