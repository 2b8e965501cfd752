//! Dates and times in names: `%Y%m%d` as a regular expression, and its text as a value.
//!
//! Only what stands in file names is understood; a pattern must name the year (or `%s`). What a pattern leaves out is its smallest
//! value: `%Y%m` is the first of the month, `%H` alone the full hour.

use arrow_schema::{DataType, TimeUnit};
use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// Text form of a naive timestamp constant: RFC 3339, as if in UTC.
const NAIVE: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// A strftime pattern, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimePattern {
    /// With `%F`, `%T` and the like spelled out.
    format: String,
    /// What its text looks like; holds no groups.
    pub regex: String,
    /// Whether a `/` is in it: then the capture reaches over folders.
    pub folders: bool,
    kind: TimeKind,
    ordinal: bool,
    month: bool,
    day: bool,
    hour: bool,
    minute: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeKind {
    Date,
    Naive,
    Zoned,
}

impl TimeKind {
    pub fn data_type(self) -> DataType {
        match self {
            TimeKind::Date => DataType::Date32,
            TimeKind::Naive => DataType::Timestamp(TimeUnit::Microsecond, None),
            TimeKind::Zoned => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl TimePattern {
    /// Reads a pattern; the kind follows from what is in it: a zone or `%s`, a time of day, or only a date.
    pub fn parse(text: &str) -> Result<TimePattern, String> {
        let format = text.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%R", "%H:%M");
        let mut regex = String::new();
        let mut seen = String::new();
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
                continue;
            }
            let mut code = String::new();
            for c in rest.by_ref() {
                code.push(c);
                if !matches!(c, '-' | '.' | ':' | '3' | '6' | '9') {
                    break;
                }
            }
            regex.push_str(code_regex(&code).ok_or_else(|| unknown(&code))?);
            seen.push(code.chars().last().unwrap_or(' '));
        }
        let has = |codes: &str| seen.contains(|c| codes.contains(c));
        if !has("Yys") {
            return Err(format!("`{text}` names no year: a date needs `%Y` (or `%y`, or `%s` for seconds since 1970)"));
        }
        if has("MSfp") && !has("HIs") {
            return Err(format!("`{text}` has a part of a time of day but no hour (`%H`)"));
        }
        if has("I") != has("p") {
            return Err(format!("`{text}`: `%I` (hour of twelve) and `%p` (AM or PM) belong together"));
        }
        if has("d") && !has("mbBhj") {
            return Err(format!("`{text}` has a day but no month (`%m`)"));
        }
        let kind = if has("zs") {
            TimeKind::Zoned
        } else if has("HI") {
            TimeKind::Naive
        } else {
            TimeKind::Date
        };
        let folders = format.contains('/');
        Ok(TimePattern { ordinal: has("j"), month: has("mbBh"), day: has("de"), hour: has("HI"), minute: has("M"), format, regex, folders, kind })
    }

    /// For `{x:date(%Y…)}` and the like: the pattern must give at least that.
    pub fn of_kind(text: &str, wanted: &DataType) -> Result<TimePattern, String> {
        let mut pattern = TimePattern::parse(text)?;
        match (wanted, pattern.kind) {
            (DataType::Date32, TimeKind::Date) => {}
            (DataType::Date32, _) => return Err(format!("`{text}` has a time of day: make it a timestamp")),
            (DataType::Timestamp(_, None), TimeKind::Zoned) => return Err(format!("`{text}` has a zone: make it a timestamptz")),
            (DataType::Timestamp(_, None), _) => pattern.kind = TimeKind::Naive,
            // A time that names no zone is UTC.
            _ => pattern.kind = TimeKind::Zoned,
        }
        Ok(pattern)
    }

    pub fn kind(&self) -> TimeKind {
        self.kind
    }

    /// The canonical text: `2024-01-31`, or RFC 3339. `None`: it is no such date.
    pub fn value(&self, text: &str) -> Option<String> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, StrftimeItems::new(&self.format)).ok()?;
        if self.kind == TimeKind::Date {
            return Some(self.date(&mut parsed)?.format("%Y-%m-%d").to_string());
        }
        if self.format.contains("%s") {
            return DateTime::from_timestamp(parsed.timestamp()?, 0).map(|at| at.format(NAIVE).to_string());
        }
        let at = self.date(&mut parsed)?.and_time(self.time(&mut parsed)?);
        let at = match (self.kind, parsed.offset()) {
            (TimeKind::Zoned, Some(seconds)) => at.checked_sub_signed(chrono::Duration::seconds(i64::from(seconds)))?,
            _ => at,
        };
        Some(at.format(NAIVE).to_string())
    }

    fn date(&self, parsed: &mut Parsed) -> Option<NaiveDate> {
        if !self.ordinal {
            if !self.month {
                parsed.set_month(1).ok()?;
            }
            if !self.day {
                parsed.set_day(1).ok()?;
            }
        }
        parsed.to_naive_date().ok()
    }

    fn time(&self, parsed: &mut Parsed) -> Option<NaiveTime> {
        if !self.hour {
            return Some(NaiveTime::MIN);
        }
        if !self.minute {
            parsed.set_minute(0).ok()?;
        }
        parsed.to_naive_time().ok()
    }
}

