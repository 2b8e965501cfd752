//! strftime patterns, compiled once and run over bytes: `%Y%m%d%H%M%S`, `%d/%m/%Y`, `%b %d %Y %I:%M %p`.
//!
//! Deliberately not here: locales, named zones. Guarantees: the whole text must match; impossible dates are nothing.

use std::sync::Arc;

use super::time::{DAY, Offset, days, fraction, offset};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Arc<str>,
    /// With whether all of its digits must be there, because digits of another field stand next to it.
    steps: Arc<[(Step, bool)]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Literal(u8),
    /// One or more blanks.
    Blank,
    Year4,
    Year2,
    Month,
    MonthName,
    Day,
    DayOfYear,
    WeekdayName,
    Hour24,
    Hour12,
    AmPm,
    Minute,
    Second,
    /// Digits after the point.
    Fraction,
    /// A point and digits, or nothing.
    PointFraction,
    Offset,
    ZoneWord,
    EpochSeconds,
}

const MONTHS: [&str; 12] = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What the steps have found.
#[derive(Default)]
struct Found {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: u32,
    hour12: bool,
    pm: Option<bool>,
    minute: u32,
    second: u32,
    micros: i64,
    offset: Option<i32>,
    epoch: Option<i64>,
}

impl Step {
    fn is_numeric(&self) -> bool {
        matches!(
            self,
            Step::Year4
                | Step::Year2
                | Step::Month
                | Step::Day
                | Step::DayOfYear
                | Step::Hour24
                | Step::Hour12
                | Step::Minute
                | Step::Second
                | Step::Fraction
        )
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A sentence that names the field that is not understood, or what is missing to make a date.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&b, tail)) = rest.split_first() {
            rest = tail;
            if b != b'%' {
                steps.push(if b == b' ' { Step::Blank } else { Step::Literal(b) });
                continue;
            }
            // Flags for padding change nothing: one or two digits are read anyway.
            while let [b'-' | b'_' | b'0', more @ ..] = rest {
                rest = more;
            }
            rest = field(rest, text, &mut steps)?;
        }
        let has = |s: &Step| steps.contains(s);
        let dated = has(&Step::EpochSeconds)
            || ((has(&Step::Year4) || has(&Step::Year2))
                && (has(&Step::DayOfYear) || ((has(&Step::Month) || has(&Step::MonthName)) && has(&Step::Day))));
        if !dated {
            return Err(format!(
                "the pattern `{text}` says no full date: it needs year, month and day (%Y %m %d), or year and day of the year (%Y %j), or %s"
            ));
        }
        if has(&Step::Hour12) != has(&Step::AmPm) {
            return Err(format!("the pattern `{text}` needs both %I and %p, or %H"));
        }
        let numeric: Vec<bool> = steps.iter().map(Step::is_numeric).collect();
        let tight = |i: usize| (i > 0 && numeric[i - 1]) || numeric.get(i + 1) == Some(&true);
        let steps = steps.into_iter().enumerate().map(|(i, s)| (s, tight(i))).collect();
        Ok(Self { text: text.into(), steps })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Days since 1970-01-01.
    #[inline]
    pub fn date(&self, raw: &[u8]) -> Option<i32> {
        self.run(raw)?.date()
    }

    /// Microseconds since 1970-01-01, in UTC if the text gives an offset, else as it stands.
    #[inline]
    pub fn timestamp(&self, raw: &[u8]) -> Option<(i64, Offset)> {
        self.run(raw)?.timestamp()
    }

    fn run(&self, raw: &[u8]) -> Option<Found> {
        let mut found = Found::default();
        let mut at = raw;
        for (step, tight) in self.steps.iter() {
            at = found.take(step, *tight, at)?;
        }
        at.is_empty().then_some(found)
    }
}

