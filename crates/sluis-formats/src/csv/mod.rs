//! CSV: our own decoder and encoder.
//!
//! Reading is a chain of rooms: `text.rs` (bytes to UTF-8) → [`frame`] (blocks of whole records, sequential) → [`decode`] (a block to a
//! batch, side by side, with [`scan`] and [`mod@column`]). What a record and a field are is known to [`scan`] alone.
//! Deliberately not here: which files, which epoch, what becomes of rejects.
//! Guarantees: file order; bounded memory; every record becomes a row or a reject; the result depends on neither the pieces in which the
//! bytes come nor the number of threads.

pub mod column;
pub mod config;
pub mod decode;
pub mod dialect;
pub mod encode;
pub mod footer;
pub mod frame;
pub mod infer;
pub mod layout;
pub mod repair;
pub mod scan;
pub mod sniff;
pub mod surplus;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::BytesMut;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use self::config::{CsvRead, CsvWrite, Ragged, Reading};
use self::dialect::Dialect;
use self::footer::Told;
use self::frame::{Block, Framer, Opening};
use self::layout::Layout;
use crate::def::{config_of, merged_schema};
use crate::ordered::{Cutter, LARGE, decode_in_order};
use crate::text::TextSource;

/// `csv:`.
pub static CSV: FormatDef = FormatDef {
    name: "csv",
    summary: "comma-separated values and their relatives, compressed or not",
    schema: || merged_schema(&schemars::schema_for!(CsvRead), &schemars::schema_for!(CsvWrite)),
    validate,
    reader: Some(|v| {
        let reading = Reading::new(&config_of::<CsvRead>("csv", v)?).map_err(|m| mistakes(&m))?;
        Ok(Arc::new(Csv { reading: Arc::new(reading) }))
    }),
    writer: Some(|v| Ok(Arc::new(encode::CsvFactory::new(&config_of::<CsvWrite>("csv", v)?)?))),
    declared_columns: |v| {
        let reading = Reading::new(&config_of::<CsvRead>("csv", v).ok()?).ok()?;
        let declared = reading.declared_schema();
        (!declared.fields().is_empty()).then_some(declared)
    },
    sniff: Some(sniff::sniff),
};

fn validate(v: &Value) -> Vec<Problem> {
    // Keys that only writing has are not this check's matter: the schema knows them all.
    let Ok(config) = crate::def::lenient::<CsvRead>(v) else { return Vec::new() };
    let mistakes = Reading::new(&config).err().unwrap_or_default();
    mistakes.into_iter().map(|(at, message)| Problem { at, message, hint: None }).collect()
}

fn mistakes(all: &[config::Mistake]) -> Error {
    let text = all.iter().map(|(at, message)| format!("{}: {message}", at.join("."))).collect::<Vec<_>>().join("; ");
    Error::config(format!("csv: {text}"))
}

/// CSV, configured.
struct Csv {
    reading: Arc<Reading>,
}

/// Bytes of a file's first block, and of all while rows are about as long as usual.
const FIRST_BLOCK: usize = 512 * 1024;
/// Bytes of data from which rows that break the rules are learned to be put right.
const LEARNED: usize = 64 * 1024;
/// Between these the size of blocks follows the length of rows.
const BLOCKS: std::ops::RangeInclusive<usize> = 256 * 1024..=4 << 20;

#[async_trait]
impl FileFormat for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn rescues(&self) -> bool {
        self.reading.ragged == Ragged::Rescue
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        infer::infer(&self.reading, sample, known).await
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let path = file.version().path.clone();
        let large = file.version().size >= LARGE;
        match self.open(file, options).await {
            Ok(Some((blocks, layout))) => {
                let told = blocks.told.clone();
                let rows = decode_in_order(blocks, options.threads, large, move |b| decode::decode_block(&layout, b));
                Ok(if let Some(told) = told { told.check(rows, path) } else { rows })
            }
            Ok(None) if self.reading.footer_count.is_some() => Ok(stream::once(std::future::ready(Err(footer::missing(&path)))).boxed()),
            Ok(None) => Ok(stream::empty().boxed()),
            // What is wrong with the file is said by the stream, where callers look for it.
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Ok(stream::once(std::future::ready(Err(e))).boxed()),
            Err(e) => Err(e.context("file", path)),
        }
    }
}

impl Csv {
    /// What hears the number of rows that the footer says, where it is to be checked.
    fn told(&self) -> Option<Told> {
        self.reading.footer_count.map(Told::new)
    }

