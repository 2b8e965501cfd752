//! Parquet files to batches: row groups side by side, in order, on blocking threads.
//!
//! Deliberately not here: where bytes come from (`window.rs`), what types are cast to which (`pinned.rs`).
//! Guarantees: a panic of the decoder on a damaged file is `CorruptInput`.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use sluis_core::{Decoded, Error, ErrorKind, RawFile, ReadOptions, Result, panics};
use tokio::task::JoinError;

use super::window::Windows;
use crate::cast::normal_fields;
use crate::compress::whole::unpacked;
use crate::ordered::{Cutter, units_in_order, until_error};
use crate::pinned::fit;

/// The file's columns in their normal types; `None` if it has no rows.
pub async fn columns(file: Arc<dyn RawFile>) -> Result<Option<SchemaRef>> {
    let file = plain(file).await?;
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
pub fn rows(file: Arc<dyn RawFile>, options: ReadOptions, max_page: u64) -> impl Stream<Item = Result<Decoded>> + Send + 'static {
    let begun = async move {
        let file = plain(file).await?;
        if file.version().size == 0 {
            // No Parquet file, but no rows either: an upload that has only begun, or a marker.
            file.verify().await?;
            return Ok(stream::empty().boxed());
        }
        let (windows, metadata) = load(file.clone()).await?;
        Ok(groups(file, windows, metadata, options, max_page))
    };
    stream::once(begun).flat_map(|begun: Result<_>| begun.unwrap_or_else(|e| stream::once(std::future::ready(Err(e))).boxed()))
}

/// The file, unpacked if it is compressed as a whole.
async fn plain(file: Arc<dyn RawFile>) -> Result<Arc<dyn RawFile>> {
    let path = file.version().path.clone();
    unpacked(file, b"PAR1").await.map_err(|e| e.context("file", path))
}

async fn load(file: Arc<dyn RawFile>) -> Result<(Windows, ArrowReaderMetadata)> {
    let path = file.version().path.clone();
    let windows = Windows::open(file);
    let reader = windows.clone();
    let loaded = tokio::task::spawn_blocking(move || panics::expecting(|| ArrowReaderMetadata::load(&reader, ArrowReaderOptions::new()))).await;
    let metadata = match loaded {
        Ok(Ok(metadata)) => metadata,
        Ok(Err(e)) => return Err(damaged(&windows, e).context("file", path)),
        Err(e) => return Err(panicked(e).context("file", path)),
    };
    Ok((windows, metadata))
}

/// The numbers of the row groups, one after another, with the rows before each.
struct Groups {
    windows: Windows,
    metadata: ArrowReaderMetadata,
    side_by_side: usize,
    max_page: u64,
    next: usize,
    before: u64,
}

/// A row group to be decoded.
struct Group {
    number: usize,
    before: u64,
    windows: Windows,
    metadata: ArrowReaderMetadata,
}

impl Cutter for Groups {
    type Block = Group;

    async fn next(&mut self) -> Result<Option<Group>> {
        let (number, before) = (self.next, self.before);
        if number >= self.metadata.metadata().num_row_groups() {
            return Ok(None);
        }
        let group = self.metadata.metadata().row_group(number);
        self.next += 1;
        self.before = before.saturating_add(group.num_rows().max(0) as u64);
        let windows = self.windows.for_row_group(group, self.side_by_side, self.max_page);
        Ok(Some(Group { number, before, windows, metadata: self.metadata.clone() }))
    }

    fn size(_: &Group) -> usize {
        usize::MAX
    }
}

fn groups(
    file: Arc<dyn RawFile>,
    windows: Windows,
    metadata: ArrowReaderMetadata,
    options: ReadOptions,
    max_page: u64,
) -> BoxStream<'static, Result<Decoded>> {
    let path = file.version().path.clone();
    let threads = options.threads.max(1);
    let cutter = Groups { windows, metadata, side_by_side: threads, max_page, next: 0, before: 0 };
    let rows = units_in_order(cutter, threads, panicked, move |group, to| panics::expecting(|| decode(group, &options, to)));
    // What was read belongs to the version that was opened only if that is still there.
    let rows = rows.chain(stream::once(async move { file.verify().await }).filter_map(|r| std::future::ready(r.err().map(Err))));
    until_error(rows.map(move |item| item.map_err(|e| e.context("file", &path))))
}

/// Decodes one row group into `to`, until it ends or nobody listens.
fn decode(group: Group, options: &ReadOptions, to: &mut dyn FnMut(Decoded) -> bool) -> Result<()> {
    let Group { number, before, windows, metadata } = group;
    let expected = metadata.metadata().row_group(number).num_rows();
    let own = windows.clone();
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(windows, metadata)
        .with_row_groups(vec![number])
        .with_batch_size(options.batch_rows.clamp(1, 1 << 16))
        .build()
        .map_err(|e| damaged(&own, e))?;
    let mut row = before;
    for batch in reader {
        let batch = batch.map_err(|e| damaged(&own, ParquetError::from(e)))?;
        let count = batch.num_rows() as u64;
        let lines = (1..=count).map(|n| row.saturating_add(n)).collect();
        if !to(fit(&batch, lines, Vec::new(), options)?) {
            return Ok(());
        }
        row = row.saturating_add(count);
    }
    if row - before != expected.max(0) as u64 {
        let message = format!("row group {number} has {} rows where its metadata say {expected}", row - before);
        return Err(Error::new(ErrorKind::CorruptInput, message));
    }
    Ok(())
}

/// What reading the bytes failed by, else damage.
fn damaged(windows: &Windows, e: ParquetError) -> Error {
    windows.own_error().unwrap_or_else(|| {
        Error::new(ErrorKind::CorruptInput, "the Parquet file is damaged")
            .source(e)
            .hint("send the file again, or set `on_corrupt: reject` to go on without it")
    })
}

/// What the library says in a panic is for its authors.
fn panicked(_: JoinError) -> Error {
    Error::new(ErrorKind::CorruptInput, "the Parquet file is damaged: its metadata contradict its data")
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}
