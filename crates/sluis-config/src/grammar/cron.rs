//! Crontab lines: `minute hour day-of-month month day-of-week`, with `*`, lists, ranges, steps, names, and `@daily` and the like.
//!
//! As in cron, where both days are restricted either is enough. Deliberately not here: time zones (times are local), waiting.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, NaiveDateTime, NaiveTime, Timelike};

/// A crontab line that comes true some day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day of month and day of week are both restricted: then either is enough.
    either_day: bool,
}

struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, words: &[] },
    Field { name: "hour", low: 0, high: 23, words: &[] },
    Field { name: "day of month", low: 1, high: 31, words: &[] },
    Field { name: "month", low: 1, high: 12, words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] },
    Field { name: "day of week", low: 0, high: 7, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Cron {
    /// The first moment after `after` at which it is true, in the same (local) time.
    pub fn next_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let from = after.with_second(0)?.with_nanosecond(0)?.checked_add_signed(chrono::Duration::minutes(1))?;
        let mut day = from.date();
        let mut start = from.time();
        // Any date comes back within 28 years, but for the century years without a leap day.
        for _ in 0..366 * 41 {
            if self.on(day) {
                let first = u64::from(start.hour()) * 60 + u64::from(start.minute());
                let minute = (first..24 * 60).find(|m| self.hours >> (m / 60) & 1 == 1 && self.minutes >> (m % 60) & 1 == 1);
                if let Some(m) = minute {
                    return Some(day.and_time(NaiveTime::from_num_seconds_from_midnight_opt(m as u32 * 60, 0)?));
                }
            }
            day = day.checked_add_days(Days::new(1))?;
            start = NaiveTime::MIN;
        }
        None
    }

    fn on(&self, day: chrono::NaiveDate) -> bool {
        let date = self.days >> day.day() & 1 == 1;
        let weekday = self.weekdays >> day.weekday().num_days_from_sunday() & 1 == 1;
        self.months >> day.month() & 1 == 1 && if self.either_day { date || weekday } else { date && weekday }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let line = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() != 5 {
            let found = if words.len() == 1 { "1 field".to_owned() } else { format!("{} fields", words.len()) };
            return Err(format!("`{text}` is not a crontab line: it has {found}, not 5 (minute, hour, day of month, month, day of week)"));
        }
        let mut sets = [0_u64; 5];
        for ((set, word), field) in sets.iter_mut().zip(&words).zip(&FIELDS) {
            *set = parse_field(word, field).map_err(|why| format!("`{text}` is not a crontab line: {} `{word}` {why}", field.name))?;
        }
        let [minutes, hours, days, months, mut weekdays] = sets;
        // Sunday is 0 and 7.
        weekdays |= weekdays >> 7 & 1;
        let restricted = |word: &str| !word.starts_with('*');
        let cron =
            Cron { text: text.trim().to_owned(), minutes, hours, days, months, weekdays, either_day: restricted(words[2]) && restricted(words[4]) };
        let since = NaiveDateTime::default();
        if cron.next_after(since).is_none() {
            return Err(format!("`{text}` never comes true: there is no such day"));
        }
        Ok(cron)
    }
}

fn parse_field(word: &str, field: &Field) -> Result<u64, String> {
    let mut set = 0;
    for part in word.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|s| *s > 0).ok_or("has a step that is not a number above 0")?)),
            None => (part, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (field.low, if field.high == 7 { 6 } else { field.high }),
            Some((low, high)) => (number(low, field)?, number(high, field)?),
            // `5/15`: from 5 on.
            None => (number(range, field)?, if step.is_some() { field.high } else { number(range, field)? }),
        };
        if low > high {
            return Err(format!("has a range from {low} down to {high}"));
        }
        for n in (low..=high).step_by(step.unwrap_or(1) as usize) {
            set |= 1 << n;
        }
    }
    Ok(set)
}

fn number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(i) = field.words.iter().position(|w| *w == lower) {
        return Ok(i as u32 + field.low);
    }
    match text.parse::<u32>() {
        Ok(n) if (field.low..=field.high).contains(&n) => Ok(n),
        _ => Err(format!("is not {} to {}", field.low, field.high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str, after: &str) -> String {
        let after = NaiveDateTime::parse_from_str(after, "%Y-%m-%d %H:%M:%S").unwrap();
        line.parse::<Cron>().unwrap().next_after(after).unwrap().format("%Y-%m-%d %H:%M").to_string()
    }

    #[test]
    fn the_next_time_is_the_first_after() {
        for (line, after, is) in [
            ("5 3 * * *", "2024-01-31 03:04:59", "2024-01-31 03:05"),
            ("5 3 * * *", "2024-01-31 03:05:00", "2024-02-01 03:05"),
            ("*/15 9-17 * * mon-fri", "2024-06-01 10:00:00", "2024-06-03 09:00"),
            ("0 0 29 feb *", "2024-03-01 00:00:00", "2028-02-29 00:00"),
            ("0 12 1 * 0", "2024-06-01 13:00:00", "2024-06-02 12:00"),
            ("0 12 1 * 7", "2024-06-02 13:00:00", "2024-06-09 12:00"),
            ("10/20 * * * *", "2024-06-01 00:31:00", "2024-06-01 00:50"),
            ("1,2,30 * * * *", "2024-06-01 00:02:00", "2024-06-01 00:30"),
            ("@daily", "2024-12-31 23:59:00", "2025-01-01 00:00"),
        ] {
            assert_eq!(next(line, after), is, "{line}");
        }
    }

    #[test]
    fn what_is_no_crontab_line_says_why() {
        for (line, says) in [
            ("", "it has 0 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "minute `60` is not 0 to 59"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month `0` is not 1 to 31"),
            ("* * * foo *", "month `foo`"),
            ("* * * * 8", "day of week"),
            ("*/0 * * * *", "step"),
            ("30-10 * * * *", "from 30 down to 10"),
            ("0 0 30 2 *", "never comes true"),
            ("1,,2 * * * *", "minute"),
        ] {
            let e = line.parse::<Cron>().unwrap_err();
            assert!(e.contains(says), "{line}: {e}");
        }
    }
}
