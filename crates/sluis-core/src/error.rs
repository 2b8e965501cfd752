//! The one error type of sluis: what kind (what the caller can do), whether a retry can help, what, where, why, and a hint.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error. Decided where the failure is understood, never re-derived from a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The configuration or the command line is wrong (exit code 2).
    Config,
    /// Something named does not exist: a file, a bucket, a table, a column.
    NotFound,
    /// Credentials are missing, wrong, or do not permit the action.
    Permission,
    /// The remote system or the network failed; it may work again.
    Unavailable,
    /// No room: disk full, quota, memory limit.
    Capacity,
    /// What the source held when it was planned is no longer there: the file changed or vanished. The split is skipped.
    SourceChanged,
    /// The bytes of a file are damaged beyond a row (truncated archive, broken footer).
    CorruptInput,
    /// The target was changed by someone else in a way that cannot be reconciled.
    Conflict,
    /// The lease was lost or is held by another (exit code 4).
    Lease,
    /// The ledger is damaged or from another version.
    Ledger,
    /// More rejects than the budget allows (exit code 3).
    Budget,
    /// A check with `on_fail: fail` failed, or rows could not be accounted for.
    Data,
    /// The user interrupted.
    Interrupted,
    /// A simulated crash (crash points in the simulator). Never seen by users.
    Crash,
    /// A bug in sluis: an invariant does not hold.
    Internal,
}

/// Whether trying the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call will fail the same way.
    Never,
    /// Try again after a short, growing pause.
    Backoff,
    /// The remote asked to slow down: pause at least this many milliseconds.
    After(u64),
}

/// What failed, where, why, and what to do. Printed by the command line as `error: …`, `caused by: …`, `hint: …`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error that no retry can help.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, retry: Retry::Never, message: message.into(), context: Vec::new(), hint: None, source: None }))
    }
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
    /// An error of a remote system that may pass: retried with backoff.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message).retry(Retry::Backoff)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message).hint("this is a bug in sluis; please report it with the command and this text")
    }
    /// Classifies an operating-system error; `what` says what was being done, `path` to which file.
    pub fn io(what: &str, path: impl fmt::Display, e: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let (kind, retry, hint) = match e.kind() {
            K::NotFound => (ErrorKind::NotFound, Retry::Never, None),
            K::PermissionDenied => (ErrorKind::Permission, Retry::Never, Some("give the user that runs sluis access to this path")),
            K::ReadOnlyFilesystem => (ErrorKind::Permission, Retry::Never, Some("the file system is mounted read-only")),
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
                (ErrorKind::Capacity, Retry::Never, Some("free some space, then run again: what was not committed is redone"))
            }
            K::Interrupted | K::TimedOut | K::WouldBlock => (ErrorKind::Unavailable, Retry::Backoff, None),
            _ => (ErrorKind::Unavailable, Retry::Never, None),
        };
        let mut error = Self::new(kind, format!("cannot {what} {path}")).retry(retry).source(e);
        if let Some(hint) = hint {
            error = error.hint(hint);
        }
        error
    }
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }
    /// Adds where it happened, e.g. `("file", path)`. Outer contexts are added last.
    #[must_use]
    pub fn context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }
    /// What a person can do about it. The innermost hint wins.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert(hint.into());
        self
    }
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    pub fn retry_policy(&self) -> Retry {
        self.0.retry
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// Context pairs, innermost first.
    pub fn contexts(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
    /// The causes, outermost first, one line each.
    pub fn causes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut at = self.0.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static));
        while let Some(e) = at {
            let text = e.to_string();
            if out.last() != Some(&text) {
                out.push(text);
            }
            at = e.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (k, v)) in self.0.context.iter().enumerate() {
            write!(f, "{}{k}: {v}", if i == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        for cause in self.causes() {
            write!(f, "; caused by: {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
