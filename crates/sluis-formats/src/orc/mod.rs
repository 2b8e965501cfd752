//! ORC, by the `orc-rust` crate, read only: stripes side by side, over ranges of bytes.
//!
//! The library trusts what a file says: it unpacks without a limit and follows types that refer to themselves until the stack ends. So
//! [`tail`] reads the footer first and refuses what cannot be, and [`streams`] unpacks each stream itself, within limits, and hands the
//! library plain ones. What is left is caught: a panic of the library is damage.
//! Deliberately not here: writing, LZO, encrypted columns. Guarantees: those of Parquet's reader; memory is bounded by a stripe's streams
//! unpacked ([`streams::MOST`]) per thread.

pub mod streams;
pub mod tail;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use orc_rust::array_decoder::NaiveStripeDecoder;
use orc_rust::reader::metadata::{FileMetadata, read_metadata};
use orc_rust::stripe::Stripe;
use orc_rust::{ArrowSchemaOptions, TimestampPrecision};
use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, FormatDef, RawFile, ReadOptions, Result, panics};
use tokio::task::JoinError;

use self::streams::Streams;
use self::tail::Tail;
use crate::cast::normal_fields;
use crate::compress::whole::unpacked;
use crate::def::{config_of, sniff_magic};
use crate::ordered::{Cutter, units_in_order, until_error};
use crate::parquet::window::Windows;
use crate::pinned::fit;
use crate::sample::united;

/// `orc:`.
pub static ORC: FormatDef = FormatDef {
    name: "orc",
    summary: "Apache ORC, columnar and compressed; read only",
    schema: || schemars::schema_for!(OrcRead),
    validate: |_| Vec::new(),
    reader: Some(|v| {
        config_of::<OrcRead>("orc", v)?;
        Ok(Arc::new(Orc))
    }),
    writer: None,
    declared_columns: |_| None,
    sniff: Some(|heads| sniff_magic(heads, b"ORC")),
};

/// ORC files. Nothing to set: files say themselves what they are.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrcRead {}

struct Orc;

#[async_trait]
impl FileFormat for Orc {
    fn name(&self) -> &'static str {
        "orc"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let files: Vec<_> = sample.iter().cloned().map(columns).collect();
        united(files, known).await
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let path = file.version().path.clone();
        let rows: BoxStream<'static, Result<Decoded>> = match load(file.clone()).await {
            Ok(Some(loaded)) => {
                let options = options.clone();
                let cutter = Stripes { file: Arc::new(loaded), next: 0, before: 0 };
                units_in_order(cutter, options.threads, panicked, move |unit, to| panics::expecting(|| decode(&unit, &options, to)))
            }
            Ok(None) => stream::empty().boxed(),
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => stream::once(std::future::ready(Err(e))).boxed(),
            Err(e) => return Err(e),
        };
        let rows = rows.chain(stream::once(async move { file.verify().await }).filter_map(|r| std::future::ready(r.err().map(Err))));
        Ok(until_error(rows.map(move |item| item.map_err(|e| in_file(e, &path)))))
    }
}

/// The file's columns; `None` if it has no rows.
async fn columns(file: Arc<dyn RawFile>) -> Result<Option<SchemaRef>> {
    let loaded = load(file).await?.filter(|file| file.metadata.number_of_rows() > 0);
    Ok(loaded.map(|file| Arc::new(Schema::new(normal_fields(file.schema.fields())))))
}

fn in_file(e: Error, path: &str) -> Error {
    if e.contexts().iter().any(|(k, _)| *k == "file") { e } else { e.context("file", path) }
}

/// A file whose footer has been read.
struct Loaded {
    windows: Windows,
    tail: Tail,
    metadata: FileMetadata,
    schema: SchemaRef,
}