/// The moment that a canonical text stands for: a date is its first.
pub(super) fn moment(canonical: &str) -> Option<DateTime<Utc>> {
    match NaiveDate::parse_from_str(canonical, "%Y-%m-%d") {
        Ok(day) => Some(day.and_time(NaiveTime::MIN).and_utc()),
        Err(_) => NaiveDateTime::parse_from_str(canonical, NAIVE).ok().map(|at| at.and_utc()),
    }
}

fn code_regex(code: &str) -> Option<&'static str> {
    Some(match code {
        "Y" => "[0-9]{4}",
        "m" | "d" | "H" | "I" | "M" | "S" | "y" => "[0-9]{2}",
        "-m" | "-d" | "-H" | "-I" | "-M" | "-S" => "[0-9]{1,2}",
        "j" | "3f" => "[0-9]{3}",
        "6f" => "[0-9]{6}",
        "9f" => "[0-9]{9}",
        ".f" => r"(?:\.[0-9]+)?",
        "b" | "h" => "[A-Za-z]{3}",
        "B" => "[A-Za-z]+",
        "p" => "[AaPp][Mm]",
        "z" | ":z" => "[+-][0-9]{2}:?[0-9]{2}",
        "s" => "[0-9]+",
        "%" => "%",
        _ => return None,
    })
}

fn unknown(code: &str) -> String {
    let hint = if code == "f" { "; for parts of a second write `%3f`, `%6f`, `%9f` (so many digits) or `%.f`" } else { "" };
    format!("`%{code}` cannot stand in a file name's pattern: one of %Y %y %m %b %B %d %j %H %I %p %M %S %3f %z %s %F %T %%{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_canonical_values() {
        for (pattern, text, value) in [
            ("%Y%m%d", "20240131", "2024-01-31"),
            ("%F", "2024-01-31", "2024-01-31"),
            ("%Y/%m/%d", "2024/01/31", "2024-01-31"),
            ("%Y%m", "202402", "2024-02-01"),
            ("%Y", "2024", "2024-01-01"),
            ("%y%m%d", "240131", "2024-01-31"),
            ("%Y%j", "2024060", "2024-02-29"),
            ("%d%b%Y", "31Jan2024", "2024-01-31"),
            ("%-d.%-m.%Y", "1.2.2024", "2024-02-01"),
            ("%Y%m%d%H%M%S", "20240131235959", "2024-01-31T23:59:59Z"),
            ("%Y%m%dT%H", "20240131T07", "2024-01-31T07:00:00Z"),
            ("%Y%m%d%I%p", "2024013107PM", "2024-01-31T19:00:00Z"),
            ("%Y%m%d%H%M%S%3f", "20240131235959125", "2024-01-31T23:59:59.125Z"),
            ("%Y%m%dT%H%M%z", "20240131T0130+0200", "2024-01-30T23:30:00Z"),
            ("%s", "1706745599", "2024-01-31T23:59:59Z"),
        ] {
            let p = TimePattern::parse(pattern).unwrap();
            assert_eq!(p.value(text).as_deref(), Some(value), "{pattern}");
            assert!(regex::Regex::new(&format!("^{}$", p.regex)).unwrap().is_match(text), "{pattern}");
            assert!(moment(value).is_some(), "{value}");
        }
        for (pattern, text) in [("%Y%m%d", "20241301"), ("%Y%m%d", "20240230"), ("%Y%m%d%H", "2024010125")] {
            assert_eq!(TimePattern::parse(pattern).unwrap().value(text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_are_no_dates_are_refused() {
        for (pattern, says) in
            [("%m%d", "names no year"), ("%Y%M", "no hour"), ("%Y%I", "belong together"), ("%Q", "%Q"), ("%Y%f", "%3f"), ("%Y%d", "no month")]
        {
            let e = TimePattern::parse(pattern).unwrap_err();
            assert!(e.contains(says), "{pattern}: {e}");
        }
    }
}
