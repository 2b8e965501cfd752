//! Dates and timestamps in ISO 8601 form, and the calendar arithmetic that patterns share.
//!
//! Deliberately not here: strftime patterns (`pattern.rs`), named time zones. Guarantees: an impossible date or time is nothing,
//! never the next possible one; fractions finer than a microsecond are cut.

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; `None` if there is no such day.
#[inline]
pub fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    if !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return None;
    }
    // Days of whole 400-year cycles, then of the years and months since.
    const BEFORE: [u16; 13] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let (cycle, y) = (year.div_euclid(400), year.rem_euclid(400) as u32);
    let leap_days = if y == 0 { 0 } else { (y - 1) / 4 - (y - 1) / 100 + 1 };
    let of_year = u32::from(BEFORE[month as usize]) + u32::from(month > 2 && is_leap(year)) + day - 1;
    i32::try_from(i64::from(cycle) * 146_097 + i64::from(y * 365 + leap_days + of_year) - 719_528).ok()
}

/// Days of a month, 1 to 12.
#[inline]
pub fn days_in(year: i32, month: u32) -> u32 {
    const DAYS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    u32::from(DAYS[month as usize]) + u32::from(month == 2 && is_leap(year))
}

/// Whether the year has a 29 February.
#[inline]
pub fn is_leap(year: i32) -> bool {
    // Of the years that 25 divides, those that 16 divides.
    if year % 25 == 0 { year & 15 == 0 } else { year & 3 == 0 }
}

#[inline(always)]
fn two(a: u8, b: u8) -> Option<u32> {
    let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
    if a > 9 || b > 9 { None } else { Some(u32::from(a) * 10 + u32::from(b)) }
}

/// `2024-02-29`, exactly; days since 1970-01-01.
#[inline]
pub fn date(raw: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = raw else { return None };
    days((two(y1, y2)? * 100 + two(y3, y4)?) as i32, two(m1, m2)?, two(d1, d2)?)
}

/// What a timestamp's text says of its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    Absent,
    /// Seconds east of UTC; the timestamp has been shifted to UTC.
    Given(i32),
}

/// `2024-02-29`, `2024-02-29T12:30`, `2024-02-29 12:30:05.123456Z`, `…+02:00`: microseconds since 1970-01-01, in UTC if an offset is
/// given, else as it stands.
#[inline]
pub fn timestamp(raw: &[u8]) -> Option<(i64, Offset)> {
    if raw.len() < 10 {
        return None;
    }
    let (day, rest) = raw.split_at(10);
    let day = i64::from(date(day)?) * DAY;
    let Some((&separator, rest)) = rest.split_first() else { return Some((day, Offset::Absent)) };
    if !matches!(separator, b'T' | b' ' | b't') {
        return None;
    }
    let (hour, minute, second, rest) = match rest {
        [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] => (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?, rest),
        [h1, h2, b':', m1, m2, rest @ ..] => (two(*h1, *h2)?, two(*m1, *m2)?, 0, rest),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest {
        [b'.' | b',', rest @ ..] => fraction(rest)?,
        rest => (0, rest),
    };
    let micros = day + (i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000 + fraction;
    if rest.is_empty() {
        return Some((micros, Offset::Absent));
    }
    let rest = if let [b' ', tail @ ..] = rest { tail } else { rest };
    let (offset, rest) = offset(rest)?;
    if rest.is_empty() { Some((micros - i64::from(offset) * 1_000_000, Offset::Given(offset))) } else { None }
}

/// Digits of a fraction of a second as microseconds (finer digits are cut), and what follows them. At least one digit.
#[inline]
pub fn fraction(raw: &[u8]) -> Option<(i64, &[u8])> {
    let n = raw.iter().take_while(|b| b.is_ascii_digit()).count();
    if n == 0 {
        return None;
    }
    let mut micros = 0_i64;
    for digit in raw[..n].iter().chain(std::iter::repeat(&b'0')).take(6) {
        micros = micros * 10 + i64::from(digit - b'0');
    }
    Some((micros, &raw[n..]))
}

/// `Z`, `UTC`, `+02:00`, `+0200`, `+02`: seconds east of UTC, and what follows.
#[inline]
pub fn offset(raw: &[u8]) -> Option<(i32, &[u8])> {
    let (east, rest) = match raw {
        [b'Z' | b'z', rest @ ..] => return Some((0, rest)),
        [b'U', b'T', b'C', rest @ ..] => return Some((0, rest)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes, rest) = match rest {
        [h1, h2, b':', m1, m2, rest @ ..] => (two(*h1, *h2)?, two(*m1, *m2)?, rest),
        [h1, h2, m1, m2, rest @ ..] if m1.is_ascii_digit() => (two(*h1, *h2)?, two(*m1, *m2)?, rest),
        [h1, h2, rest @ ..] => (two(*h1, *h2)?, 0, rest),
        _ => return None,
    };
    if hours > 18 || minutes > 59 {
        return None;
    }
    Some((east * (hours * 3600 + minutes * 60) as i32, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_agree_with_chrono() {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for n in (-800_000..800_000).step_by(13) {
            let d = epoch + chrono::Duration::days(n);
            use chrono::Datelike;
            assert_eq!(days(d.year(), d.month(), d.day()), Some(n as i32), "{d}");
        }
        for (y, m, d) in [(2023, 2, 29), (1900, 2, 29), (2024, 13, 1), (2024, 0, 1), (2024, 4, 31), (2024, 1, 0)] {
            assert_eq!(days(y, m, d), None);
        }
    }

    #[test]
    fn timestamps_in_their_forms() {
        let noon = 1_709_208_000_000_000; // 2024-02-29T12:00:00Z
        for (text, micros, offset) in [
            ("2024-02-29 12:00:00", noon, Offset::Absent),
            ("2024-02-29T12:00", noon, Offset::Absent),
            ("2024-02-29", noon - 12 * 3_600_000_000, Offset::Absent),
            ("2024-02-29T12:00:00.5", noon + 500_000, Offset::Absent),
            ("2024-02-29T12:00:00.123456789", noon + 123_456, Offset::Absent),
            ("2024-02-29T12:00:00Z", noon, Offset::Given(0)),
            ("2024-02-29 14:00:00+02:00", noon, Offset::Given(7200)),
            ("2024-02-29 14:00:00 +0200", noon, Offset::Given(7200)),
            ("2024-02-29 10:30:00-01:30", noon, Offset::Given(-5400)),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some((micros, offset)), "{text}");
        }
        for bad in [
            "",
            "2024-02-30",
            "2024-02-29x",
            "2024-02-29 24:00:00",
            "2024-02-29 12:60",
            "2024-02-29 12:00:60",
            "2024-02-29 12:00:00.",
            "2024-02-29 12",
            "2024-02-29 12:00:00+",
            "2024-2-29",
        ] {
            assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
        }
    }
}
