//! Parquet files to batches: row groups side by side, in order, on blocking threads.
//!
//! Deliberately not here: where bytes come from (`window.rs`), what types are cast to which (`cast.rs`).
//! Guarantees: a value that the pinned type cannot hold rejects its row, with the row as JSON; a panic of the decoder on a damaged file is
//! `CorruptInput`.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use futures::stream::{self, Stream, StreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Decoded, Error, ErrorKind, RawFile, ReadOptions, Reject, RejectReason, Result, RowOrigins};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinError, JoinHandle};

use super::window::{Windows, own_error};
use crate::cast::{cast_column, normal_fields, normalize};
use crate::cell::{Cells, json_fields, json_text};
use crate::misfit::{retain, tell};

/// Batches decoded ahead of the consumer, per row group.
const AHEAD: usize = 2;

/// The file's columns in their normal types; `None` if it has no rows.
pub async fn columns(file: Arc<dyn RawFile>) -> Result<Option<SchemaRef>> {
    if file.version().size == 0 {
        return Ok(None);
    }
    let (_, metadata) = load(file).await?;
    if metadata.metadata().row_groups().iter().all(|g| g.num_rows() <= 0) {
        return Ok(None);
    }
    Ok(Some(Arc::new(Schema::new(normal_fields(metadata.schema().fields())))))
}

/// The file's rows. Errors are items.
pub fn rows(file: Arc<dyn RawFile>, options: ReadOptions) -> impl Stream<Item = Result<Decoded>> + Send + 'static {
    let begun = async move {
        if file.version().size == 0 {
            // No Parquet file, but no rows either: an upload that has only begun, or a marker.
            file.verify().await?;
            return Ok(stream::empty().boxed());
        }
        let (windows, metadata) = load(file.clone()).await?;
        Ok(groups(file, windows, metadata, options).boxed())
    };
    stream::once(begun).flat_map(|begun: Result<_>| begun.unwrap_or_else(|e| stream::once(std::future::ready(Err(e))).boxed()))
}

async fn load(file: Arc<dyn RawFile>) -> Result<(Windows, ArrowReaderMetadata)> {
    let path = file.version().path.clone();
    let windows = Windows::open(file);
    let reader = windows.clone();
    let loaded = tokio::task::spawn_blocking(move || ArrowReaderMetadata::load(&reader, ArrowReaderOptions::new())).await;
    let metadata = match loaded {
        Ok(Ok(metadata)) => metadata,
        Ok(Err(e)) => return Err(damaged(e).context("file", path)),
        Err(e) => return Err(panicked(e).context("file", path)),
    };
    Ok((windows, metadata))
}

/// A row group being decoded.
struct Group {
    batches: Receiver<Result<Decoded>>,
    task: JoinHandle<()>,
}

struct Reading {
    file: Arc<dyn RawFile>,
    windows: Windows,
    metadata: ArrowReaderMetadata,
    options: Arc<ReadOptions>,
    running: VecDeque<Group>,
    next: usize,
    /// Rows of the row groups before `next`.
    before: u64,
    done: bool,
}

fn groups(
    file: Arc<dyn RawFile>,
    windows: Windows,
    metadata: ArrowReaderMetadata,
    options: ReadOptions,
) -> impl Stream<Item = Result<Decoded>> + Send {
    let running = VecDeque::new();
    let reading = Reading { file, windows, metadata, options: Arc::new(options), running, next: 0, before: 0, done: false };
    stream::unfold(reading, |mut r| async move {
        if r.done {
            return None;
        }
        let item = r.next_batch().await;
        let failed = item.as_ref().is_err();
        r.done = failed || matches!(item, Ok(None));
        match item {
            Ok(None) => None,
            Ok(Some(batch)) => Some((Ok(batch), r)),
            Err(e) => Some((Err(e.context("file", &r.file.version().path)), r)),
        }
    })
}

impl Reading {
    async fn next_batch(&mut self) -> Result<Option<Decoded>> {
        loop {
            while self.running.len() < self.options.threads.max(1) && self.next < self.metadata.metadata().num_row_groups() {
                self.start();
            }
            let Some(group) = self.running.front_mut() else {
                self.file.verify().await?;
                return Ok(None);
            };
            if let Some(item) = group.batches.recv().await {
                return item.map(Some);
            }
            if let Some(group) = self.running.pop_front() {
                group.task.await.map_err(panicked)?;
            }
        }
    }

    /// Starts the next row group.
    fn start(&mut self) {
        let (number, before) = (self.next, self.before);
        let group = self.metadata.metadata().row_group(number);
        self.next += 1;
        self.before += group.num_rows().max(0) as u64;
        let windows = self.windows.for_row_group(group.num_columns(), self.options.threads);
        let (metadata, options) = (self.metadata.clone(), self.options.clone());
        let (to, batches) = channel(AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            if let Err(e) = decode(windows, metadata, number, before, &options, &to) {
                // Nobody listens any more: nothing to say.
                let _ = to.blocking_send(Err(e));
            }
        });
        self.running.push_back(Group { batches, task });
    }
}

