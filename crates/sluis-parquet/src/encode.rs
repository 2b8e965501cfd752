//! Batches to Parquet, several columns at a time; gives the file's metadata at the end.
//!
//! Batches are gathered until there is enough for the columns to be encoded side by side; encoded pages are held until their row group is
//! whole. Deliberately not here: pages, encodings. Guarantees: memory is bounded by a row group as it will be written, plus `GATHER_ROWS`
//! rows; what was given is in the file in its order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use sluis_core::{Error, Result};

use crate::repeats::repeats;

/// Rows and bytes gathered before they are encoded.
const GATHER_ROWS: usize = 64 * 1024;
const GATHER_BYTES: usize = 16 << 20;
/// Below this many rows threads cost more than they bring.
const WORTH_THREADS: usize = 8 * 1024;

/// How a file is laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Compression, dictionaries, who wrote it. Columns whose values hardly repeat in the first rows get no dictionary all the same.
    pub properties: WriterProperties,
    /// Rows of a row group, at most; at least 1.
    pub group_rows: usize,
    /// Bytes of a row group, about, at most.
    pub group_bytes: usize,
}

impl Layout {
    /// Row groups of 1048576 rows or 128MiB.
    pub fn new(properties: WriterProperties) -> Self {
        Self { properties, group_rows: 1 << 20, group_bytes: 128 << 20 }
    }
}

/// One file being encoded.
pub struct FileEncoder {
    schema: SchemaRef,
    layout: Layout,
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    threads: usize,
    /// Whether rows have been encoded.
    begun: bool,
    gathered: Vec<RecordBatch>,
    gathered_rows: usize,
    gathered_bytes: usize,
    group: Option<RowGroup>,
}

/// The row group in progress: the writers of each column's leaves.
struct RowGroup {
    columns: Vec<Vec<ArrowColumnWriter>>,
    rows: usize,
    /// As they will be written, about; updated with every round of encoding.
    bytes: usize,
}

impl FileEncoder {
    /// For batches of `schema`; works on all cores, eight at most.
    ///
    /// # Errors
    /// `ErrorKind::Config`: Parquet has no such columns.
    pub fn new(schema: &SchemaRef, layout: Layout) -> Result<Self> {
        let (file, factory) = begin(schema, layout.properties.clone())?;
        Ok(Self {
            schema: schema.clone(),
            layout,
            file,
            factory,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(8)),
            begun: false,
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_bytes: 0,
            group: None,
        })
    }

    /// Takes rows; what can leave memory is appended to `out`.
    ///
    /// # Errors
    /// `ErrorKind::Internal`: the rows have other columns than the file.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let Layout { group_rows, group_bytes, .. } = self.layout;
        let mut at = 0;
        while at < batch.num_rows() {
            // A row group ends exactly at its limit, wherever batches end.
            let room = group_rows - self.group.as_ref().map_or(0, |g| g.rows) - self.gathered_rows;
            let count = room.min(batch.num_rows() - at);
            self.gathered_rows += count;
            self.gathered_bytes += batch.get_array_memory_size() * count / batch.num_rows();
            self.gathered.push(batch.slice(at, count));
            at += count;
            if count == room || self.gathered_rows >= GATHER_ROWS || self.gathered_bytes >= GATHER_BYTES {
                self.encode()?;
            }
            if self.group.as_ref().is_some_and(|g| g.rows >= group_rows || g.bytes >= group_bytes) {
                self.end_group(out)?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`FileEncoder::write`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<ParquetMetaData> {
        self.encode()?;
        self.end_group(out)?;
        let metadata = self.file.finish().map_err(failed)?;
        out.append(self.file.inner_mut());
        Ok(metadata)
    }

    /// Bytes held, about as they will be written.
    pub fn buffered(&self) -> usize {
        // Arrow's form takes about three times what pages take.
        self.group.as_ref().map_or(0, |g| g.bytes) + self.gathered_bytes / 3
    }

    /// Encodes what has been gathered.
    fn encode(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.without_dictionaries()?;
        }
        let group = match &mut self.group {
            Some(group) => group,
            none => none.insert(RowGroup::new(&self.factory, self.file.flushed_row_groups().len(), &self.schema)?),
        };
        let threads = if self.gathered_rows < WORTH_THREADS { 1 } else { self.threads };
        let batches = std::mem::take(&mut self.gathered);
        let schema = &self.schema;
        let size = |column: usize| batches.iter().map(|b| b.column(column).get_array_memory_size()).sum::<usize>();
        let mut columns: Vec<_> = group.columns.iter_mut().enumerate().collect();
        // The largest first: one that is begun last would be waited for.
        columns.sort_by_cached_key(|(column, _)| std::cmp::Reverse(size(*column)));
        side_by_side(threads, &mut columns, |(column, writers)| {
            batches.iter().try_for_each(|batch| write_column(schema, *column, batch.column(*column), writers))
        })?;
        group.rows += self.gathered_rows;
        group.bytes = group.columns.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        self.gathered_rows = 0;
        self.gathered_bytes = 0;
        Ok(())
    }

    /// Before the first rows are encoded: no dictionary for columns in which they hardly repeat.
    fn without_dictionaries(&mut self) -> Result<()> {
        let properties = &self.layout.properties;
        let path = |column: usize| ColumnPath::new(vec![self.schema.field(column).name().clone()]);
        let repeat = |column: usize| repeats(self.gathered.iter().map(|batch| batch.column(column).as_ref()));
        let columns = 0..self.schema.fields().len();
        let plain: Vec<ColumnPath> = columns.filter(|c| properties.dictionary_enabled(&path(*c)) && !repeat(*c)).map(path).collect();
        if !plain.is_empty() {
            let with = properties.clone().into_builder();
            let properties = plain.into_iter().fold(with, |properties, path| properties.set_column_dictionary_enabled(path, false));
            (self.file, self.factory) = begin(&self.schema, properties.build())?;
        }
        Ok(())
    }

    fn end_group(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let mut columns: Vec<(Vec<ArrowColumnWriter>, Vec<ArrowColumnChunk>)> = group.columns.into_iter().map(|w| (w, Vec::new())).collect();
        // Closing encodes and compresses the last page of every column.
        let threads = if group.rows < WORTH_THREADS { 1 } else { self.threads };
        side_by_side(threads, &mut columns, |(writers, chunks)| {
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

/// A file, and what makes its column writers.
fn begin(schema: &SchemaRef, properties: WriterProperties) -> Result<(SerializedFileWriter<Vec<u8>>, ArrowRowGroupWriterFactory)> {
    let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))
        .map_err(|e| Error::config("these columns cannot be written as Parquet").source(e))?;
    writer.into_serialized_writer().map_err(failed)
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
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => leaves(f.data_type()),
        DataType::ListView(f) | DataType::LargeListView(f) => leaves(f.data_type()),
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
fn side_by_side<T: Send>(threads: usize, items: &mut [T], work: impl Fn(&mut T) -> Result<(), ParquetError> + Sync) -> Result<()> {
    if threads <= 1 || items.len() <= 1 {
        return items.iter_mut().try_for_each(work).map_err(failed);
    }
    let next = AtomicUsize::new(0);
    let items: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return Ok(()) };
            // Each item is taken by one thread once, so the lock is free.
            work(&mut item.lock().unwrap_or_else(PoisonError::into_inner))?;
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
