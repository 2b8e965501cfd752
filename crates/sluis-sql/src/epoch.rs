//! A select that looks across rows: what is pushed is spooled, and the plan runs when all rows are there.
//!
//! The spool keeps some rows in memory and the rest in a temporary file that has no name, so nothing stays behind after a crash. The plan may read
//! it several times (a join of `input` with itself).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::SchemaRef;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use sluis_core::{Error, Result};

use crate::output::Output;
use crate::tables::{Scan, Scanned};
use crate::{engine, plain, planner};

/// Rows up to this size stay in memory.
pub(crate) const IN_MEMORY: usize = 64 << 20;

/// A plan that looks across rows.
#[derive(Debug)]
pub(crate) struct Across {
    /// Optimized, over the pushed rows.
    pub plan: LogicalPlan,
    pub output: Output,
    pub input: SchemaRef,
    /// The last step's name.
    pub step: String,
    /// Rows up to this size stay in memory.
    pub in_memory: usize,
}

impl Across {
    /// Runs it over all rows.
    ///
    /// # Errors
    /// `ErrorKind::Data` if a value cannot be computed, `ErrorKind::Capacity` if memory or disk are short.
    pub async fn run(&self, spool: Spool) -> Result<Vec<RecordBatch>> {
        let failed = |e| plain::run_error(e, |why| format!("select `{}` cannot be computed: {why}", self.step));
        let rows = Arc::new(spool.finish()?);
        let plan = over(&self.plan, &self.input, &rows).map_err(failed)?;
        let mut stream = engine::run(&plan).await.map_err(failed)?;
        let mut out = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            if batch.num_rows() > 0 {
                out.push(self.output.apply(&batch).map_err(|e| failed(e.into()))?);
            }
        }
        Ok(out)
    }
}

/// The plan with the spooled rows in place of the pushed ones.
fn over(plan: &LogicalPlan, schema: &SchemaRef, rows: &Arc<Rows>) -> DfResult<LogicalPlan> {
    plan.clone()
        .transform_up_with_subqueries(|node| {
            Ok(match node {
                LogicalPlan::TableScan(mut scan) if planner::is_input(&scan.source) => {
                    let table = Scanned { schema: Arc::clone(schema), scan: Arc::clone(rows) as Arc<dyn Scan> };
                    scan.source = provider_as_source(Arc::new(table));
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                other => Transformed::no(other),
            })
        })
        .map(|t| t.data)
}

/// Rows being gathered.
pub(crate) struct Spool {
    schema: SchemaRef,
    limit: usize,
    memory: Vec<RecordBatch>,
    bytes: usize,
    file: Option<StreamWriter<BufWriter<File>>>,
}

impl Spool {
    /// An empty one that keeps up to `limit` bytes in memory.
    pub fn new(schema: SchemaRef, limit: usize) -> Spool {
        Spool { schema, limit, memory: Vec::new(), bytes: 0, file: None }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// Those of the temporary file.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let size = batch.get_array_memory_size();
        if self.file.is_none() && self.bytes.saturating_add(size) <= self.limit {
            self.bytes += size;
            self.memory.push(batch);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = tempfile::tempfile().map_err(|e| Error::io("make a temporary file in", std::env::temp_dir().display(), e))?;
                let options =
                    IpcWriteOptions::try_new(64, false, MetadataVersion::V5).and_then(|o| o.try_with_compression(Some(CompressionType::LZ4_FRAME)));
                let options = options.map_err(|e| spool_error(e.into()))?;
                let writer = StreamWriter::try_new_with_options(BufWriter::with_capacity(1 << 18, file), &self.schema, options)
                    .map_err(|e| spool_error(e.into()))?;
                self.file.insert(writer)
            }
        };
        file.write(&batch).map_err(|e| spool_error(e.into()))
    }

    fn finish(self) -> Result<Rows> {
        let file = match self.file {
            Some(writer) => {
                let mut buffer = writer.into_inner().map_err(|e| spool_error(e.into()))?;
                buffer.flush().map_err(|e| spool_error(e.into()))?;
                Some(Arc::new(buffer.into_inner().map_err(|e| spool_error(e.into_error().into()))?))
            }
            None => None,
        };
        Ok(Rows { schema: self.schema, memory: self.memory, file })
    }
}

fn spool_error(e: DataFusionError) -> Error {
    Error::new(sluis_core::ErrorKind::Capacity, "cannot keep the rows of the epoch in a temporary file")
        .context("folder", std::env::temp_dir().display())
        .hint("free space there, set TMPDIR to another folder, or take fewer rows per epoch")
        .source(e)
}

/// Rows gathered.
struct Rows {
    schema: SchemaRef,
    memory: Vec<RecordBatch>,
    file: Option<Arc<File>>,
}

/// Reads a shared file from its beginning, with a place of its own.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Scan for Rows {
    fn open(&self, columns: Option<&[usize]>) -> SendableRecordBatchStream {
        let schema = match columns {
            Some(c) => Arc::new(self.schema.project(c).expect("columns of this table")),
            None => Arc::clone(&self.schema),
        };
        let columns = columns.map(<[usize]>::to_vec);
        let shape = Arc::clone(&schema);
        let project = move |batch: RecordBatch| -> DfResult<RecordBatch> {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let kept = match &columns {
                Some(c) => c.iter().map(|i| Arc::clone(batch.column(*i))).collect(),
                None => batch.columns().to_vec(),
            };
            Ok(RecordBatch::try_new_with_options(Arc::clone(&shape), kept, &options)?)
        };
        let spooled: Box<dyn Iterator<Item = DfResult<RecordBatch>> + Send> = match &self.file {
            None => Box::new(std::iter::empty()),
            Some(file) => match StreamReader::try_new(BufReader::with_capacity(1 << 18, FromStart { file: Arc::clone(file), at: 0 }), None) {
                Ok(reader) => Box::new(reader.map(|b| b.map_err(DataFusionError::from))),
                Err(e) => Box::new(std::iter::once(Err(e.into()))),
            },
        };
        let all = self.memory.clone().into_iter().map(Ok).chain(spooled).map(move |b| b.and_then(&project));
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(all)))
    }
}
