//! What can go wrong at a metastore, in classes that a caller can act on.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The database, table or partition does not exist (`NoSuchObjectException`, `UnknownDBException`).
    NoSuchObject,
    /// It exists already (`AlreadyExistsException`).
    AlreadyExists,
    /// The metastore does not allow this (`InvalidOperationException`): the table is gone or cannot be changed like this.
    InvalidOperation,
    /// What was sent is not valid (`InvalidObjectException`, `InvalidInputException`).
    InvalidObject,
    /// `MetaException`: anything else that the metastore refuses, often its database's doing.
    Meta,
    /// The lock is gone: it was released, or its heartbeats came too late.
    NoSuchLock,
    /// The transaction is gone or aborted.
    NoSuchTransaction,
    /// Somebody else has the lock.
    Locked,
    /// The metastore does not have this call: its version is older or newer than the call.
    UnknownMethod,
    /// The metastore failed at the call and says no more.
    Internal,
    /// No address could be connected to, or the connection was lost before the call was sent. Nothing was done. Worth a retry.
    Unreachable,
    /// The connection was lost, or time was over, after the call was sent: it may or may not have been done. Look before you repeat.
    Unknown,
    /// The login was refused, or the certificate is not to be trusted.
    Login,
    /// The answer cannot be read: the other side is no metastore, or expects SASL, TLS or framing that is not asked for.
    Protocol,
}

impl Kind {
    fn hint(self) -> Option<&'static str> {
        Some(match self {
            Kind::Unreachable => "look at the address and port (hive.metastore.uris), and whether the metastore is up",
            Kind::Protocol => "compare SASL, TLS and framed transport with the metastore's configuration",
            Kind::Unknown => "the call may have been done: look before you repeat it",
            _ => return None,
        })
    }
}

/// An error: its text says which call, at which metastore, and why it failed.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    text: String,
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    pub(crate) fn protocol(text: impl Into<String>) -> Error {
        Error::new(Kind::Protocol, text)
    }

    /// The class.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn with_kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    pub(crate) fn at(mut self, what: impl fmt::Display) -> Error {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.kind.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
