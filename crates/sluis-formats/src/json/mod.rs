//! JSON: our own decoder and encoder.
//!
//! Reading: `text.rs` (bytes to UTF-8) → framing (CSV's framer for lines, [`frame`] for documents over several lines, behind [`path`] where
//! the records stand inside a document) → [`decode`] (a block to a batch, side by side, with [`parse`] and [`node`]).
//! Deliberately not here: look-ups by filters or expressions (SQL does that).
//! Guarantees: file order; bounded memory; every document becomes a row or a reject; a block's batch has the columns its documents have.

pub mod config;
pub mod decode;
pub mod encode;
pub mod frame;
pub mod infer;
pub mod node;
pub mod parse;
pub mod path;
pub mod sniff;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, FormatDef, RawFile, ReadOptions, Reject, RejectReason, Result};

use self::config::{JsonRead, JsonReading, JsonWrite};
use self::decode::{Layout, Piece};
use self::frame::{DocumentFramer, Documents};
use self::infer::Inference;
use self::parse::Parser;
use self::path::PathFilter;
use crate::csv::dialect::Newline;
use crate::csv::frame::Framer;
use crate::def::{config_of, merged_schema};
use crate::ordered::{Cutter, LARGE, decode_in_order};
use crate::text::TextSource;

/// `json:`.
pub static JSON: FormatDef = FormatDef {
    name: "json",
    summary: "JSON: lines, one array, documents one after another, or records inside a document",
    schema: || merged_schema(&schemars::schema_for!(JsonRead), &schemars::schema_for!(JsonWrite)),
    validate: |v| {
        let Ok(config) = crate::def::lenient::<JsonRead>(v) else { return Vec::new() };
        let mistakes = config.checked().err().unwrap_or_default();
        mistakes.into_iter().map(|(at, message)| Problem { at, message, hint: None }).collect()
    },
    reader: Some(|v| {
        let config = config_of::<JsonRead>("json", v)?;
        let reading = config.checked().map_err(|all| {
            let text = all.iter().map(|(at, message)| format!("{}: {message}", at.join("."))).collect::<Vec<_>>().join("; ");
            Error::config(format!("json: {text}"))
        })?;
        Ok(Arc::new(Json { reading: Arc::new(reading) }))
    }),
    writer: Some(|v| Ok(Arc::new(encode::JsonFactory::new(config_of::<JsonWrite>("json", v)?)?))),
    declared_columns: |v| {
        let declared = config_of::<JsonRead>("json", v).ok()?.checked().ok()?.declared;
        (!declared.fields().is_empty()).then_some(declared)
    },
    sniff: Some(sniff::sniff),
};

/// JSON, configured.
struct Json {
    reading: Arc<JsonReading>,
}

/// Bytes of a block, about.
const BLOCK: usize = 512 * 1024;
/// Bytes looked at per file to infer, and to tell lines from other documents.
const SAMPLE: usize = 256 * 1024;
/// Files being read at once.
const AT_ONCE: usize = 16;

#[async_trait]
impl FileFormat for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let mut inference = Inference::new(&self.reading, known);
        let files: Vec<_> = sample.iter().cloned().map(|f| head(f, self.reading.clone())).collect();
        let mut heads = stream::iter(files).buffered(AT_ONCE);
        while let Some(pieces) = heads.next().await {
            for piece in pieces? {
                match piece {
                    Piece::Lines(block) => block.bytes.split(|b| *b == b'\n').for_each(|line| inference.document(line)),
                    Piece::Documents(d) => d.at.into_iter().for_each(|(range, _)| inference.document(&d.bytes[range])),
                }
            }
        }
        Ok(inference.schema())
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let large = file.version().size >= LARGE;
        let layout = Layout {
            reading: self.reading.clone(),
            schema: options.schema.clone(),
            keep_origins: options.keep_origins,
            misfits: options.misfits.clone(),
        };
        match Pieces::open(file, &self.reading).await {
            Ok(pieces) => Ok(decode_in_order(pieces, options.threads, large, move |p| decode::decode(&layout, p))),
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Ok(stream::once(std::future::ready(Err(e))).boxed()),
            Err(e) => Err(e),
        }
    }
}

/// The first documents of a file; as far as it can be read if it is damaged.
async fn head(file: Arc<dyn RawFile>, reading: Arc<JsonReading>) -> Result<Vec<Piece>> {
    let mut found = Vec::new();
    let read = async {
        let mut pieces = Pieces::open(file, &reading).await?;
        let mut length = 0;
        while length < SAMPLE {
            let Some(piece) = pieces.next().await? else { break };
            length += Pieces::size(&piece);
            found.push(piece);
        }
        Ok::<_, Error>(())
    };
    match read.await {
        Err(e) if !matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Err(e),
        _ => Ok(found),
    }
}

