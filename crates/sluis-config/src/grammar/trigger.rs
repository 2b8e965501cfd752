//! When a pipeline runs, as one short text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sluis_core::{HumanDuration, PipelineName};

use super::Cron;

/// When `serve` runs a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trigger {
    /// Only when somebody says `run`.
    #[default]
    Manual,
    /// At these times.
    Cron(Cron),
    /// Again and again: the time between the starts of two runs.
    Every(Duration),
    /// Always: waits for more.
    Live,
    /// After any of these has run.
    After(Vec<PipelineName>),
}

impl FromStr for Trigger {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let t = text.trim();
        let behind = |word: &str| {
            let rest = t.strip_prefix(word)?;
            rest.strip_prefix(':').or_else(|| rest.starts_with(' ').then_some(rest)).map(str::trim)
        };
        match t {
            "live" => return Ok(Trigger::Live),
            "manual" => return Ok(Trigger::Manual),
            _ => {}
        }
        if let Some(every) = behind("every") {
            return every.parse::<HumanDuration>().and_then(|d| Trigger::every(d.0));
        }
        if let Some(after) = behind("after") {
            let names = after.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).map(PipelineName);
            return Ok(Trigger::After(names.collect()));
        }
        if t.starts_with('@') || t.split_whitespace().count() > 1 {
            return t.parse().map(Trigger::Cron);
        }
        Err(format!("`{t}` says no time: write a crontab line (`5 3 * * *`), `every 30s`, `live`, `after OTHER`, or `manual`"))
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Manual => f.write_str("manual"),
            Trigger::Cron(cron) => cron.fmt(f),
            Trigger::Every(pause) => write!(f, "every {}", HumanDuration(*pause)),
            Trigger::Live => f.write_str("live"),
            Trigger::After(names) => write!(f, "after {}", names.iter().map(PipelineName::as_str).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Trigger {
    /// # Errors
    /// No time between runs.
    pub(crate) fn every(pause: Duration) -> Result<Self, String> {
        if pause.is_zero() { Err("`every` needs a time above zero; `live` runs always".into()) } else { Ok(Trigger::Every(pause)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let is = |text: &str| text.parse::<Trigger>();
        assert_eq!(is("live"), Ok(Trigger::Live));
        assert_eq!(is("manual"), Ok(Trigger::Manual));
        assert_eq!(is("every 30s"), Ok(Trigger::Every(Duration::from_secs(30))));
        assert_eq!(is("every: 1h"), Ok(Trigger::Every(Duration::from_secs(3600))));
        assert_eq!(is("after a, b"), Ok(Trigger::After(vec![PipelineName::new("a"), PipelineName::new("b")])));
        assert!(matches!(is("5 3 * * *"), Ok(Trigger::Cron(_))));
        for (text, says) in [
            ("every 0s", "above zero"),
            ("every soon", "not a duration"),
            ("sometimes", "says no time"),
            ("5 3 * *", "4 fields"),
            ("@dayly", "1 field"),
        ] {
            assert!(is(text).unwrap_err().contains(says), "{text}");
        }
    }
}
