//! Stages rows as data files of a table: finds each row's partition, keeps a bounded number of files open, begins new ones when they are
//! full or columns change.
//!
//! Deliberately not here: publishing. Guarantees: nothing is seen before the commit; the rows of the committables are the rows written; a
//! file is of one partition and, where files are replaced, of one source file; memory is bounded by [`Limits`] plus one batch.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use iceberg::spec::{Schema, Struct};
use sluis_core::{Attempt, Committable, Error, Result, SinkWriter, WriteBatch};
use sluis_storage::StagedWriter;
use sluis_storage::blocking::blocking;

use crate::encode::DataEncoder;
use crate::facts::Facts;
use crate::lake::Version;
use crate::partition::{Portion, divide};
use crate::schema;
use crate::table::{Mode, Prepared, Table};
use crate::upsert::{Keys, Repeats, partition_follows};

/// Files finished at once: uploads and syncs wait for each other's latency.
const AT_ONCE: usize = 8;

/// How much may be held open.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files open at once.
    pub files: usize,
    /// Bytes in memory, over all open files.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 100, bytes: 256 << 20 }
    }
}

/// A file being written.
pub struct Output {
    encoder: DataEncoder,
    staged: Box<dyn StagedWriter>,
    /// Encoded, and on its way while the next rows are encoded.
    pending: Vec<u8>,
    identity: Facts,
    sent: u64,
}

impl Output {
    /// Begins a file of `columns`.
    pub async fn begin(table: &Table, columns: &SchemaRef, identity: Facts) -> Result<Output> {
        let encoder = DataEncoder::new(columns, table.properties())?;
        let staged = table.lake.storage().create(&table.lake.path(&identity.path)?).await?;
        Ok(Output { encoder, staged, pending: Vec::new(), identity, sent: 0 })
    }

    fn held(&self) -> usize {
        self.encoder.buffered() + self.pending.len()
    }

    /// Bytes it would have if it ended now, about.
    fn bytes(&self) -> u64 {
        self.sent + self.held() as u64
    }

    /// Encodes rows while what was encoded before is written.
    pub async fn write(mut self, rows: RecordBatch) -> Result<Output> {
        let mut encoder = self.encoder;
        let encode = blocking(move || {
            let mut out = Vec::new();
            encoder.write(&rows, &mut out).map(|()| (encoder, out))
        });
        let pending = std::mem::take(&mut self.pending);
        self.sent += pending.len() as u64;
        let send = async { if pending.is_empty() { Ok(()) } else { self.staged.write(Bytes::from(pending)).await } };
        let (encoded, sent) = futures::join!(encode, send);
        sent?;
        let (encoder, out) = encoded??;
        self.encoder = encoder;
        self.pending = out;
        Ok(self)
    }

    /// Ends the file; durable when it returns.
    pub async fn finish(self, schema: &Schema) -> Result<Facts> {
        let Output { encoder, mut staged, mut pending, identity, .. } = self;
        let (finished, pending) = blocking(move || encoder.finish(&mut pending).map(|finished| (finished, pending))).await??;
        staged.write(Bytes::from(pending)).await?;
        let file = staged.finish().await?;
        let facts = Facts::gather(identity, &finished, schema);
        Ok(Facts { size: file.size, ..facts })
    }
}

/// The writer of one attempt.
pub struct TableWriter {
    table: Arc<Table>,
    attempt: Attempt,
    /// As of the last batch with new columns.
    version: Option<Arc<Version>>,
    /// The table's columns that files are staged with.
    schema: Option<Arc<Schema>>,
    /// The columns of the batches so far, for which the table was widened.
    seen: Option<SchemaRef>,
    names: BTreeSet<String>,
    /// The columns files have now.
    columns: SchemaRef,
    open: HashMap<Struct, Output>,
    origin: Option<Arc<str>>,
    sequence: u32,
    repeats: Repeats,
    done: Vec<Committable>,
    rows: u64,
}

impl TableWriter {
    pub fn new(table: Arc<Table>, attempt: Attempt) -> Self {
        Self {
            table,
            attempt,
            version: None,
            schema: None,
            seen: None,
            names: BTreeSet::new(),
            columns: Arc::new(ArrowSchema::empty()),
            open: HashMap::new(),
            origin: None,
            sequence: 0,
            repeats: Repeats::default(),
            done: Vec::new(),
            rows: 0,
        }
    }

    /// Makes table and files fit the columns of `batch`.
    async fn widen(&mut self, batch: &SchemaRef) -> Result<Arc<Version>> {
        if let (Some(version), Some(seen)) = (&self.version, &self.seen)
            && seen == batch
        {
            return Ok(version.clone());
        }
        let Prepared { version, schema } = self.table.prepare(batch).await?;
        self.names.extend(batch.fields().iter().map(|f| f.name().clone()));
        let all = ArrowSchema::new(self.names.iter().map(|n| arrow_schema::Field::new(n, arrow_schema::DataType::Null, true)).collect::<Vec<_>>());
        let columns = schema::file_columns(&schema, &all);
        if columns != self.columns {
            self.close_all().await?;
            self.columns = columns;
        }
        self.schema = Some(schema);
        let spec = version.metadata.default_partition_spec_id();
        if self.version.as_ref().is_some_and(|before| before.metadata.default_partition_spec_id() != spec) {
            self.close_all().await?;
        }
        self.version = Some(version.clone());
        self.seen = Some(batch.clone());
        Ok(version)
    }

