//! Where rows come from. A source lists splits and opens one; it holds no control flow.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::format::RawFile;
use crate::ledger::{FileHistory, LaneShard};
use crate::position::Checkpoint;
use crate::reject::Reject;
use crate::split::Split;

/// How much one epoch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochLimits {
    pub files: u64,
    pub bytes: u64,
    /// A limit on rows ends an epoch's reading early where the source can (APIs, streams); files are never cut.
    pub rows: u64,
}

/// What `discover` found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery {
    /// Empty = caught up. In the order in which they are to be read.
    pub splits: Vec<Split>,
    /// Where the lane is when all of `splits` have been read.
    pub to: Checkpoint,
    /// Whether more is there than the limits allowed.
    pub more: bool,
    /// Things a person should know (a file skipped because it is still being written …).
    pub notes: Vec<String>,
}

/// What a split opens as.
pub enum Opened {
    /// A file: the pipeline's format decodes it.
    File(Arc<dyn RawFile>),
    /// Rows that need no decoder.
    Rows(BoxStream<'static, Result<(RecordBatch, Vec<Reject>)>>),
}

/// A source of rows.
#[async_trait]
pub trait Source: Send + Sync {
    /// Lists what is new for this lane's `shard`, at most `limits`, in bounded memory. Pure: moves no state.
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, history: &dyn FileHistory) -> Result<Discovery>;
    /// Opens one split. `ErrorKind::SourceChanged` if what was planned is no longer there.
    async fn open(&self, split: &Split) -> Result<Opened>;
    /// The columns that every split's rows get as constants, with their types: captures by name, and the opt-in metadata columns
    /// `_file` (string), `_modified` (timestamptz), `_loaded` (timestamptz), `_line` (bigint). Their values stand as text in
    /// `Split::constants` (timestamps in RFC 3339), but for `_loaded` (the epoch's planned time) and `_line` (from
    /// [`crate::format::RowOrigins`]), which the engine fills in.
    fn constant_columns(&self) -> SchemaRef;
    /// After the commit only: archive, delete, acknowledge. Repeatable: it may be called again for the same splits.
    async fn acknowledge(&self, splits: &[Split]) -> Result<()>;
    /// `check --connect`: tries the connection and permissions; one line per finding, `Err` = something is missing.
    async fn probe(&self) -> Result<Vec<String>>;
}
