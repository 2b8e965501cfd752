//! A pipeline, built: everything that its epochs need, as traits and plain settings.
//!
//! Deliberately not here: building it from configuration (the binary does), running it.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sluis_core::contract::RESCUED;
use sluis_core::{Contract, EpochLimits, FileFormat, LaneId, LaneShard, PipelineName, RowCounts, Sink, Source, Transform};

/// Says whether the rows of an epoch break an error budget: `Some(sentence)` if they do.
pub type BudgetCheck = Arc<dyn Fn(&RowCounts) -> Option<String> + Send + Sync>;

/// A pipeline, built.
#[derive(Clone)]
pub struct Job {
    pub pipeline: PipelineName,
    pub source: Arc<dyn Source>,
    /// Decodes what the source opens as a file; `None` for sources of rows.
    pub format: Option<Arc<dyn FileFormat>>,
    /// The columns that the format declares: their types never change. Empty: it declares none.
    pub declared: SchemaRef,
    /// What happens when files change.
    pub contract: Contract,
    /// Checks and select; `None`: rows go on as they are.
    pub transform: Option<Arc<dyn Transform>>,
    /// At least one.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Where rejected rows go; committed with the same epoch as the sinks.
    pub rejects: Arc<dyn Sink>,
    pub limits: EpochLimits,
    /// Asked once per epoch, before `staged` is written: `Some` fails the epoch with `ErrorKind::Budget`.
    pub budget: BudgetCheck,
    pub settings: JobSettings,
}

impl Job {
    /// The columns that rows get besides those of their files: the source's, and the one for what the contract or the format rescues.
    pub fn added_columns(&self) -> SchemaRef {
        let source = self.source.constant_columns();
        if !self.contract.rescues() && !self.format.as_ref().is_some_and(|f| f.rescues()) {
            return source;
        }
        let rescued = Arc::new(Field::new(RESCUED, DataType::Utf8, true));
        Arc::new(Schema::new(source.fields().iter().cloned().chain([rescued]).collect::<Vec<_>>()))
    }
}

/// How the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSettings {
    /// Tasks an epoch is cut into.
    pub tasks: usize,
    /// Threads that decode and compute, over all tasks.
    pub threads: usize,
    /// Rows per batch to aim for.
    pub batch_rows: usize,
    /// Files looked at to infer a schema.
    pub sample_files: usize,
    /// A file damaged as a whole becomes one reject (else the epoch fails).
    pub corrupt_files_are_rejected: bool,
    /// How often an epoch is tried when it fails in a way that may pass.
    pub tries: usize,
    /// `on_overwrite: replace`: batches of different files are kept apart and carry their origin.
    pub replaces_files: bool,
}

/// A lane to drive: its name and which paths are its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub id: LaneId,
    pub shard: LaneShard,
}

impl Lane {
    /// The only lane of a pipeline that has one.
    pub fn main(pipeline: &PipelineName) -> Lane {
        Lane { id: LaneId { pipeline: pipeline.clone(), lane: "main".into() }, shard: LaneShard::ALL }
    }
}