/// Compiles the field after a `%`; returns what follows it.
fn field<'a>(rest: &'a [u8], text: &str, steps: &mut Vec<Step>) -> Result<&'a [u8], String> {
    let (letter, tail) = match rest {
        [b'.', b'3' | b'6' | b'9', b'f', tail @ ..] | [b'.', b'f', tail @ ..] => {
            steps.push(Step::PointFraction);
            return Ok(tail);
        }
        [b'3' | b'6' | b'9', b'f', tail @ ..] => (b'f', tail),
        [b':', b'z', tail @ ..] => (b'z', tail),
        [letter, tail @ ..] => (*letter, tail),
        [] => return Err(format!("the pattern `{text}` ends with a lone %")),
    };
    let more: &[Step] = match letter {
        b'Y' => &[Step::Year4],
        b'y' => &[Step::Year2],
        b'm' => &[Step::Month],
        b'b' | b'B' | b'h' => &[Step::MonthName],
        b'd' | b'e' => &[Step::Day],
        b'j' => &[Step::DayOfYear],
        b'a' | b'A' => &[Step::WeekdayName],
        b'H' | b'k' => &[Step::Hour24],
        b'I' | b'l' => &[Step::Hour12],
        b'p' | b'P' => &[Step::AmPm],
        b'M' => &[Step::Minute],
        b'S' => &[Step::Second],
        b'f' => &[Step::Fraction],
        b'z' => &[Step::Offset],
        b'Z' => &[Step::ZoneWord],
        b's' => &[Step::EpochSeconds],
        b'F' => &[Step::Year4, Step::Literal(b'-'), Step::Month, Step::Literal(b'-'), Step::Day],
        b'D' => &[Step::Month, Step::Literal(b'/'), Step::Day, Step::Literal(b'/'), Step::Year2],
        b'T' => &[Step::Hour24, Step::Literal(b':'), Step::Minute, Step::Literal(b':'), Step::Second],
        b'R' => &[Step::Hour24, Step::Literal(b':'), Step::Minute],
        b't' | b'n' => &[Step::Blank],
        b'%' => &[Step::Literal(b'%')],
        other => {
            return Err(format!(
                "the pattern `{text}` has %{}, which is not understood; known are %Y %y %m %b %d %j %a %H %I %p %M %S %f %z %Z %s %F %T %%",
                char::from(other)
            ));
        }
    };
    steps.extend_from_slice(more);
    Ok(tail)
}

/// One to `most` digits (exactly four for years), and what follows.
#[inline(always)]
fn digits(raw: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let mut value = 0;
    let mut n = 0;
    while n < most && n < raw.len() && raw[n].is_ascii_digit() {
        value = value * 10 + u32::from(raw[n] - b'0');
        n += 1;
    }
    (n >= least).then(|| (value, &raw[n..]))
}

/// A name of the list, whole or its first three letters, in any case: its index, and what follows.
fn name<'a>(raw: &'a [u8], names: &[&str]) -> Option<(u32, &'a [u8])> {
    let starts = |word: &str| raw.len() >= word.len() && raw[..word.len()].eq_ignore_ascii_case(word.as_bytes());
    let at = names.iter().position(|n| starts(&n[..3]))?;
    let length = if starts(names[at]) { names[at].len() } else { 3 };
    Some((at as u32, &raw[length..]))
}

