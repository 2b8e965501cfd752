//! Bytes to batches and back.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::{Misfit, Misfits, Surplus};
use crate::error::Result;
use crate::reject::Reject;
use crate::split::FileVersion;
use crate::unpacking::{UnpackLimits, Unpacking};

/// One version of one file, open for reading. Every read is of that version or fails with `ErrorKind::SourceChanged`.
#[async_trait]
pub trait RawFile: Send + Sync {
    fn version(&self) -> &FileVersion;
    /// All bytes, in order, as stored (compressed if they are).
    async fn stream(&self) -> Result<BoxStream<'static, Result<Bytes>>>;
    /// Some of the bytes, as stored.
    async fn range(&self, range: Range<u64>) -> Result<Bytes>;
    /// After reading: is it still the version that was opened? `ErrorKind::SourceChanged` if not.
    async fn verify(&self) -> Result<()>;
    /// Counts what is decompressed of it, and stops that at the source's limits. One per reading; members of an archive share one.
    fn unpacking(&self) -> Arc<Unpacking> {
        Arc::new(Unpacking::new(UnpackLimits::default(), self.version().size))
    }
}

/// What a reader is told.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The pinned schema: columns the file has are decoded to these types. Columns the file has beyond it are decoded as text (Utf8).
    pub schema: SchemaRef,
    /// Rows per batch to aim for.
    pub batch_rows: usize,
    /// How many threads one file's decoding may use.
    pub threads: usize,
    /// Whether `Decoded::origins` is wanted (checks that reject, or a `_line` column).
    pub keep_origins: bool,
    /// What becomes of values that are not of their column's type.
    pub misfits: Misfits,
}

/// One batch of a file, with what could not be decoded. Never an error for bad data in a row.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Columns: those of the file, in the file's order. May have zero rows.
    pub batch: RecordBatch,
    /// Where each row of `batch` stood; `None` unless `ReadOptions::keep_origins`.
    pub origins: Option<RowOrigins>,
    /// Rows that are not in `batch`, with reason, line and raw bytes.
    pub rejects: Vec<Reject>,
    /// Values that were told (`ReadOptions::misfits`), by row, then column. Empty where none was asked for.
    pub misfits: Vec<Misfit>,
    /// What rows hold beyond their last column, by row. Empty but for formats that say so ([`FileFormat::rescues`]).
    pub surplus: Vec<Surplus>,
}

/// Where the rows of a batch stood in their file.
#[derive(Debug, Clone, Default)]
pub struct RowOrigins {
    /// Line in the file where each row starts, from 1 (the row's number where the format has no lines).
    pub lines: Vec<u64>,
    /// The rows' bytes: one block they share, and `start..end` of each in it. `None` where the format has no row text (Parquet).
    pub raw: Option<(Bytes, Vec<(u32, u32)>)>,
}

/// A file format, configured: reads files, and may write them.
#[async_trait]
pub trait FileFormat: Send + Sync {
    /// `csv`, `json`, `parquet` …
    fn name(&self) -> &'static str;
    /// Whether rows may have fields beyond their last column, which are kept ([`Decoded::surplus`]).
    fn rescues(&self) -> bool {
        false
    }
    /// The schema of a sample of files: declared columns first and with their declared types, the rest inferred, united by name.
    /// `known` is what earlier epochs landed: its types are kept wherever they can hold the data. Files without rows never change it.
    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef>;
    /// Decodes a file: a stream in file order, in bounded memory. An `Err` item ends it: the file is damaged or changed.
    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>>;
}

/// Writes batches of one schema as one file's bytes.
pub trait Encoder: Send {
    /// Takes a batch; may put bytes into `out`.
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;
    /// Writes what is buffered and the footer.
    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()>;
    /// Bytes held back until enough rows have come (a row group in progress), estimated as they will be written.
    fn buffered_bytes(&self) -> usize;
}

/// Makes an encoder per file.
pub trait EncoderFactory: Send + Sync {
    /// `parquet`, `csv` …
    fn name(&self) -> &'static str;
    /// File name ending, with compression: `parquet`, `csv.gz` …
    fn extension(&self) -> String;
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>>;
}
