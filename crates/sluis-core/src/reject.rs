//! A row that could not land, with everything needed to find it, understand it and try it again.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Why a row was rejected. Codes are stable: scripts and docs pages key on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// A value does not parse as the column's type.
    BadValue,
    /// Nothing stands where the configuration says that the records are (JSON's `path`).
    MissingValue,
    /// Fewer fields than columns.
    TooFewFields,
    /// More fields than columns.
    TooManyFields,
    /// A quote was opened and never closed, or text follows a closing quote.
    BadQuote,
    /// Bytes that are not valid in the file's encoding.
    BadEncoding,
    /// Longer than the limit for one row.
    TooLong,
    /// Not a valid document of its format (JSON).
    BadSyntax,
    /// The whole file could not be read (`on_corrupt: reject`).
    CorruptFile,
    /// A `check` did not hold.
    CheckFailed,
    /// An unexpected column or type, by contract.
    ContractViolated,
}

impl RejectReason {
    /// All of them, for docs and filters.
    pub const ALL: [RejectReason; 11] = [
        RejectReason::BadValue,
        RejectReason::MissingValue,
        RejectReason::TooFewFields,
        RejectReason::TooManyFields,
        RejectReason::BadQuote,
        RejectReason::BadEncoding,
        RejectReason::TooLong,
        RejectReason::BadSyntax,
        RejectReason::CorruptFile,
        RejectReason::CheckFailed,
        RejectReason::ContractViolated,
    ];
    /// The code as it is written everywhere: `bad_value`, `check_failed` …
    pub fn code(self) -> &'static str {
        match self {
            RejectReason::BadValue => "bad_value",
            RejectReason::MissingValue => "missing_value",
            RejectReason::TooFewFields => "too_few_fields",
            RejectReason::TooManyFields => "too_many_fields",
            RejectReason::BadQuote => "bad_quote",
            RejectReason::BadEncoding => "bad_encoding",
            RejectReason::TooLong => "too_long",
            RejectReason::BadSyntax => "bad_syntax",
            RejectReason::CorruptFile => "corrupt_file",
            RejectReason::CheckFailed => "check_failed",
            RejectReason::ContractViolated => "contract_violated",
        }
    }
    /// The reason with this code.
    pub fn of(code: &str) -> Option<RejectReason> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }
    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            RejectReason::BadValue => "A value does not parse as its column's type.",
            RejectReason::MissingValue => "Nothing stands where the records of the file should be.",
            RejectReason::TooFewFields => "The row ends before its last column.",
            RejectReason::TooManyFields => "The row has more fields than there are columns.",
            RejectReason::BadQuote => "A quote opens and is never closed, or text follows where it closes.",
            RejectReason::BadEncoding => "Some of the row's bytes are not valid in the file's encoding.",
            RejectReason::TooLong => "The row is longer than a row may be.",
            RejectReason::BadSyntax => "The row is not a valid document of its format.",
            RejectReason::CorruptFile => "The file as a whole could not be read.",
            RejectReason::CheckFailed => "A check of the pipeline does not hold for the row.",
            RejectReason::ContractViolated => "The row has a column, or a field of one, that the contract does not allow.",
        }
    }
    /// Its page of the docs: a path in the repository.
    pub fn docs(self) -> String {
        format!("docs/reference/rejects/{}.md", self.code())
    }
}

/// One rejected row. The engine adds pipeline, epoch and file when it writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub reason: RejectReason,
    /// Line in the file where the row starts, from 1; 0 where the format has no lines (then `row` counts).
    pub line: u64,
    /// The column it is about, where there is one; the check's name for `check_failed`. Shared: a file of bad rows names one column a million
    /// times.
    pub column: Option<Arc<str>>,
    /// One sentence for people.
    pub message: String,
    /// The row as it stood in the file, cut at [`RAW_LIMIT`] bytes.
    pub raw: Bytes,
}

/// How much of a rejected row's bytes is kept.
pub const RAW_LIMIT: usize = 64 * 1024;
