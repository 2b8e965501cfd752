//! Where rows go. A sink stages, commits and sweeps; it decides nothing.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::{Attempt, CommitKey, SinkName};

/// What a target promises, and why: printed by `check` and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "guarantee", content = "why")]
pub enum Guarantee {
    /// Every row once, whatever is killed when.
    ExactlyOnce(String),
    /// Rows may be written again, with the same key and the same values.
    OncePerKey(String),
    /// Rows may arrive again.
    AtLeastOnce(String),
}

/// What a commit does to what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    Append,
    /// The partitions the new rows fall in are replaced (the whole table where it has none).
    Replace,
    /// By key: a row with the same key is replaced.
    Upsert {
        key: Vec<String>,
    },
}

/// The handle to what a writer staged: durable and invisible. Plain data; stored in `staged`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committable {
    pub sink: SinkName,
    /// Rows in it, as counted by what wrote them.
    pub rows: u64,
    /// Bytes staged.
    pub bytes: u64,
    /// The sink's own handle.
    pub handle: serde_json::Value,
}

/// Evidence of a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub sink: SinkName,
    /// What a person can look up in the target: a snapshot id, file names.
    pub detail: serde_json::Value,
    /// Whether the target already had it (a commit repeated after a crash).
    pub already: bool,
}

/// What a sink is asked to make visible: everything of its own from the winning `staged` record.
#[derive(Debug, Clone)]
pub struct StagedEpoch<'a> {
    pub committables: &'a [Committable],
    /// Source paths whose earlier rows leave in the same step.
    pub replaced: &'a [String],
}

/// A batch and where its rows came from.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    pub batch: RecordBatch,
    /// The source file's path; set only for pipelines with `on_overwrite: replace`, where every batch is of one file.
    pub origin: Option<Arc<str>>,
}

/// A target, configured.
#[async_trait]
pub trait Sink: Send + Sync {
    fn name(&self) -> &SinkName;
    fn guarantee(&self) -> Guarantee;
    /// Creates the target or widens it for `schema` (columns are added, never removed or narrowed). Repeatable. Moves no rows: a type that
    /// rows which are there would have to be written again for is taken with the commit.
    async fn prepare(&self, schema: &SchemaRef) -> Result<()>;
    /// Whether `prepare` could make the target hold these columns; `ErrorKind::Config` if not, as `prepare` would say it. Changes nothing.
    async fn fits(&self, schema: &SchemaRef) -> Result<()> {
        let _ = schema;
        Ok(())
    }
    /// What landing rows with these columns would change in the rows that are there, a sentence each, for people. Changes nothing.
    async fn changes(&self, schema: &SchemaRef) -> Result<Vec<String>> {
        let _ = schema;
        Ok(Vec::new())
    }
    /// A writer that stages. Batches may come with growing schemas: the writer widens the target as `prepare` does.
    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>>;
    /// Makes `staged` visible, once: called again for the same key it finds the key in the target and applies only what is missing.
    async fn commit(&self, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt>;
    /// Removes what no record names: leftovers of attempts of this lane up to and including `up_to.epoch`, except `keep`.
    async fn sweep(&self, up_to: &CommitKey, keep: &[Committable]) -> Result<()>;
    /// `check --connect`: tries the connection and permissions without leaving anything behind.
    async fn probe(&self) -> Result<Vec<String>>;
}

/// Stages rows of one attempt. Dropped without `close` = abandoned; `sweep` cleans up.
#[async_trait]
pub trait SinkWriter: Send {
    async fn write(&mut self, batch: WriteBatch) -> Result<()>;
    /// Makes everything durable. The rows of the committables sum to the rows written.
    async fn close(self: Box<Self>) -> Result<Vec<Committable>>;
}