/// Decodes one row group into `to`, until it ends or nobody listens.
fn decode(
    windows: Windows,
    metadata: ArrowReaderMetadata,
    group: usize,
    before: u64,
    options: &ReadOptions,
    to: &Sender<Result<Decoded>>,
) -> Result<()> {
    let expected = metadata.metadata().row_group(group).num_rows();
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(windows, metadata)
        .with_row_groups(vec![group])
        .with_batch_size(options.batch_rows.clamp(1, 1 << 16))
        .build()
        .map_err(damaged)?;
    let mut row = before;
    for batch in reader {
        let batch = batch.map_err(|e| match e {
            arrow_schema::ArrowError::ExternalError(inner) => match inner.downcast::<ParquetError>() {
                Ok(e) => damaged(*e),
                Err(other) => damaged(ParquetError::External(other)),
            },
            other => damaged(ParquetError::from(other)),
        })?;
        let count = batch.num_rows() as u64;
        if to.blocking_send(cast_batch(&batch, row, options)).is_err() {
            return Ok(());
        }
        row += count;
    }
    if row - before != expected.max(0) as u64 {
        let message = format!("row group {group} has {} rows where its metadata say {expected}", row - before);
        return Err(Error::new(ErrorKind::CorruptInput, message));
    }
    Ok(())
}

/// Casts a batch to the pinned types; rows with values that do not fit are rejected.
fn cast_batch(batch: &RecordBatch, before: u64, options: &ReadOptions) -> Result<Decoded> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    let mut bad: Vec<(usize, usize, String)> = Vec::new();
    for (c, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let pinned = options.schema.field_with_name(field.name()).map_or(DataType::Utf8, |f| f.data_type().clone());
        let column = normalize(column)?;
        let (cast, errors) = cast_rows(&column, &pinned)?;
        bad.extend(errors.into_iter().map(|(row, message)| (row, c, message)));
        fields.push(Field::new(field.name(), pinned, true));
        columns.push(cast);
    }
    let with_rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let mut out = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &with_rows)
        .map_err(|e| Error::internal("cast columns do not fit their schema").source(e))?;
    let mut misfits = tell(batch, &mut bad, options)?;
    let mut lines: Vec<u64> = (1..=batch.num_rows() as u64).map(|n| before + n).collect();
    let mut rejects = Vec::new();
    if !bad.is_empty() {
        bad.sort_by_key(|(row, column, _)| (*row, *column));
        bad.dedup_by_key(|(row, ..)| *row);
        let names = named_cells(batch)?;
        let mut keep = vec![true; batch.num_rows()];
        for (row, column, message) in bad {
            keep[row] = false;
            let mut raw = vec![b'{'];
            json_fields(&names, row, true, &mut raw);
            raw.push(b'}');
            raw.truncate(RAW_LIMIT);
            let column = Some(batch.schema_ref().field(column).name().clone());
            rejects.push(Reject { reason: RejectReason::BadValue, line: before + row as u64 + 1, column, message, raw: raw.into() });
        }
        let mut kept = keep.iter();
        lines.retain(|_| kept.next() == Some(&true));
        let keep = BooleanArray::from(keep);
        retain(&mut misfits, &keep);
        out = filter_record_batch(&out, &keep).map_err(|e| Error::internal("rejected rows cannot be taken out").source(e))?;
    }
    let origins = options.keep_origins.then_some(RowOrigins { lines, raw: None });
    Ok(Decoded { batch: out, origins, rejects, misfits })
}

fn named_cells(batch: &RecordBatch) -> Result<Vec<(Vec<u8>, Cells)>> {
    let cells = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(f, c)| {
        let mut name = Vec::new();
        json_text(f.name(), &mut name);
        name.push(b':');
        Ok((name, Cells::new(c)?))
    });
    cells.collect()
}

/// Casts what can be cast; the rows that cannot are null and named with the reason.
fn cast_rows(array: &ArrayRef, to: &DataType) -> Result<(ArrayRef, Vec<(usize, String)>)> {
    match cast_column(array, to) {
        Ok(cast) => Ok((cast, Vec::new())),
        Err(e) if e.kind() != ErrorKind::Data => Err(e),
        Err(_) => {
            let (mut parts, mut bad) = (Vec::new(), Vec::new());
            halves(array, to, 0, &mut parts, &mut bad)?;
            let parts: Vec<&dyn Array> = parts.iter().map(|p: &ArrayRef| p.as_ref()).collect();
            let cast = arrow_select::concat::concat(&parts).map_err(|e| Error::internal("parts of a column do not fit").source(e))?;
            Ok((cast, bad))
        }
    }
}

/// Halves the column until the values that cannot be cast stand alone.
fn halves(array: &ArrayRef, to: &DataType, at: usize, parts: &mut Vec<ArrayRef>, bad: &mut Vec<(usize, String)>) -> Result<()> {
    match cast_column(array, to) {
        Ok(cast) => parts.push(cast),
        Err(e) if e.kind() != ErrorKind::Data => return Err(e),
        Err(e) if array.len() == 1 => {
            bad.push((at, e.message().to_owned()));
            parts.push(arrow_array::new_null_array(to, 1));
        }
        Err(_) => {
            let half = array.len() / 2;
            halves(&array.slice(0, half), to, at, parts, bad)?;
            halves(&array.slice(half, array.len() - half), to, at + half, parts, bad)?;
        }
    }
    Ok(())
}

fn damaged(e: ParquetError) -> Error {
    match own_error(e) {
        Ok(own) => own,
        Err(e) => Error::new(ErrorKind::CorruptInput, "the Parquet file is damaged")
            .source(e)
            .hint("send the file again, or set `on_corrupt: reject` to go on without it"),
    }
}

fn panicked(e: JoinError) -> Error {
    Error::new(ErrorKind::CorruptInput, "the Parquet file is damaged: its metadata contradict its data")
        .source(e)
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}