    /// Reads what stands before the data. `None`: there is none.
    async fn open(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<Option<(Blocks, Layout)>> {
        let r = &self.reading;
        let path = file.version().path.clone();
        let mut source = TextSource::open(file, r.compression, r.encoding).await?;
        let mut framer = self.framer(&mut source).await?;
        let opening = loop {
            if let Some(opening) = framer.open() {
                break opening;
            }
            fill(&mut framer, &mut source).await?;
        };
        if opening.width.is_none() && opening.header.len() < r.header {
            return self.headless(&path, &opening, source).await;
        }
        let names = layout::names(r, framer.dialect(), &opening);
        let mut layout = Layout::new(r, framer.dialect().clone(), &names, &options.schema, options.keep_origins).telling(&options.misfits);
        if r.dialect.lenient || r.ragged == Ragged::Repair {
            // As many bytes however they come, so that what is learned depends on the file alone.
            while framer.waiting().len() < LEARNED && fill(&mut framer, &mut source).await? {}
            let known = framer.waiting().len().min(LEARNED);
            layout.learn(&framer.waiting()[..known], known < LEARNED);
        }
        Ok(Some((Blocks { source, framer, batch_rows: options.batch_rows, sized: false, told: self.told() }, layout)))
    }

    /// A framer in the file's dialect, which may have to be found in its beginning.
    async fn framer(&self, source: &mut TextSource) -> Result<Framer> {
        let r = &self.reading;
        if !r.sniffed {
            return Ok(r.framer(r.dialect.clone(), FIRST_BLOCK));
        }
        let (dialect, head, ended) = found(r, source).await?;
        let mut framer = r.framer(dialect, FIRST_BLOCK);
        framer.push(&head);
        if ended {
            framer.end();
        }
        Ok(framer)
    }

    /// The header is not whole: the file has ended (no rows), or a line without end stands where it should be.
    async fn headless(&self, path: &str, opening: &Opening, mut source: TextSource) -> Result<Option<(Blocks, Layout)>> {
        if source.next().await?.is_none() {
            return Ok(None);
        }
        let message = format!(
            "the header ({} of {} rows found) is longer than {} bytes",
            opening.header.len(),
            self.reading.header,
            self.reading.dialect.max_row
        );
        Err(Error::new(ErrorKind::CorruptInput, message)
            .context("file", path)
            .hint("is the delimiter, the quote or the line end another one? `max_row` is the limit"))
    }
}

/// The dialect that `delimiter: auto` finds in the beginning of a file's text; the text it was found in, and whether that is all.
///
/// # Errors
/// Those of reading.
pub async fn found(reading: &Reading, source: &mut TextSource) -> Result<(Dialect, BytesMut, bool)> {
    let mut head = BytesMut::new();
    let mut ended = false;
    while head.len() < sniff::HEAD && !ended {
        match source.next().await? {
            Some(piece) => head.extend_from_slice(&piece),
            None => ended = true,
        }
    }
    Ok((sniff::of_text(&reading.dialect, reading.newline, &head), head, ended))
}

/// Gives the framer more of the file. `false`: that was all.
async fn fill(framer: &mut Framer, source: &mut TextSource) -> Result<bool> {
    match source.next().await? {
        Some(piece) => framer.push(&piece),
        None => return Ok(framer.end()),
    }
    Ok(true)
}

/// The file's blocks.
struct Blocks {
    source: TextSource,
    framer: Framer,
    batch_rows: usize,
    /// The size of blocks has been fitted to the rows.
    sized: bool,
    /// Where the number of rows goes that the footer says.
    told: Option<Told>,
}

impl Cutter for Blocks {
    type Block = Block;

    async fn next(&mut self) -> Result<Option<Block>> {
        loop {
            if let Some(block) = self.framer.next_block() {
                if !self.sized {
                    self.sized = true;
                    let rows = self.framer.dialect().count_lines(&block.bytes).max(1) as usize;
                    self.framer.set_target((block.bytes.len() / rows * self.batch_rows).clamp(*BLOCKS.start(), *BLOCKS.end()));
                }
                return Ok(Some(block));
            }
            match self.source.next().await? {
                Some(piece) => self.framer.push(&piece),
                None if self.framer.end() => {}
                None => {
                    if let Some(told) = &self.told {
                        told.hear(&self.framer);
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn size(block: &Block) -> usize {
        block.bytes.len()
    }
}
