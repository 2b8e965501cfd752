//! What SQLite says, in words a person can act on. The kind is decided here, by code, never by text.
//!
//! Deliberately not here: any decision about what to do next.

use rusqlite::{ErrorCode, ffi};
use sluis_core::{Error, ErrorKind, Retry};

/// The result of a part of a transaction.
pub type Step<T> = Result<T, Fault>;

/// Why a part of a transaction failed; the place is added once, where the transaction ends.
#[derive(Debug)]
pub enum Fault {
    Sql(rusqlite::Error),
    /// What is stored cannot be: a sentence.
    Damaged(String),
    /// Told by our own code.
    Told(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Self {
        Fault::Sql(e)
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Fault::Told(e)
    }
}

/// The way out of a damaged ledger.
pub const WAY_OUT: &str = "see what is wrong with `sluis ledger fsck`; then restore a copy of the file, or move it (and the files beside it that end \
in -wal and -shm) away to begin with an empty ledger: every file then counts as new, so rows that landed would land again unless the pipeline \
replaces or upserts";

/// A ledger that is damaged.
pub fn damaged(ledger: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Ledger, format!("the ledger is damaged: {}", why.into())).context("ledger", ledger).hint(WAY_OUT)
}

impl Fault {
    /// The error, with the ledger it is about.
    pub fn told(self, ledger: &str) -> Error {
        match self {
            Fault::Told(e) => e.context("ledger", ledger),
            Fault::Damaged(why) => damaged(ledger, why),
            Fault::Sql(e) => sql(e, ledger),
        }
    }
}

/// Classifies an error of SQLite.
pub fn sql(e: rusqlite::Error, ledger: &str) -> Error {
    let rusqlite::Error::SqliteFailure(code, _) = &e else { return other(e, ledger) };
    let (kind, retry, message, hint) = match (code.code, code.extended_code) {
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
            let why = if code.code == ErrorCode::NotADatabase { "it is not an SQLite database (any more)" } else { "its pages do not fit together" };
            return damaged(ledger, why).source(e);
        }
        (_, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA) => {
            return damaged(ledger, "the disk gives back other bytes than were written").source(e);
        }
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => (
            ErrorKind::Capacity,
            Retry::Never,
            "no room to write the ledger",
            "free some space on its disk, then run again: what was not committed is redone",
        ),
        (ErrorCode::OutOfMemory | ErrorCode::TooBig, _) => (
            ErrorKind::Capacity,
            Retry::Never,
            "a record is too large for memory or for the ledger",
            "let an epoch take fewer files (limits of the pipeline)",
        ),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed, _) => (
            ErrorKind::Unavailable,
            Retry::Backoff,
            "another process keeps the ledger busy",
            "see which programs have the file open; the ledger must be on a disk of this machine, not on a network share",
        ),
        (_, ffi::SQLITE_READONLY_DBMOVED) => {
            (ErrorKind::Ledger, Retry::Never, "the ledger's file was moved while it was in use", "put the file back, then run again")
        }
        (ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied | ErrorCode::CannotOpen, _) => (
            ErrorKind::Permission,
            Retry::Never,
            "the ledger cannot be opened or written",
            "give the user that runs sluis write access to the file, to the files beside it and to their folder",
        ),
        (ErrorCode::SystemIoFailure, _) => {
            (ErrorKind::Unavailable, Retry::Backoff, "the disk failed under the ledger", "look at the system's log for errors of that disk")
        }
        _ => return other(e, ledger),
    };
    Error::new(kind, message).retry(retry).context("ledger", ledger).hint(hint).source(e)
}

fn other(e: rusqlite::Error, ledger: &str) -> Error {
    use rusqlite::Error as E;
    match &e {
        // A value of another type than the tables' declarations allow.
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::Utf8Error(..) | E::InvalidColumnType(..) => {
            damaged(ledger, "a value has the wrong type").source(e)
        }
        _ => Error::internal("the ledger refused a statement").context("ledger", ledger).source(e),
    }
}