/// `None`: a file of no bytes.
async fn load(file: Arc<dyn RawFile>) -> Result<Option<Loaded>> {
    let path = file.version().path.clone();
    let file = unpacked(file, b"ORC").await.map_err(|e| in_file(e, &path))?;
    if file.version().size == 0 {
        return Ok(None);
    }
    let windows = Windows::open(file);
    let read = move || {
        let tail = Tail::read(&windows)?;
        let metadata = read_metadata(&mut Streams::plain(&windows)).map_err(damaged)?;
        let options = ArrowSchemaOptions::new().with_timestamp_precision(TimestampPrecision::Microsecond);
        let schema = Arc::new(metadata.root_data_type().create_arrow_schema_with_options(&HashMap::new(), options));
        Ok(Loaded { windows, tail, metadata, schema })
    };
    let loaded = tokio::task::spawn_blocking(move || panics::expecting(read));
    loaded.await.map_err(panicked).and_then(|r| r).map(Some).map_err(|e| in_file(e, &path))
}

/// The file's stripes, one after another.
struct Stripes {
    file: Arc<Loaded>,
    next: usize,
    before: u64,
}

/// A stripe to be decoded, and the rows before it.
struct Unit {
    file: Arc<Loaded>,
    number: usize,
    before: u64,
}

impl Cutter for Stripes {
    type Block = Unit;

    async fn next(&mut self) -> Result<Option<Unit>> {
        let Some(stripe) = self.file.metadata.stripe_metadatas().get(self.next) else { return Ok(None) };
        let unit = Unit { file: self.file.clone(), number: self.next, before: self.before };
        self.next += 1;
        self.before = self.before.saturating_add(stripe.number_of_rows());
        Ok(Some(unit))
    }

    fn size(_: &Unit) -> usize {
        usize::MAX
    }
}

/// Decodes one stripe into `to`, until it ends or nobody listens.
fn decode(unit: &Unit, options: &ReadOptions, to: &mut dyn FnMut(Decoded) -> bool) -> Result<()> {
    let Unit { file, number, before } = unit;
    let info = &file.metadata.stripe_metadatas()[*number];
    let mut streams = Streams::unpacked(&file.windows, &file.tail);
    let stripe = Stripe::new(&mut streams, &file.metadata, file.metadata.root_data_type(), info).map_err(damaged)?;
    let batches = NaiveStripeDecoder::new(stripe, file.schema.clone(), options.batch_rows.clamp(1, 1 << 16)).map_err(damaged)?;
    let mut row = *before;
    for batch in batches {
        let batch = batch.map_err(damaged)?;
        let count = batch.num_rows() as u64;
        if count == 0 {
            return Err(contradiction(format!("stripe {number} ends before its rows do")));
        }
        let lines = (1..=count).map(|n| row.saturating_add(n)).collect();
        if !to(fit(&batch, lines, Vec::new(), options)?) {
            return Ok(());
        }
        row = row.saturating_add(count);
    }
    if row - before != info.number_of_rows() {
        return Err(contradiction(format!("stripe {number} has {} rows where its metadata say {}", row - before, info.number_of_rows())));
    }
    Ok(())
}

/// What a file says that cannot be.
pub fn contradiction(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::CorruptInput, format!("the ORC file is damaged: {what}"))
        .hint("send the file again, or set `on_corrupt: reject` to go on without it")
}

/// The storage's own error, if that is what is in it; else damage.
fn damaged(e: orc_rust::error::OrcError) -> Error {
    let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(&e);
    while let Some(cause) = inner {
        if let Some(own) = cause.downcast_ref::<Error>() {
            return Error::new(own.kind(), own.message().to_owned());
        }
        // An error that is wrapped in an I/O error is no source of it.
        inner = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn std::error::Error + 'static)),
            None => cause.source(),
        };
    }
    if let orc_rust::error::OrcError::DecodeTimestamp { .. } = e {
        let what = "it has a moment that is out of range, or one before 1970 whose fraction of a second is below zero, as PyArrow writes it";
        return Error::new(ErrorKind::CorruptInput, format!("the ORC file cannot be read: {what}"))
            .source(e)
            .hint("write such moments as text or as Parquet, or set `on_corrupt: reject` to go on without the file");
    }
    contradiction("it cannot be decoded").source(e)
}

/// What the library says in a panic is for its authors.
fn panicked(_: JoinError) -> Error {
    contradiction("its metadata contradict its data")
}
