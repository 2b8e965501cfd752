//! Where rows come from. A source lists splits and opens one; it holds no control flow.

use std::collections::BTreeMap;
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
    /// Several files in one (an archive): the format decodes one after the other, and together they are the split's rows.
    Members(Box<dyn Members>),
    /// Rows that need no decoder.
    Rows(BoxStream<'static, Result<(RecordBatch, Vec<Reject>)>>),
}

impl Opened {
    /// Up to `most` of its files, to be looked at and not landed: spread over them where their number is known, else the first ones.
    ///
    /// # Errors
    /// Those of [`Members::next`].
    pub async fn sample(self, most: usize) -> Result<Vec<Arc<dyn RawFile>>> {
        let mut members = match self {
            Opened::File(file) => return Ok(vec![file]),
            Opened::Rows(_) => return Ok(Vec::new()),
            Opened::Members(members) => members,
        };
        let count = members.count().filter(|n| *n > most);
        let mut sample = Vec::new();
        let mut i = 0;
        while sample.len() < most
            && let Some(member) = members.next().await?
        {
            if count.is_none_or(|n| i == sample.len() * n / most) {
                sample.push(member.file);
                if member.alone {
                    break;
                }
            }
            i += 1;
        }
        Ok(sample)
    }
}

/// A file within a file.
pub struct Member {
    /// The path of its version is the archive's, a `/`, and its name in there.
    pub file: Arc<dyn RawFile>,
    /// What its rows get in place of [`Split::constants`].
    pub constants: BTreeMap<String, String>,
    /// Bytes of the archive that were, or will be, read for it; for progress.
    pub stored: u64,
    /// The next member comes only when this one's stream has ended or was dropped, and this one too.
    pub alone: bool,
}

/// The files within a file, in a fixed order.
#[async_trait]
pub trait Members: Send + Sync {
    /// How many there are, where that is known without reading on.
    fn count(&self) -> Option<usize>;
    /// The next one, opened; `None` after the last. A member may be read after the next one was asked for, and after all were, but one
    /// that comes `alone`.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: the archive is damaged, or holds what cannot be read.
    async fn next(&mut self) -> Result<Option<Member>>;
    /// After reading: is the archive still the version that was opened? `ErrorKind::SourceChanged` if not. (Members do not ask.)
    async fn verify(&self) -> Result<()>;
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