    async fn divide_and_put(&mut self, version: &Arc<Version>, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if version.metadata.default_partition_spec().is_unpartitioned() {
            return self.put(version, Portion { partition: Struct::empty(), rows }).await;
        }
        let at = version.clone();
        let portions = blocking(move || divide(&rows, at.metadata.default_partition_spec(), at.metadata.current_schema()));
        for portion in portions.await?? {
            self.put(version, portion).await?;
        }
        Ok(())
    }

    async fn put(&mut self, version: &Version, portion: Portion) -> Result<()> {
        let Portion { partition, rows } = portion;
        let file = match self.open.remove(&partition) {
            Some(file) => file,
            None => {
                let identity = self.identity(version, &partition)?;
                Output::begin(&self.table, &self.columns, identity).await?
            }
        };
        let file = file.write(rows).await?;
        if file.bytes() >= self.table.settings.target_bytes {
            self.end(vec![file]).await?;
        } else {
            self.open.insert(partition, file);
        }
        self.shrink().await
    }

    fn identity(&mut self, version: &Version, partition: &Struct) -> Result<Facts> {
        let spec = version.metadata.default_partition_spec();
        let number = self.sequence;
        self.sequence += 1;
        Ok(Facts {
            table: version.metadata.uuid().to_string(),
            path: self.table.data_path(version, &self.attempt, number, self.origin.as_deref()),
            rows: 0,
            size: 0,
            order: (self.attempt.task, number),
            spec: spec.spec_id(),
            partition: Facts::partition_text(partition, spec, version.metadata.current_schema())?,
            columns: Default::default(),
            splits: Vec::new(),
        })
    }

    async fn end(&mut self, files: Vec<Output>) -> Result<()> {
        let Some(schema) = self.schema.clone().filter(|_| !files.is_empty()) else { return Ok(()) };
        let mut endings: Vec<BoxFuture<'_, Result<Facts>>> = Vec::with_capacity(files.len());
        for file in files {
            endings.push(file.finish(&schema).boxed());
        }
        let ended: Vec<Facts> = stream::iter(endings).buffered(AT_ONCE).try_collect().await?;
        for facts in ended {
            let handle = serde_json::to_value(&facts).map_err(|e| Error::internal("a handle cannot be written").source(e))?;
            self.done.push(Committable { sink: self.table.sink.clone(), rows: facts.rows, bytes: facts.size, handle });
        }
        Ok(())
    }

    async fn close_all(&mut self) -> Result<()> {
        let mut files: Vec<Output> = std::mem::take(&mut self.open).into_values().collect();
        files.sort_by_key(|f| f.identity.order);
        self.end(files).await
    }

    /// Ends the largest files until what is open is within the limits.
    async fn shrink(&mut self) -> Result<()> {
        let limits = self.table.limits;
        let mut held: usize = self.open.values().map(Output::held).sum();
        while self.open.len() > 1 && (self.open.len() > limits.files || held > limits.bytes) {
            let Some(largest) = self.open.iter().max_by_key(|(_, f)| f.bytes()).map(|(partition, _)| partition.clone()) else { return Ok(()) };
            let Some(file) = self.open.remove(&largest) else { return Ok(()) };
            tracing::debug!(file = file.identity.path, open = self.open.len(), held, "ended a file early to bound memory");
            held -= file.held();
            self.end(vec![file]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for TableWriter {
    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        let WriteBatch { batch, origin } = batch;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let version = self.widen(batch.schema_ref()).await?;
        if self.table.settings.replaces && self.origin != origin {
            // Source files come one after the other: those of the one before are complete.
            self.close_all().await?;
            self.origin = origin;
        }
        let columns = self.columns.clone();
        // Only casts are worth a thread of their own.
        let casts = batch.schema_ref().fields().iter().any(|f| columns.field_with_name(f.name()).is_ok_and(|c| c.data_type() != f.data_type()));
        let rows = if casts { blocking(move || schema::fit(&batch, &columns)).await?? } else { schema::fit(&batch, &columns)? };
        let key = match &self.table.settings.mode {
            Mode::Upsert { key } if !partition_follows(&version, key) => Keys::of(&rows, key)?,
            _ => return self.divide_and_put(&version, rows).await,
        };
        let mut at = 0;
        while at < rows.num_rows() {
            let count = self.repeats.take(&key, at, rows.num_rows())?;
            self.divide_and_put(&version, rows.slice(at, count)).await?;
            at += count;
            if at < rows.num_rows() {
                self.close_all().await?;
            }
        }
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<Vec<Committable>> {
        self.close_all().await?;
        let staged: u64 = self.done.iter().map(|c| c.rows).sum();
        assert_eq!(staged, self.rows, "every row written is staged");
        Ok(self.done)
    }
}
