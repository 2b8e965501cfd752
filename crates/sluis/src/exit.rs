//! How a command ends: exit codes, their order, and errors as people read them.
//!
//! Guarantee: whatever is said here went through redaction.

use std::fmt::Write as _;

use sluis_core::secret::redact;
use sluis_core::{Error, ErrorKind};

/// Exit codes, as `--help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed, or interrupted.
    Failed,
    /// 2: bad configuration or usage.
    Config,
    /// 3: more rejects than `fail_if` allows.
    Budget,
    /// 4: another process is at work on it.
    Held,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Config => 2,
            Exit::Budget => 3,
            Exit::Held => 4,
        }
    }

    /// The code for an error.
    pub fn of(error: &Error) -> Exit {
        match error.kind() {
            ErrorKind::Config => Exit::Config,
            ErrorKind::Budget => Exit::Budget,
            ErrorKind::Lease => Exit::Held,
            _ => Exit::Failed,
        }
    }

    /// The worse of two: bad configuration, failed, budget, held, done.
    #[must_use]
    pub fn worse(self, other: Exit) -> Exit {
        const WORST_FIRST: [Exit; 5] = [Exit::Config, Exit::Failed, Exit::Budget, Exit::Held, Exit::Done];
        WORST_FIRST.into_iter().find(|e| *e == self || *e == other).unwrap_or(Exit::Failed)
    }
}

/// Why a command stops before its end.
#[derive(Debug)]
pub enum Failure {
    /// An error that nobody has told yet.
    Error(Error),
    /// Everything was said; this is the code.
    Said(Exit),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// How a command ends.
pub type End = Result<Exit, Failure>;

/// `error: …`, `caused by: …`, `hint: …`, one line each, redacted.
pub fn error_text(error: &Error, color: bool) -> String {
    let paint = |code: &str, text: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut out = format!("{} {error}\n", paint("1;31", "error:"));
    let mut last = error.message().to_owned();
    for cause in error.causes() {
        if cause != last {
            let _ = writeln!(out, "{} {cause}", paint("1", "caused by:"));
        }
        last = cause;
    }
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(out, "{} {hint}", paint("1;36", "hint:"));
    }
    redact(&out)
}

/// A word for scripts: what the caller can do about it.
pub fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "config",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Permission => "permission",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Capacity => "capacity",
        ErrorKind::SourceChanged => "source_changed",
        ErrorKind::CorruptInput => "corrupt_input",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Lease => "lease",
        ErrorKind::Ledger => "ledger",
        ErrorKind::Budget => "budget",
        ErrorKind::Data => "data",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Crash => "crash",
        ErrorKind::Internal => "internal",
    }
}

/// An error as JSON, redacted.
pub fn error_json(error: &Error) -> serde_json::Value {
    let context: serde_json::Map<_, _> = error.contexts().iter().map(|(k, v)| ((*k).to_owned(), redact(v).into())).collect();
    serde_json::json!({
        "kind": kind_word(error.kind()),
        "message": redact(error.message()),
        "context": context,
        "causes": error.causes().iter().map(|c| redact(c)).collect::<Vec<_>>(),
        "hint": error.hint_text().map(redact),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_code_wins() {
        assert_eq!(Exit::Done.worse(Exit::Held), Exit::Held);
        assert_eq!(Exit::Held.worse(Exit::Budget), Exit::Budget);
        assert_eq!(Exit::Failed.worse(Exit::Budget), Exit::Failed);
        assert_eq!(Exit::Failed.worse(Exit::Config), Exit::Config);
        assert_eq!(Exit::Done.worse(Exit::Done).code(), 0);
    }

    #[test]
    fn errors_are_told_in_three_parts_without_secrets() {
        sluis_core::secret::register("hunter2-secret");
        let inner = std::io::Error::other("password hunter2-secret refused");
        let e = Error::new(ErrorKind::Permission, "cannot open x").context("file", "a.csv").source(inner).hint("ask hunter2-secret");
        assert_eq!(error_text(&e, false), "error: cannot open x (file: a.csv)\ncaused by: password *** refused\nhint: ask ***\n");
        assert_eq!(error_json(&e)["causes"][0], "password *** refused");
    }
}
