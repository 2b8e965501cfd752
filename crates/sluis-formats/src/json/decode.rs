//! A block of JSON documents to a batch: pure, so that blocks decode side by side.
//!
//! Deliberately not here: cutting, types. Guarantees: every document is a row or one reject; a key that the schema lacks is a column of text
//! all the same.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Decoded, Error, Misfit, Misfits, Reject, RejectReason, Result, RowOrigins};

use super::config::{JsonReading, Nested};
use super::frame::Documents;
use super::infer::fitting;
use super::node::{name_of, within};
use super::parse::{Bad, DEPTH, Parser, unescape};
use crate::csv::frame::Block;
use crate::tree::Node;
use crate::values::guess::beyond_double;

/// What a block needs to be decoded.
pub struct Layout {
    pub reading: Arc<JsonReading>,
    pub schema: SchemaRef,
    pub keep_origins: bool,
    pub misfits: Misfits,
}

/// A piece of a file.
pub enum Piece {
    /// A document per line.
    Lines(Block),
    /// Documents with their positions.
    Documents(Documents),
}

/// Decodes a piece.
///
/// # Errors
/// Only for bugs: bad data makes rejects.
pub fn decode(layout: &Layout, piece: Piece) -> Result<Decoded> {
    match piece {
        Piece::Lines(block) => {
            let mut table = Table::new(layout, block.bytes.clone(), block.rejects);
            let (mut at, mut line) = (0, block.line);
            while at < block.bytes.len() {
                let end = memchr::memchr(b'\n', &block.bytes[at..]).map_or(block.bytes.len(), |n| at + n);
                table.document(at, end, line);
                at = end + 1;
                line += 1;
            }
            table.finish()
        }
        Piece::Documents(documents) => {
            let mut table = Table::new(layout, documents.bytes, documents.rejects);
            for (range, line) in documents.at {
                table.document(range.start, range.end, line);
            }
            table.finish()
        }
    }
}

struct Table<'a> {
    layout: &'a Layout,
    block: Bytes,
    valid: bool,
    columns: Vec<(String, Node)>,
    /// Columns whose bad values are told; empty: none.
    told: Vec<bool>,
    misfits: Vec<Misfit>,
    by_name: HashMap<Vec<u8>, usize>,
    rows: usize,
    keep: Vec<bool>,
    any_bad: bool,
    lines: Vec<u64>,
    ranges: Vec<(u32, u32)>,
    rejects: Vec<Reject>,
    copied: usize,
    scratch: Vec<u8>,
    /// The column behind the last one.
    expected: usize,
}

impl<'a> Table<'a> {
    fn new(layout: &'a Layout, block: Bytes, rejects: Vec<Reject>) -> Self {
        Self {
            layout,
            valid: simdutf8::basic::from_utf8(&block).is_ok(),
            block,
            columns: Vec::new(),
            told: Vec::new(),
            misfits: Vec::new(),
            by_name: HashMap::new(),
            rows: 0,
            keep: Vec::new(),
            any_bad: false,
            lines: Vec::new(),
            ranges: Vec::new(),
            rejects,
            copied: 0,
            scratch: Vec::new(),
            expected: 0,
        }
    }

    /// Takes the document between these positions; white space alone is none.
    fn document(&mut self, start: usize, end: usize, line: u64) {
        let block = self.block.clone();
        let raw = &block[start..end];
        if raw.trim_ascii().is_empty() {
            return;
        }
        if !self.valid && std::str::from_utf8(raw).is_err() {
            let message = "bytes that are not valid in the file's encoding".to_owned();
            self.reject(RejectReason::BadEncoding, start, end, line, None, message);
            return;
        }
        self.expected = 0;
        let result = self.row(&mut Parser::new(raw));
        // Columns that the document lacks, or did not come to, are null.
        self.rows += 1;
        let rows = self.rows;
        self.columns.iter_mut().for_each(|(_, c)| c.pad(rows));
        self.keep.push(result.is_ok());
        if self.layout.keep_origins {
            let trimmed = raw.trim_ascii_end().len();
            self.lines.push(line);
            self.ranges.push((start as u32, (start + trimmed) as u32));
        }
        if let Err(bad) = result {
            self.any_bad = true;
            let (reason, column, message) = explain(bad);
            self.reject(reason, start, end, line, column, message);
        }
    }

