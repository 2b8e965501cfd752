//! Avro object container files: our own decoder and encoder.
//!
//! Reading: [`container`] (header, blocks) → [`decode`] (blocks to batches, side by side, with [`cursor`] and [`schema`]) → `pinned.rs`.
//! Why our own: the encoding is a page of rules; the libraries build a value per cell (apache-avro), or trust the sizes that a file claims
//! and know neither unions of several types nor schemas that refer to themselves (arrow-avro), and either brings more code than this room has.
//! Deliberately not here: files of single values without the container, schema registries, reader's schemas (columns are matched by name,
//! as in every format). Guarantees: file order; bounded memory whatever sizes a file claims; damage is `CorruptInput` with its place.

pub mod config;
pub mod container;
pub mod cursor;
pub mod decode;
pub mod encode;
pub mod render;
pub mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use self::config::{AvroRead, AvroWrite};
use self::container::{Container, Header, MAGIC};
use self::decode::Piece;
use crate::compress::Compression;
use crate::compress::unpack::Unpacked;
use crate::def::{config_of, lenient, merged_schema, sniff_magic};
use crate::ordered::{Cutter, units_in_order};
use crate::sample::united;

/// `avro:`.
pub static AVRO: FormatDef = FormatDef {
    name: "avro",
    summary: "Apache Avro, object container files, compressed as a whole or not",
    schema: || merged_schema(&schemars::schema_for!(AvroRead), &schemars::schema_for!(AvroWrite)),
    validate: |v| {
        let Ok(config) = lenient::<AvroRead>(v) else { return Vec::new() };
        let mistake = config.checked().err();
        mistake.into_iter().map(|message| Problem { at: vec!["max_block".into()], message, hint: None }).collect()
    },
    reader: Some(|v| {
        let config = config_of::<AvroRead>("avro", v)?.checked().map_err(|e| Error::config(format!("avro: max_block: {e}")))?;
        Ok(Arc::new(Avro { max_block: config.max_block.0 as usize }))
    }),
    writer: Some(|v| Ok(Arc::new(encode::AvroFactory::new(config_of::<AvroWrite>("avro", v)?.checked()?)))),
    declared_columns: |_| None,
    sniff: Some(|heads| sniff_magic(heads, MAGIC)),
};

struct Avro {
    max_block: usize,
}

/// Bytes of blocks that are decoded together, as stored, and their rows.
const TOGETHER: usize = 256 * 1024;
const ROWS_TOGETHER: u64 = 64 * 1024;
#[async_trait]
impl FileFormat for Avro {
    fn name(&self) -> &'static str {
        "avro"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let files: Vec<_> = sample.iter().cloned().map(|f| columns(f, self.max_block)).collect();
        united(files, known).await
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let path = file.version().path.clone();
        let (max_block, options) = (self.max_block, options.clone());
        let threads = options.threads;
        let unpacking = file.unpacking();
        let blocks = Blocks::open(file, max_block).await?;
        let limits = decode::Limits { max_block, unpacking };
        let rows = units_in_order(blocks, threads, decode::panicked, move |piece, to| decode::decode(piece, &limits, &options, to));
        Ok(rows.map(move |item| item.map_err(|e| e.context("file", &path))).boxed())
    }
}

/// The file's columns; `None` if it has no rows.
async fn columns(file: Arc<dyn RawFile>, max_block: usize) -> Result<Option<SchemaRef>> {
    let mut blocks = Blocks::open(file, max_block).await?;
    while let Some(block) = blocks.block().await? {
        if block.1.rows > 0 {
            return Ok(Some(block.0.schema.schema()));
        }
    }
    Ok(None)
}

/// The file's blocks.
struct Blocks {
    file: Arc<dyn RawFile>,
    input: Unpacked,
    container: Container,
    /// The input has ended.
    ended: bool,
    /// Rows before the next block.
    before: u64,
}

impl Blocks {
    async fn open(file: Arc<dyn RawFile>, max_block: usize) -> Result<Self> {
        // The container begins with a mark of its own: what has it is plain, whatever the name promises.
        let input = Unpacked::open(file.clone(), Compression::Auto).await?.unless(MAGIC);
        Ok(Self { file, input, container: Container::new(max_block), ended: false, before: 0 })
    }

    async fn block(&mut self) -> Result<Option<(Arc<Header>, container::Block)>> {
        loop {
            if let Some(block) = self.container.next_block()?
                && let Some(header) = self.container.header()?
            {
                return Ok(Some((header, block)));
            }
            if self.ended {
                self.file.verify().await?;
                return Ok(None);
            }
            match self.input.next().await? {
                Some(piece) => self.container.push(&piece),
                None => {
                    self.ended = true;
                    self.container.end();
                }
            }
        }
    }
}

impl Cutter for Blocks {
    type Block = Piece;

    async fn next(&mut self) -> Result<Option<Piece>> {
        let mut piece: Option<Piece> = None;
        let (mut bytes, mut rows) = (0, 0);
        while bytes < TOGETHER && rows < ROWS_TOGETHER {
            let Some((header, block)) = self.block().await? else { break };
            bytes += block.bytes.len();
            rows += block.rows;
            let before = self.before;
            self.before = before.saturating_add(block.rows);
            piece.get_or_insert_with(|| Piece { header, blocks: Vec::new(), before }).blocks.push(block);
        }
        Ok(piece)
    }

    fn size(piece: &Piece) -> usize {
        // A byte may be a null of as many columns as the file has.
        piece.blocks.iter().map(|b| b.bytes.len()).sum::<usize>().saturating_mul(piece.header.schema.size)
    }
}