impl Found {
    #[inline(always)]
    fn take<'a>(&mut self, step: &Step, tight: bool, at: &'a [u8]) -> Option<&'a [u8]> {
        let number = |most, to: &mut u32| {
            let (v, rest) = digits(at, if tight { most } else { 1 }, most)?;
            *to = v;
            Some(rest)
        };
        match step {
            Step::Literal(b) => at.split_first().filter(|(have, _)| *have == b).map(|(_, rest)| rest),
            Step::Blank => {
                let n = at.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                (n > 0).then(|| &at[n..])
            }
            Step::Year4 => digits(at, 4, 4).map(|(v, rest)| {
                self.year = Some(v as i32);
                rest
            }),
            // As POSIX has it: 69 to 99 are of the twentieth century.
            Step::Year2 => digits(at, 2, 2).map(|(v, rest)| {
                self.year = Some(v as i32 + if v >= 69 { 1900 } else { 2000 });
                rest
            }),
            Step::Month => number(2, self.month.insert(0)),
            Step::MonthName => name(at, &MONTHS).map(|(v, rest)| {
                self.month = Some(v + 1);
                rest
            }),
            Step::Day => {
                // %e pads with a blank.
                let at = if let ([b' ', rest @ ..], false) = (at, tight) { rest } else { at };
                digits(at, if tight { 2 } else { 1 }, 2).map(|(v, rest)| {
                    self.day = Some(v);
                    rest
                })
            }
            Step::DayOfYear => number(3, self.day_of_year.insert(0)),
            Step::WeekdayName => name(at, &WEEKDAYS).map(|(_, rest)| rest),
            Step::Hour24 => number(2, &mut self.hour),
            Step::Hour12 => {
                self.hour12 = true;
                number(2, &mut self.hour)
            }
            Step::AmPm => match at {
                [b'a' | b'A', b'm' | b'M', rest @ ..] => {
                    self.pm = Some(false);
                    Some(rest)
                }
                [b'p' | b'P', b'm' | b'M', rest @ ..] => {
                    self.pm = Some(true);
                    Some(rest)
                }
                _ => None,
            },
            Step::Minute => number(2, &mut self.minute),
            Step::Second => number(2, &mut self.second),
            Step::Fraction => fraction(at).map(|(v, rest)| {
                self.micros = v;
                rest
            }),
            Step::PointFraction => match at {
                [b'.' | b',', rest @ ..] => fraction(rest).map(|(v, rest)| {
                    self.micros = v;
                    rest
                }),
                _ => Some(at),
            },
            Step::Offset => offset(at).map(|(v, rest)| {
                self.offset = Some(v);
                rest
            }),
            Step::ZoneWord => match at {
                [b'U', b'T', b'C', rest @ ..] | [b'G', b'M', b'T', rest @ ..] | [b'Z', rest @ ..] => {
                    self.offset = Some(0);
                    Some(rest)
                }
                _ => None,
            },
            Step::EpochSeconds => {
                let (minus, digits_at) = if let [b'-', rest @ ..] = at { (true, rest) } else { (false, at) };
                let n = digits_at.iter().take_while(|b| b.is_ascii_digit()).count();
                let v = super::numbers::int64(&digits_at[..n])?;
                self.epoch = Some(if minus { -v } else { v });
                self.offset = Some(0);
                Some(&digits_at[n..])
            }
        }
    }

    #[inline(always)]
    fn date(&self) -> Option<i32> {
        if let Some(seconds) = self.epoch {
            return i32::try_from(seconds.div_euclid(86_400)).ok();
        }
        let year = self.year?;
        if let Some(n) = self.day_of_year {
            let last = if super::time::is_leap(year) { 366 } else { 365 };
            return if (1..=last).contains(&n) { Some(days(year, 1, 1)? + n as i32 - 1) } else { None };
        }
        days(year, self.month?, self.day?)
    }

    #[inline(always)]
    fn timestamp(&self) -> Option<(i64, Offset)> {
        if let Some(seconds) = self.epoch {
            return Some((seconds.checked_mul(1_000_000)?.checked_add(self.micros)?, Offset::Given(0)));
        }
        let day = i64::from(self.date()?);
        let hour = match (self.hour12, self.pm) {
            (true, Some(pm)) if (1..=12).contains(&self.hour) => self.hour % 12 + if pm { 12 } else { 0 },
            (false, _) => self.hour,
            _ => return None,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let seconds = i64::from(hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let micros = day * DAY + seconds * 1_000_000 + self.micros;
        Some(match self.offset {
            Some(east) => (micros - i64::from(east) * 1_000_000, Offset::Given(east)),
            None => (micros, Offset::Absent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_what_people_write() {
        let want = 1_709_210_096_000_000; // 2024-02-29T12:34:56Z
        for (pattern, text, micros) in [
            ("%Y%m%d%H%M%S", "20240229123456", want),
            ("%d/%m/%Y %H:%M:%S", "29/02/2024 12:34:56", want),
            ("%d/%m/%Y %H:%M:%S", "29/2/2024  12:34:56", want),
            ("%Y-%m-%dT%H:%M:%S%.f", "2024-02-29T12:34:56.25", want + 250_000),
            ("%Y-%m-%dT%H:%M:%S%.f", "2024-02-29T12:34:56", want),
            ("%Y-%m-%d %H:%M:%S.%f", "2024-02-29 12:34:56.000001", want + 1),
            ("%b %d, %Y %I:%M:%S %p", "Feb 29, 2024 12:34:56 pm", want),
            ("%d %B %y %H:%M:%S", "29 february 24 12:34:56", want),
            ("%Y-%j %T", "2024-060 12:34:56", want),
            ("%F %T%z", "2024-02-29 14:34:56+0200", want),
            ("%a, %d %b %Y %T %Z", "Thu, 29 Feb 2024 12:34:56 GMT", want),
            ("%s", "1709210096", want),
            ("%m/%e/%Y%%%H%M%S", "02/29/2024%123456", want),
        ] {
            let p = Pattern::new(pattern).unwrap();
            assert_eq!(p.timestamp(text.as_bytes()).map(|t| t.0), Some(micros), "{pattern} of {text}");
        }
    }

    #[test]
    fn what_does_not_match_is_nothing() {
        for (pattern, text) in [
            ("%Y%m%d", "2024022"),
            ("%Y%m%d", "20240230"),
            ("%Y%m%d", "202402290"),
            ("%Y-%j", "2023-366"),
            ("%d.%m.%Y", "29/02/2024"),
            ("%Y-%m-%d %I:%M %p", "2024-02-29 13:00 pm"),
            ("%Y-%m-%d %H:%M", "2024-02-29 24:00"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().timestamp(text.as_bytes()), None, "{pattern} of {text}");
        }
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        for (pattern, says) in [("%Y-%m", "no full date"), ("%Q", "%Q"), ("%Y%m%d%", "lone %"), ("%F %I", "%p")] {
            let e = Pattern::new(pattern).unwrap_err();
            assert!(e.contains(says), "{e}");
        }
    }
}
