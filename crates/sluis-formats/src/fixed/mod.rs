//! Fixed width: lines whose columns have their places; read only.
//!
//! Reading is CSV's chain (`text.rs` → CSV's framer → CSV's decoder) with [`scan`] in the place of the structural scan, so that types, nulls,
//! rejects and inference are the same. Deliberately not here: files without line ends, writing.
//! Guarantees: those of CSV; places are counted in characters after decoding, not in bytes.

pub mod config;
pub mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use self::config::FixedRead;
use self::scan::Places;
use crate::csv::config::Ragged;
use crate::csv::decode::decode_by;
use crate::csv::frame::{Block, Framer};
use crate::csv::infer::infer_by;
use crate::csv::layout::Layout as Columns;
use crate::def::config_of;
use crate::ordered::{Cutter, LARGE, decode_in_order};
use crate::text::TextSource;

/// `fixed:`.
pub static FIXED: FormatDef = FormatDef {
    name: "fixed",
    summary: "lines whose columns have fixed places",
    schema: || schemars::schema_for!(FixedRead),
    validate,
    reader: Some(|v| {
        let layout = config_of::<FixedRead>("fixed", v)?.checked().map_err(|all| {
            let text = all.iter().map(|(at, message)| format!("{}: {message}", at.join("."))).collect::<Vec<_>>().join("; ");
            Error::config(format!("fixed: {text}"))
        })?;
        let places = Places::new(&layout.places, layout.reading.ragged == Ragged::Pad);
        Ok(Arc::new(Fixed { reading: Arc::new(layout.reading), names: layout.names, places }))
    }),
    writer: None,
    declared_columns: |v| {
        let reading = config_of::<FixedRead>("fixed", v).ok()?.checked().ok()?.reading;
        (!reading.declared.is_empty()).then(|| reading.declared_schema())
    },
    // Places cannot be told from the bytes.
    sniff: None,
};

fn validate(v: &Value) -> Vec<Problem> {
    let Ok(config) = config_of::<FixedRead>("fixed", v) else { return Vec::new() };
    let mistakes = config.checked().err().unwrap_or_default();
    mistakes.into_iter().map(|(at, message)| Problem { at, message, hint: None }).collect()
}

/// Fixed width, configured.
struct Fixed {
    reading: Arc<crate::csv::config::Reading>,
    names: Vec<String>,
    places: Places,
}

/// Bytes of a block, about.
const BLOCK: usize = 512 * 1024;

#[async_trait]
impl FileFormat for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let places = self.places.clone();
        let found = infer_by(
            &self.reading,
            sample,
            known,
            |_, _| self.names.clone(),
            move |block, dialect, rows| {
                places.scan(block, 0, dialect, rows);
            },
        );
        let found = found.await?;
        // In the order of the configuration, whichever of them have types.
        let own = self.names.iter().filter_map(|n| found.field_with_name(n).ok().cloned());
        let others = found.fields().iter().filter(|f| !self.names.contains(f.name())).map(|f| f.as_ref().clone());
        Ok(Arc::new(Schema::new(own.chain(others).collect::<Vec<_>>())))
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let large = file.version().size >= LARGE;
        let path = file.version().path.clone();
        match self.open(file, options).await {
            Ok((blocks, columns)) => {
                let places = self.places.clone();
                Ok(decode_in_order(blocks, options.threads, large, move |block| {
                    decode_by(&columns, block, |bytes, at, table| places.scan(bytes, at, &columns.dialect, table))
                }))
            }
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Ok(stream::once(std::future::ready(Err(e))).boxed()),
            Err(e) => Err(e.context("file", path)),
        }
    }
}

impl Fixed {
    /// Reads what stands before the data.
    async fn open(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<(Blocks, Columns)> {
        let r = &self.reading;
        let mut source = TextSource::open(file, r.compression, r.encoding).await?;
        let mut framer = Framer::new(r.dialect.clone(), r.newline, BLOCK, r.skip, r.header, r.footer);
        while framer.open().is_none() {
            match source.next().await? {
                Some(piece) => framer.push(&piece),
                None => {
                    framer.end();
                }
            }
        }
        let columns = Columns::new(r, framer.dialect().clone(), &self.names, &options.schema, options.keep_origins);
        Ok((Blocks { source, framer }, columns))
    }
}

/// The file's blocks.
struct Blocks {
    source: TextSource,
    framer: Framer,
}

impl Cutter for Blocks {
    type Block = Block;

    async fn next(&mut self) -> Result<Option<Block>> {
        loop {
            if let Some(block) = self.framer.next_block() {
                return Ok(Some(block));
            }
            match self.source.next().await? {
                Some(piece) => self.framer.push(&piece),
                None if self.framer.end() => {}
                None => return Ok(None),
            }
        }
    }

    fn size(block: &Block) -> usize {
        block.bytes.len()
    }
}
