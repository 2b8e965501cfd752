//! The schema of a sample of files: what is declared, what is known, and what the values of the rest look like.
//!
//! Deliberately not here: single values (`values/guess.rs`). Guarantees: a file without rows changes nothing; a known type stays wherever
//! it holds the values seen; a damaged file counts as far as it can be read (reading it will say what is wrong).

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sluis_core::columns::widen;
use sluis_core::{Error, ErrorKind, RawFile, Result};

use super::column::unquoted;
use super::config::Reading;
use super::dialect::Dialect;
use super::frame::Opening;
use super::layout::{Nulls, names};
use super::scan::{Sink, scan};
use super::sniff;
use crate::text::TextSource;
use crate::values::guess::Guess;

/// Bytes of text looked at per file.
const SAMPLE: usize = 256 * 1024;
/// Files being read at once.
const AT_ONCE: usize = 16;

/// See [`sluis_core::FileFormat::infer`].
pub async fn infer(reading: &Arc<Reading>, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
    let find = |block: &[u8], dialect: &Dialect, rows: &mut Observe<'_>| {
        scan(block, 0, dialect, true, rows);
    };
    infer_by(reading, sample, known, |dialect, opening| names(reading, dialect, opening), find).await
}

/// Likewise, for files whose columns `names` tells and whose records `find` finds in a block.
pub async fn infer_by(
    reading: &Arc<Reading>,
    sample: &[Arc<dyn RawFile>],
    known: Option<&SchemaRef>,
    names: impl Fn(&Dialect, &Opening) -> Vec<String>,
    find: impl Fn(&[u8], &Dialect, &mut Observe<'_>),
) -> Result<SchemaRef> {
    let mut columns = Seen { known: known.cloned(), ..Seen::default() };
    let files: Vec<_> = sample.iter().cloned().map(|f| head(reading.clone(), f)).collect();
    let mut heads = stream::iter(files).buffered(AT_ONCE);
    while let Some(head) = heads.next().await {
        let (pieces, ended) = head?;
        columns.file(reading, pieces, ended, &names, &find);
    }
    Ok(columns.schema(reading))
}

/// The beginning of a file's text, and whether it is all of it.
async fn head(reading: Arc<Reading>, file: Arc<dyn RawFile>) -> Result<(Vec<Bytes>, bool)> {
    let mut pieces = Vec::new();
    let read = async {
        let mut source = TextSource::open(file, reading.compression, reading.encoding).await?;
        let mut length = 0;
        while length < SAMPLE {
            let Some(piece) = source.next().await? else { return Ok::<_, Error>(true) };
            let piece = piece.slice(..piece.len().min(SAMPLE - length));
            length += piece.len();
            pieces.push(piece);
        }
        Ok(false)
    };
    match read.await {
        Ok(ended) => Ok((pieces, ended)),
        Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => Ok((pieces, false)),
        Err(e) => Err(e),
    }
}

/// A column that was found in a file.
#[derive(Default)]
struct SeenColumn {
    name: String,
    guess: Guess,
    /// The known type holds every value so far.
    fits: bool,
    known: Option<crate::values::Kind>,
}

/// The columns found so far, in order.
#[derive(Default)]
struct Seen {
    known: Option<SchemaRef>,
    columns: Vec<SeenColumn>,
    by_name: HashMap<String, usize>,
}

impl Seen {
    fn file(
        &mut self,
        reading: &Reading,
        pieces: Vec<Bytes>,
        ended: bool,
        names: &impl Fn(&Dialect, &Opening) -> Vec<String>,
        find: &impl Fn(&[u8], &Dialect, &mut Observe<'_>),
    ) {
        let dialect = if reading.sniffed { sniff::of_text(&reading.dialect, reading.newline, &pieces.concat()) } else { reading.dialect.clone() };
        let mut framer = reading.framer(dialect, usize::MAX / 4);
        pieces.iter().for_each(|p| framer.push(p));
        if ended {
            framer.end();
        }
        let Some(opening) = framer.open() else { return };
        let (nulls, dialect) = (Nulls::new(&reading.nulls), framer.dialect().clone());
        let names = names(&dialect, &opening);
        // Where all is text, names say everything; else a file without rows says nothing.
        if reading.all_text && opening.header.len() == reading.header {
            names.iter().for_each(|n| {
                self.column(reading, n);
            });
        }
        if opening.width.is_none() {
            return;
        }
        // Without the file's end the last records of the sample may be the footer: the framer keeps them back.
        let mut at: Vec<usize> = Vec::new();
        for block in framer.sample() {
            if at.is_empty() {
                at = names.iter().map(|n| self.column(reading, n)).collect();
            }
            let mut rows = Observe { seen: self, at: &at, block: &block, dialect: &dialect, nulls: &nulls, point: reading.point, fields: Vec::new() };
            find(&block, &dialect, &mut rows);
        }
    }

    /// The column's index, as a new one if it has not been seen.
    fn column(&mut self, reading: &Reading, name: &str) -> usize {
        if let Some(&i) = self.by_name.get(name) {
            return i;
        }
        let known = self.known.as_ref().and_then(|k| k.field_with_name(name).ok()).map(|f| reading.kind(name, f.data_type()));
        self.columns.push(SeenColumn { name: name.to_owned(), guess: Guess::default(), fits: true, known });
        self.by_name.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    fn schema(self, reading: &Reading) -> SchemaRef {
        let mut fields: Vec<Field> = reading.declared_schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let known = self.known.clone().unwrap_or_else(|| Arc::new(Schema::empty()));
        let mut add = |name: &str, data_type: DataType| {
            if !fields.iter().any(|f| f.name() == name) {
                fields.push(Field::new(name, if reading.all_text { DataType::Utf8 } else { data_type }, true));
            }
        };
        for field in known.fields() {
            let seen = self.by_name.get(field.name()).map(|i| &self.columns[*i]);
            let data_type = match seen.and_then(|s| if s.fits { None } else { s.guess.data_type() }) {
                Some(guess) => widen(field.data_type(), &guess),
                None => field.data_type().clone(),
            };
            add(field.name(), data_type);
        }
        for column in &self.columns {
            add(&column.name, column.guess.data_type().unwrap_or(DataType::Utf8));
        }
        Arc::new(Schema::new(fields))
    }
}

/// Shows every value of every whole row to its column's guess.
pub struct Observe<'a> {
    seen: &'a mut Seen,
    at: &'a [usize],
    block: &'a [u8],
    dialect: &'a Dialect,
    nulls: &'a Nulls,
    point: u8,
    fields: Vec<(usize, usize)>,
}

impl Sink for Observe<'_> {
    fn field(&mut self, start: usize, end: usize) {
        self.fields.push((start, end));
    }

    fn record(&mut self, _: usize, _: usize, _: u64) -> bool {
        if self.fields.len() == self.at.len() {
            for (&(start, end), &i) in self.fields.iter().zip(self.at) {
                // A field that a line of fixed width lacks is outside of the block.
                let raw = self.block.get(start..end).unwrap_or_default();
                let bare = unquoted(raw.trim_ascii(), self.dialect).trim_ascii();
                if bare.is_empty() || self.nulls.is_word(bare) {
                    continue;
                }
                let column = &mut self.seen.columns[i];
                column.guess.observe(bare, self.point);
                if let Some(kind) = &column.known {
                    column.fits = column.fits && kind.holds(bare, self.point);
                }
            }
        }
        self.fields.clear();
        true
    }

    fn bad_quote(&mut self, _: usize, _: usize, _: u64, _: u64) -> bool {
        self.fields.clear();
        true
    }
}
