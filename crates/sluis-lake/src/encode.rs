//! Batches to Parquet with field ids, several columns at a time; gives the file's metadata at the end.
//!
//! Batches are gathered until there is enough for the columns to be encoded side by side; encoded pages are held until their row group is
//! whole. Deliberately not here: where bytes go. Guarantees: memory is bounded by a row group as it will be written, plus [`GATHER_ROWS`] rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use sluis_core::{Error, Result};

/// Rows and bytes gathered before they are encoded.
const GATHER_ROWS: usize = 64 * 1024;
const GATHER_BYTES: usize = 16 << 20;
/// Below this many rows threads cost more than they bring.
const WORTH_THREADS: usize = 8 * 1024;
/// Rows and bytes of a row group, at most.
const GROUP_ROWS: usize = 1 << 20;
const GROUP_BYTES: usize = 128 << 20;

/// One file being encoded.
pub struct FileEncoder {
    schema: SchemaRef,
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    threads: usize,
    gathered: Vec<RecordBatch>,
    gathered_rows: usize,
    gathered_bytes: usize,
    group: Option<RowGroup>,
    nans: BTreeMap<i32, u64>,
}

struct RowGroup {
    columns: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
    bytes: usize,
}

/// What a finished file says of itself.
pub struct Finished {
    pub metadata: ParquetMetaData,
    /// By field id, of the columns that can have any.
    pub nans: BTreeMap<i32, u64>,
}

impl FileEncoder {
    /// For batches of `schema`, whose fields carry their ids.
    pub fn new(schema: &SchemaRef, properties: &WriterProperties) -> Result<Self> {
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.clone()))
            .map_err(|e| Error::config("these columns cannot be written as Parquet").source(e))?;
        let (file, factory) = writer.into_serialized_writer().map_err(failed)?;
        Ok(Self {
            schema: schema.clone(),
            file,
            factory,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(8)),
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_bytes: 0,
            group: None,
            nans: BTreeMap::new(),
        })
    }

    /// Takes rows; what can leave memory is appended to `out`.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.count_nans(batch);
        let mut at = 0;
        while at < batch.num_rows() {
            let room = GROUP_ROWS - self.group.as_ref().map_or(0, |g| g.rows) - self.gathered_rows;
            let count = room.min(batch.num_rows() - at);
            self.gathered_rows += count;
            self.gathered_bytes += batch.get_array_memory_size() * count / batch.num_rows();
            self.gathered.push(batch.slice(at, count));
            at += count;
            if count == room || self.gathered_rows >= GATHER_ROWS || self.gathered_bytes >= GATHER_BYTES {
                self.encode()?;
            }
            if self.group.as_ref().is_some_and(|g| g.rows >= GROUP_ROWS || g.bytes >= GROUP_BYTES) {
                self.end_group(out)?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Finished> {
        self.encode()?;
        self.end_group(out)?;
        let metadata = self.file.finish().map_err(failed)?;
        out.append(self.file.inner_mut());
        Ok(Finished { metadata, nans: self.nans })
    }

    /// Bytes held, about as they will be written.
    pub fn buffered(&self) -> usize {
        // Arrow's form takes about three times what pages take.
        self.group.as_ref().map_or(0, |g| g.bytes) + self.gathered_bytes / 3
    }

    fn count_nans(&mut self, batch: &RecordBatch) {
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let count = match array.data_type() {
                DataType::Float32 => array.as_primitive::<Float32Type>().iter().flatten().filter(|v| v.is_nan()).count(),
                DataType::Float64 => array.as_primitive::<Float64Type>().iter().flatten().filter(|v| v.is_nan()).count(),
                _ => continue,
            };
            let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok());
            if let Some(id) = id {
                *self.nans.entry(id).or_default() += count as u64;
            }
        }
    }

    fn encode(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let group = match &mut self.group {
            Some(group) => group,
            none => none.insert(RowGroup::new(&self.factory, self.file.flushed_row_groups().len(), &self.schema)?),
        };
        let threads = if self.gathered_rows < WORTH_THREADS { 1 } else { self.threads };
        let batches = std::mem::take(&mut self.gathered);
        let schema = &self.schema;
        side_by_side(threads, &mut group.columns, |column, writers| {
            batches.iter().try_for_each(|batch| write_column(schema, column, batch.column(column), writers))
        })?;
        group.rows += self.gathered_rows;
        group.bytes = group.columns.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        self.gathered_rows = 0;
        self.gathered_bytes = 0;
        Ok(())
    }

    fn end_group(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let mut columns: Vec<(Vec<ArrowColumnWriter>, Vec<ArrowColumnChunk>)> = group.columns.into_iter().map(|w| (w, Vec::new())).collect();
        // Closing encodes and compresses the last page of every column.
        let threads = if group.rows < WORTH_THREADS { 1 } else { self.threads };
        side_by_side(threads, &mut columns, |_, (writers, chunks)| {
            for writer in writers.drain(..) {
                chunks.push(writer.close()?);
            }
            Ok(())
        })?;
        let mut row_group = self.file.next_row_group().map_err(failed)?;
        for chunk in columns.into_iter().flat_map(|(_, chunks)| chunks) {
            chunk.append_to_row_group(&mut row_group).map_err(failed)?;
        }
        row_group.close().map_err(failed)?;
        out.append(self.file.inner_mut());
        Ok(())
    }
}

impl RowGroup {
    fn new(factory: &ArrowRowGroupWriterFactory, number: usize, schema: &SchemaRef) -> Result<Self> {
        let mut writers = factory.create_column_writers(number).map_err(failed)?.into_iter();
        let columns = schema.fields().iter().map(|f| writers.by_ref().take(leaves(f.data_type())).collect()).collect();
        assert!(writers.next().is_none(), "every leaf belongs to a column");
        Ok(Self { columns, rows: 0, bytes: 0 })
    }
}

/// How many columns of Parquet a column of Arrow is.
fn leaves(t: &DataType) -> usize {
    match t {
        DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
        DataType::List(f) | DataType::Map(f, _) => leaves(f.data_type()),
        _ => 1,
    }
}

fn write_column(schema: &SchemaRef, column: usize, array: &ArrayRef, writers: &mut [ArrowColumnWriter]) -> Result<(), ParquetError> {
    for (leaf, writer) in compute_leaves(schema.field(column), array)?.iter().zip(writers) {
        writer.write(leaf)?;
    }
    Ok(())
}

/// Runs `work` over all items, on several threads.
fn side_by_side<T: Send>(threads: usize, items: &mut [T], work: impl Fn(usize, &mut T) -> Result<(), ParquetError> + Sync) -> Result<()> {
    if threads <= 1 || items.len() <= 1 {
        return items.iter_mut().enumerate().try_for_each(|(i, item)| work(i, item)).map_err(failed);
    }
    let next = AtomicUsize::new(0);
    let items: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return Ok(()) };
            // Each item is taken by one thread once, so the lock is free.
            work(i, &mut item.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        let mut result = run();
        for other in others {
            let theirs = other.join().unwrap_or_else(|_| Err(ParquetError::General("an encoding thread panicked".into())));
            result = result.and(theirs);
        }
        result
    })
    .map_err(failed)
}

fn failed(e: ParquetError) -> Error {
    Error::internal("encoding Parquet failed").source(e)
}
