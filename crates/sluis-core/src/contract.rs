//! What happens when files are not as they were: a column that the schema does not have, a value that is not of its column's type.
//!
//! The schema is what is declared, else what the pipeline has landed so far, else what its first epoch is inferred to be.
//! Deliberately not here: doing it (the engine does, with what the decoders tell).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The column that keeps what `rescue` saved: JSON text, `{"column": "text", …}`; null where nothing had to be saved.
pub const RESCUED: &str = "_rescued";

/// The fields of a row beyond its last column, kept in [`RESCUED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surplus {
    /// Its row in the batch.
    pub row: usize,
    /// Members of a JSON object, as they stand between its braces: `"c4": "text", "c6": "text"`; no column of the batch has one of the names.
    pub members: String,
    /// How many there are.
    pub fields: u64,
}

/// What is done about a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDrift {
    /// The schema follows the files, as far as the targets can.
    #[default]
    Evolve,
    /// The epoch fails before anything is committed.
    Freeze,
    /// The row is rejected.
    DiscardRow,
    /// The value is left out and counted; the row lands.
    DiscardValue,
    /// The value is kept in the column `_rescued`; the row lands.
    Rescue,
}

impl OnDrift {
    /// All of them, in the order of the docs.
    pub const ALL: [OnDrift; 5] = [OnDrift::Evolve, OnDrift::Freeze, OnDrift::DiscardRow, OnDrift::DiscardValue, OnDrift::Rescue];
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            OnDrift::Evolve => "evolve",
            OnDrift::Freeze => "freeze",
            OnDrift::DiscardRow => "discard_row",
            OnDrift::DiscardValue => "discard_value",
            OnDrift::Rescue => "rescue",
        }
    }
}

/// A pipeline's contract with its files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// For a column that the schema does not have.
    pub columns: OnDrift,
    /// For a value that is not of its column's type.
    pub types: OnDrift,
}

impl Contract {
    /// Whether rows have the column [`RESCUED`].
    pub fn rescues(&self) -> bool {
        self.columns == OnDrift::Rescue || self.types == OnDrift::Rescue
    }
}

/// What a reader does with a value that is not of its column's type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Misfits {
    /// Its row is rejected.
    #[default]
    Reject,
    /// In these (top) columns it becomes null, the row stays, and it is told; in others its row is rejected.
    Tell {
        columns: Arc<BTreeSet<String>>,
        /// Whole numbers in columns of `double` that it cannot hold exactly are told, too; what stands in their place is of no meaning then.
        exact: bool,
    },
}

impl Misfits {
    /// Those of these columns are told.
    pub fn of(told: &[String], exact: bool) -> Self {
        if told.is_empty() { Misfits::Reject } else { Misfits::Tell { columns: Arc::new(told.iter().cloned().collect()), exact } }
    }

    /// Whether those of a column are told.
    pub fn told(&self, column: &str) -> bool {
        matches!(self, Misfits::Tell { columns, .. } if columns.contains(column))
    }

    /// Whether whole numbers that a `double` cannot hold are told.
    pub fn exact(&self) -> bool {
        matches!(self, Misfits::Tell { exact: true, .. })
    }
}

/// A value that is not of its column's type; null stands in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Misfit {
    /// Its row in the batch.
    pub row: usize,
    /// Its (top) column in the batch.
    pub column: usize,
    /// The value as text, as a column of text would hold it.
    pub text: String,
    /// The narrowest type that holds what the column's type holds, and this value.
    pub fits: DataType,
}
