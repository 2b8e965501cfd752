//! `rejects > 1%`: how many rejects are too many.

use std::fmt;
use std::str::FromStr;

/// An error budget: more rejects than that is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    threshold: Threshold,
    /// `>=` rather than `>`.
    inclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Threshold {
    Rows(u64),
    /// Of the rows read; 0 to 100.
    Percent(f64),
}

impl Budget {
    /// Whether `rejected` of `read` rows are too many. With nothing read nothing is.
    pub fn exceeded(&self, rejected: u64, read: u64) -> bool {
        let (have, limit) = match self.threshold {
            Threshold::Rows(n) => (rejected as f64, n as f64),
            Threshold::Percent(_) if read == 0 => return false,
            // Both sides times the rows read: a division would round.
            Threshold::Percent(p) => (rejected as f64 * 100.0, p * read as f64),
        };
        if self.inclusive { have >= limit && rejected > 0 } else { have > limit }
    }
}

impl FromStr for Budget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is not a budget{why}: write it as `rejects > 1%` or `rejects > 100`");
        let rest = text.trim().strip_prefix("rejects").ok_or_else(|| wrong(""))?.trim_start();
        let (inclusive, rest) = match (rest.strip_prefix(">="), rest.strip_prefix('>')) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong(" (`>` is missing)")),
        };
        let rest = rest.trim();
        let threshold = match rest.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim();
                let plain = percent.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                let n: f64 = percent.parse().ok().filter(|_| plain).ok_or_else(|| wrong(""))?;
                if n > 100.0 {
                    return Err(wrong(" (there are never more than 100%)"));
                }
                Threshold::Percent(n)
            }
            None => Threshold::Rows(rest.replace('_', "").parse().map_err(|_| wrong(""))?),
        };
        Ok(Self { threshold, inclusive })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejects {} ", if self.inclusive { ">=" } else { ">" })?;
        match self.threshold {
            Threshold::Rows(n) => n.fmt(f),
            Threshold::Percent(p) => write!(f, "{p}%"),
        }
    }
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlertOn {
    /// A run that failed.
    Failure,
    /// More rejects than that in an epoch.
    Rejects(Budget),
}

impl FromStr for AlertOn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "failure" => Ok(AlertOn::Failure),
            other if other.starts_with("rejects") => other.parse().map(AlertOn::Rejects),
            other => Err(format!("`{other}` is nothing to alert on: write `failure`, or a budget such as `rejects > 1%`")),
        }
    }
}

impl fmt::Display for AlertOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlertOn::Failure => f.write_str("failure"),
            AlertOn::Rejects(budget) => budget.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_kept() {
        let budget = |text: &str| text.parse::<Budget>().unwrap();
        for (text, rejected, read, exceeded) in [
            ("rejects > 1%", 1, 100, false),
            ("rejects > 1%", 2, 100, true),
            ("rejects > 0.1%", 1, 1000, false),
            ("rejects>0.1 %", 2, 1000, true),
            ("rejects > 0%", 1, 1_000_000_000, true),
            ("rejects > 0", 0, 10, false),
            ("rejects > 100", 101, 101, true),
            ("rejects >= 100", 100, 100, true),
            ("rejects >= 0", 0, 100, false),
            ("rejects > 1%", 0, 0, false),
        ] {
            assert_eq!(budget(text).exceeded(rejected, read), exceeded, "{text} {rejected}/{read}");
        }
        assert_eq!(budget(" rejects>1_000 ").to_string(), "rejects > 1000");
        assert_eq!(budget("rejects >= 2.5%").to_string(), "rejects >= 2.5%");
        for text in ["", "rejects", "rejects 1%", "rejects > x", "rejects > 101%", "rejects > -1", "errors > 1", "rejects > nan%", "rejects > %"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
        assert_eq!("failure".parse(), Ok(AlertOn::Failure));
        assert!("failures".parse::<AlertOn>().is_err());
    }
}