    fn row(&mut self, parser: &mut Parser<'_>) -> Result<(), Bad> {
        if parser.peek() != Some(b'{') {
            parser.skip()?;
            parser.end()?;
            return Err(Bad::Syntax("the document is not an object".into(), 0));
        }
        self.fields(parser, &mut Vec::new(), 0)?;
        parser.end()
    }

    /// The fields of an object; `prefix` stands before their names where objects are flattened.
    fn fields(&mut self, parser: &mut Parser<'_>, prefix: &mut Vec<u8>, depth: usize) -> Result<(), Bad> {
        if depth > DEPTH {
            return Err(parser.wrong("nested too deeply"));
        }
        parser.expect(b'{', "`{`")?;
        if parser.closes(b'}') {
            return Ok(());
        }
        let flattens = self.layout.reading.nested == Nested::Flatten;
        loop {
            let key = parser.key()?;
            // Documents tend to have the same keys in the same order.
            let expected = self.expected;
            let i = match self.columns.get(expected) {
                Some((name, _)) if !flattens && !key.escaped && name.as_bytes() == key.raw => expected,
                _ => {
                    let mut scratch = std::mem::take(&mut self.scratch);
                    let found = name_of(key, &mut scratch, parser).map(|name| {
                        let length = prefix.len();
                        prefix.extend_from_slice(name);
                        length
                    });
                    self.scratch = scratch;
                    let length = found?;
                    let opened = flattens && self.opens(parser, prefix, depth)?;
                    let i = if opened { None } else { Some(self.column(prefix)) };
                    prefix.truncate(length);
                    let Some(i) = i else {
                        if !parser.more(b'}')? {
                            return Ok(());
                        }
                        continue;
                    };
                    i
                }
            };
            self.expected = i + 1;
            let rows = self.rows;
            let (name, column) = &mut self.columns[i];
            if column.count() > rows {
                return Err(parser.wrong(&format!("`{name}` is there twice")));
            }
            if self.told.get(i) == Some(&true) {
                self.take_or_tell(i, parser)?;
            } else {
                column.take(parser).map_err(|e| within(e, name.as_bytes()))?;
            }
            if !parser.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Takes a value; one that is not of the column's type is told, and null.
    fn take_or_tell(&mut self, i: usize, parser: &mut Parser<'_>) -> Result<(), Bad> {
        let start = parser.mark();
        let (name, column) = &mut self.columns[i];
        let fits = match column.take(parser).map_err(|e| within(e, name.as_bytes())) {
            Ok(()) if self.layout.misfits.exact() && column.data_type() == DataType::Float64 => {
                if !beyond_double(parser.since(start).trim_ascii()) {
                    return Ok(());
                }
                DataType::Utf8
            }
            Ok(()) => return Ok(()),
            Err(Bad::Syntax(what, at)) => return Err(Bad::Syntax(what, at)),
            Err(Bad::Value(..) | Bad::Unexpected(_)) => {
                parser.back(start);
                let raw = parser.skip()?;
                fitting(&column.data_type(), raw)
            }
        };
        let raw = parser.since(start).trim_ascii();
        let text = match raw.first() {
            Some(b'"') => text_of(raw).unwrap_or_else(|| raw.to_vec()),
            _ => raw.to_vec(),
        };
        self.misfits.push(Misfit { row: self.rows, column: i, text: String::from_utf8_lossy(&text).into_owned(), fits });
        Ok(())
    }

    /// Takes a value that is no column itself: an object that is flattened, or a null where no column is. `false`: it is one.
    fn opens(&mut self, parser: &mut Parser<'_>, name: &mut Vec<u8>, depth: usize) -> Result<bool, Bad> {
        match parser.peek() {
            Some(b'{') if self.layout.reading.flattens(name) => {
                let length = name.len();
                name.extend_from_slice(&self.layout.reading.separator);
                let result = self.fields(parser, name, depth + 1);
                name.truncate(length);
                result.map(|()| true)
            }
            Some(b'n')
                if !self.by_name.contains_key(name.as_slice()) && self.layout.schema.field_with_name(&String::from_utf8_lossy(name)).is_err() =>
            {
                parser.word().map(|_| true)
            }
            _ => Ok(false),
        }
    }

    /// The column of that name, as a new one if it is the first time.
    fn column(&mut self, name: &[u8]) -> usize {
        if let Some(&i) = self.by_name.get(name) {
            return i;
        }
        let text = String::from_utf8_lossy(name).into_owned();
        let data_type = self.layout.schema.field_with_name(&text).map_or(DataType::Utf8, |f| f.data_type().clone());
        let reading = &self.layout.reading;
        let mut node = Node::new(&data_type, &|t| reading.reading.kind(&text, t));
        node.pad(self.rows);
        if self.layout.misfits != Misfits::Reject {
            self.told.push(self.layout.misfits.told(&text));
        }
        self.columns.push((text, node));
        self.by_name.insert(name.to_vec(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    #[cold]
    fn reject(&mut self, reason: RejectReason, start: usize, end: usize, line: u64, column: Option<String>, message: String) {
        let end = end.min(start + RAW_LIMIT);
        // A few rejects must not keep a whole block alive; many must not copy it.
        let raw = if self.copied * 8 < self.block.len() {
            self.copied += end - start;
            Bytes::copy_from_slice(&self.block[start..end])
        } else {
            self.block.slice(start..end)
        };
        self.rejects.push(Reject { reason, line, column: column.map(Arc::from), message, raw });
    }

    fn finish(self) -> Result<Decoded> {
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (name, node) in self.columns {
            fields.push(Field::new(name, node.data_type(), true));
            arrays.push(node.finish()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let mut batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|e| Error::internal("decoded columns do not fit their schema").source(e))?;
        let (mut lines, mut ranges, mut misfits) = (self.lines, self.ranges, self.misfits);
        misfits.sort_by_key(|m| (m.row, m.column));
        if self.any_bad {
            if self.layout.keep_origins {
                let mut keep = self.keep.iter();
                lines.retain(|_| keep.next() == Some(&true));
                let mut keep = self.keep.iter();
                ranges.retain(|_| keep.next() == Some(&true));
            }
            let keep = BooleanArray::from(self.keep);
            crate::misfit::retain(&mut misfits, &keep);
            batch = filter_record_batch(&batch, &keep).map_err(|e| Error::internal("rejected rows cannot be taken out").source(e))?;
        }
        let mut rejects = self.rejects;
        rejects.sort_by_key(|r| r.line);
        let origins = self.layout.keep_origins.then(|| RowOrigins { lines, raw: Some((self.block, ranges)) });
        Ok(Decoded { batch, origins, rejects, misfits, surplus: Vec::new() })
    }
}

/// What a text in quotes stands for.
fn text_of(raw: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(raw.len());
    unescape(Parser::new(raw).text().ok()?, &mut text)?;
    Some(text)
}

fn explain(bad: Bad) -> (RejectReason, Option<String>, String) {
    let path = |path: Vec<String>| path.into_iter().rev().collect::<Vec<_>>().join(".");
    match bad {
        Bad::Syntax(what, at) => (RejectReason::BadSyntax, None, format!("{what} (at byte {at})")),
        Bad::Value(at, message) => (RejectReason::BadValue, Some(path(at)), message),
        Bad::Unexpected(at) => {
            let column = path(at);
            let message = format!("`{column}` is not among the fields its column was first seen with");
            (RejectReason::ContractViolated, Some(column), message)
        }
    }
}
