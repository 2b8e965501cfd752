//! `check` and `select`, as the engine sees them; `sluis-sql` implements them on DataFusion.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;

/// A row that failed a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// Row number within the batch that was pushed.
    pub row: usize,
    /// The check's name.
    pub check: Arc<str>,
    pub message: String,
}

/// What came of one pushed batch.
#[derive(Debug, Clone, Default)]
pub struct Transformed {
    /// Rows for the targets. Not necessarily those of the batch just pushed (joins may hold back).
    pub batches: Vec<RecordBatch>,
    /// Rows to reject (`on_fail: reject`), each at most once, by the first check that failed.
    pub failures: Vec<CheckFailure>,
    /// Failures of `on_fail: warn` checks: name and count. The rows stay.
    pub warnings: Vec<(Arc<str>, u64)>,
}

/// The checks and the select of a pipeline, parsed. Planned anew for every input schema.
#[async_trait]
pub trait Transform: Send + Sync {
    /// Plans for batches of `input`. `ErrorKind::Config` if a column is unknown, with the SQL and a suggestion.
    async fn plan(&self, input: &SchemaRef) -> Result<Arc<dyn TransformPlan>>;
    /// Whether it looks across rows (`scope: epoch`): then all rows of an epoch go through one run.
    fn across_rows(&self) -> bool;
    /// Whether any check may reject rows (`on_fail: reject`): only then must it be known where each row stood. Saying so needlessly costs speed only.
    fn may_reject(&self) -> bool {
        true
    }
}

/// A plan for one input schema.
pub trait TransformPlan: Send + Sync {
    fn output_schema(&self) -> SchemaRef;
    /// Whether the output of a push is exactly that of its own rows, in order, so that runs may work side by side, one per batch.
    fn row_wise(&self) -> bool;
    /// Whether every row that passes the checks makes exactly one row of output (no `where`, no unnest, no join): then rows of
    /// several files may share a batch and are still accounted for, file by file. Saying `false` needlessly costs speed only.
    fn keeps_rows(&self) -> bool {
        false
    }
    fn start(&self) -> Result<Box<dyn TransformRun>>;
}

/// One pass of rows through a plan.
#[async_trait]
pub trait TransformRun: Send {
    /// `ErrorKind::Data` if an `on_fail: fail` check failed, naming it and a row.
    async fn push(&mut self, batch: RecordBatch) -> Result<Transformed>;
    async fn finish(self: Box<Self>) -> Result<Vec<RecordBatch>>;
}

/// A table that SQL can read: a lake table, files read as one, another connection's table.
#[async_trait]
pub trait TableSource: Send + Sync {
    fn schema(&self) -> SchemaRef;
    /// All rows of the named columns (all if `None`), in that order.
    async fn scan(&self, columns: Option<&[String]>) -> Result<BoxStream<'static, Result<RecordBatch>>>;
}

/// Finds tables by name, when a statement mentions them.
#[async_trait]
pub trait TableResolver: Send + Sync {
    /// `path`: the parts of the name as written, e.g. `["telecom", "cdrs"]`. `None` = not one of mine.
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>>;
    /// All names, for `sluis sql`'s listing and for suggestions.
    async fn names(&self) -> Result<Vec<Vec<String>>>;
}