/// A file's blocks.
struct Pieces {
    source: TextSource,
    framing: Framing,
    path: String,
}

enum Framing {
    Lines(Framer),
    /// With a block that is ready, and whether the file has ended.
    Documents(DocumentFramer, Option<Documents>, bool),
    /// Likewise, inside documents.
    Inside(Box<PathFilter>, DocumentFramer, bool),
}

impl Pieces {
    async fn open(file: Arc<dyn RawFile>, json: &JsonReading) -> Result<Self> {
        let path = file.version().path.clone();
        let (reading, lines) = (&json.reading, json.lines);
        let mut source = TextSource::open(file, reading.compression, reading.encoding).await?;
        if let Some(inside) = &json.path {
            let framer = DocumentFramer::new(BLOCK, reading.dialect.max_row).one_after_another();
            return Ok(Self { source, framing: Framing::Inside(Box::new(PathFilter::new(inside.clone())), framer, false), path });
        }
        // The beginning, up to the first line's end, tells how documents are laid out.
        let mut head: Vec<Bytes> = Vec::new();
        let mut length = 0;
        while lines.is_none() && length < SAMPLE && !head.iter().any(|p| has_line(p)) {
            let Some(piece) = source.next().await? else { break };
            length += piece.len();
            head.push(piece);
        }
        let framing = if lines.unwrap_or_else(|| is_lines(&head.concat())) {
            let mut framer = Framer::new(reading.dialect.clone(), Some(Newline::Lf), BLOCK, 0, 0, 0);
            head.iter().for_each(|p| framer.push(p));
            Framing::Lines(framer)
        } else {
            let mut framer = DocumentFramer::new(BLOCK, reading.dialect.max_row);
            let first = framer.push(&head.concat());
            Framing::Documents(framer, first, false)
        };
        Ok(Self { source, framing, path })
    }
}

/// Whether a line with something on it ends here.
fn has_line(piece: &[u8]) -> bool {
    let text = piece.trim_ascii_start();
    memchr::memchr(b'\n', text).is_some()
}

/// Whether the first line that is not blank is a whole object (or plainly something else than the beginning of a larger one).
fn is_lines(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let line = memchr::memchr(b'\n', text).map_or(text, |n| &text[..n]);
    if text.first() == Some(&b'[') {
        return false;
    }
    let mut parser = Parser::new(line);
    let whole = parser.skip().is_ok() && parser.end().is_ok();
    // `{` alone, or `{ "a": {`: a document goes on. Anything else that is wrong is a wrong line.
    whole || !matches!(line.trim_ascii_end().last(), Some(b'{' | b'[' | b',' | b':'))
}

impl Cutter for Pieces {
    type Block = Piece;

    async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            match &mut self.framing {
                Framing::Lines(framer) => {
                    if let Some(block) = framer.next_block() {
                        return Ok(Some(Piece::Lines(block)));
                    }
                    match self.source.next().await? {
                        Some(piece) => framer.push(&piece),
                        None if framer.end() => {}
                        None => return Ok(None),
                    }
                }
                Framing::Inside(_, _, true) => return Ok(None),
                Framing::Inside(filter, framer, ended) => {
                    let mut records = Vec::new();
                    match self.source.next().await? {
                        Some(piece) => {
                            filter.push(&piece, &mut records).map_err(|e| e.context("file", &self.path))?;
                            if let Some(block) = framer.push(&records) {
                                return Ok(Some(Piece::Documents(block)));
                            }
                        }
                        None => {
                            *ended = true;
                            filter.end(&mut records).map_err(|e| e.context("file", &self.path))?;
                            framer.take(&records);
                            let mut block = framer.end().map_err(|e| e.context("file", &self.path))?;
                            if filter.missed() {
                                let message = format!("nothing stands at `{}` in the file's documents", filter.path());
                                let reject = Reject { reason: RejectReason::MissingValue, line: 1, column: None, message, raw: Bytes::new() };
                                block = Some(Documents { bytes: Bytes::new(), at: Vec::new(), rejects: vec![reject] });
                            }
                            return Ok(block.map(Piece::Documents));
                        }
                    }
                }
                Framing::Documents(_, first @ Some(_), _) => return Ok(first.take().map(Piece::Documents)),
                Framing::Documents(_, None, true) => return Ok(None),
                Framing::Documents(framer, None, ended) => match self.source.next().await? {
                    Some(piece) => {
                        if let Some(block) = framer.push(&piece) {
                            return Ok(Some(Piece::Documents(block)));
                        }
                    }
                    None => {
                        *ended = true;
                        return Ok(framer.end().map_err(|e| e.context("file", &self.path))?.map(Piece::Documents));
                    }
                },
            }
        }
    }

    fn size(piece: &Piece) -> usize {
        match piece {
            Piece::Lines(block) => block.bytes.len(),
            Piece::Documents(d) => d.bytes.len(),
        }
    }
}
