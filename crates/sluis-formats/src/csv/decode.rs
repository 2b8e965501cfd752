//! A block of records to a batch: pure, so that blocks decode side by side.
//!
//! Records are scanned a thousand at a time into a table of field positions, then parsed column by column, straight from the bytes, while
//! they are in the cache. A bad value marks its row; marked rows are taken out of the batch once, at the end.
//! Deliberately not here: cutting, I/O, which type a column has.
//! Guarantees: rows and rejects in the file's order; every record is a row or one reject; nothing depends on where blocks were cut.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Decoded, Error, Misfit, Reject, RejectReason, Result, RowOrigins, Surplus};

use super::column::{Column, Stripe};
use super::config::Ragged;
use super::dialect::Dialect;
use super::frame::{Block, bad_quote};
use super::layout::Layout;
use super::repair;
use super::scan::{Sink, Stop, scan};
use super::surplus::Beyond;
use crate::values::guess::fitting;
use crate::values::push_excerpt;

/// Records parsed at a time, at most, and fields.
const STRIPE_ROWS: usize = 1024;
const STRIPE_FIELDS: usize = 32 * 1024;

/// The position of a field that is not there (`ragged: pad`): outside of every block.
pub const MISSING: (u32, u32) = (u32::MAX, u32::MAX);

/// Decodes one block.
///
/// # Errors
/// Only for bugs: bad data makes rejects.
pub fn decode_block(layout: &Layout, block: Block) -> Result<Decoded> {
    decode_by(layout, block, |bytes, at, table| scan(bytes, at, &layout.dialect, true, table))
}

/// Decodes one block whose records and fields `scan` finds: from a position on, until the table has enough.
///
/// # Errors
/// Only for bugs: bad data makes rejects.
pub fn decode_by(layout: &Layout, block: Block, scan: impl Fn(&[u8], usize, &mut Table<'_>) -> Stop) -> Result<Decoded> {
    let bytes = &block.bytes;
    let width = layout.kinds.len();
    let guess = bytes.len() / (width * 8).max(16);
    let mut columns: Vec<Column> = layout.kinds.iter().map(|k| Column::new(k, guess)).collect();
    let mut rows = Rows::default();
    let mut table = Table::new(layout, bytes, block.line, block.rejects);
    let mut at = 0;
    while at < bytes.len() {
        table.begin(rows.total);
        let stop = scan(bytes, at, &mut table);
        at = stop.at;
        table.line += stop.lines;
        table.parse(&mut columns);
        rows.take(&table, layout.keep_origins);
    }
    let (mut rejects, mut misfits, mut surplus) = (table.rejects, table.misfits, table.kept);
    misfits.sort_by_key(|m| (m.row, m.column));
    // Value errors come column by column within a stripe.
    rejects.sort_by_key(|r| r.line);
    let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.total));
    let mut batch = RecordBatch::try_new_with_options(layout.schema.clone(), arrays, &options)
        .map_err(|e| Error::internal("decoded columns do not fit their schema").source(e))?;
    if rows.any_bad {
        rows.keep.resize(rows.total, true);
        let keep = BooleanArray::from(std::mem::take(&mut rows.keep));
        batch = filter_record_batch(&batch, &keep).map_err(|e| Error::internal("rejected rows cannot be taken out").source(e))?;
        rows.retain(&keep);
        crate::misfit::retain(&mut misfits, &keep);
        crate::misfit::retain_surplus(&mut surplus, &keep);
    }
    let origins = layout.keep_origins.then(|| RowOrigins { lines: rows.lines, raw: Some((block.bytes.clone(), rows.ranges)) });
    Ok(Decoded { batch, origins, rejects, misfits, surplus })
}

/// What is known of the rows besides their values.
#[derive(Default)]
struct Rows {
    total: usize,
    any_bad: bool,
    /// Filled up to the last row of a stripe with bad rows.
    keep: Vec<bool>,
    lines: Vec<u64>,
    ranges: Vec<(u32, u32)>,
}

impl Rows {
    fn take(&mut self, table: &Table<'_>, keep_origins: bool) {
        if table.any_bad {
            self.any_bad = true;
            self.keep.resize(self.total, true);
            self.keep.extend(table.bad.iter().map(|b| *b == 0));
        }
        if keep_origins {
            self.lines.extend(table.rows.iter().map(|r| table.base + u64::from(r.line)));
            self.ranges.extend(table.rows.iter().map(|r| (r.start, r.end)));
        }
        self.total += table.rows.len();
    }

    fn retain(&mut self, keep: &BooleanArray) {
        if !self.lines.is_empty() {
            let mut n = 0..;
            self.lines.retain(|_| n.next().is_some_and(|i| keep.value(i)));
            let mut n = 0..;
            self.ranges.retain(|_| n.next().is_some_and(|i| keep.value(i)));
        }
    }
}

/// A record that has the right number of fields.
#[derive(Clone, Copy)]
struct Row {
    start: u32,
    end: u32,
    /// Line ends between the stripe's first byte and the record.
    line: u32,
}

/// A stripe of records: where their fields are.
pub struct Table<'a> {
    layout: &'a Layout,
    block: &'a Bytes,
    /// All of the block is valid UTF-8.
    valid: bool,
    width: usize,
    /// Rows of a stripe, at most.
    most: usize,
    /// `width` per row, row by row.
    fields: Vec<(u32, u32)>,
    /// Where the current record's fields begin in `fields`, and how many it has had.
    base_field: usize,
    count: usize,
    /// A surplus field was not empty.
    surplus: bool,
    /// Those fields, where they are kept.
    beyond: Beyond,
    /// Rows of the block before the stripe.
    before: usize,
    rows: Vec<Row>,
    /// Per row: 0, or 1 + the first column with a bad value.
    bad: Vec<u32>,
    any_bad: bool,
    /// Line of the stripe's first byte, and of the next one's.
    base: u64,
    line: u64,
    rejects: Vec<Reject>,
    /// The columns' names, from the first reject on.
    names: Vec<Arc<str>>,
    /// Bytes copied into rejects so far.
    copied: usize,
    /// Values told, by their rows in the block.
    misfits: Vec<Misfit>,
    /// What rows of the block hold beyond their columns.
    kept: Vec<Surplus>,
}

impl<'a> Table<'a> {
    fn new(layout: &'a Layout, block: &'a Bytes, line: u64, rejects: Vec<Reject>) -> Self {
        let width = layout.kinds.len();
        let most = (STRIPE_FIELDS / width.max(1)).clamp(1, STRIPE_ROWS);
        let mut fields = Vec::new();
        // One record more than fits: the current one is written before it is known to be whole.
        fields.resize((most + 1) * width, (0, 0));
        Self {
            layout,
            block,
            valid: simdutf8::basic::from_utf8(block).is_ok(),
            width,
            most,
            fields,
            base_field: 0,
            count: 0,
            surplus: false,
            beyond: Beyond::default(),
            before: 0,
            rows: Vec::with_capacity(most),
            bad: Vec::with_capacity(most),
            any_bad: false,
            base: line,
            line,
            rejects,
            names: Vec::new(),
            copied: 0,
            misfits: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Begins a stripe. `before`: rows of the block before it.
    fn begin(&mut self, before: usize) {
        self.before = before;
        self.base = self.line;
        self.rows.clear();
        self.base_field = 0;
        self.count = 0;
        self.surplus = false;
        self.beyond.clear();
        self.bad.clear();
        self.any_bad = false;
    }

    /// Parses the stripe, column by column, and rejects the rows with a bad value.
    fn parse(&mut self, columns: &mut [Column]) {
        let n = self.rows.len();
        if n == 0 {
            return;
        }
        self.bad.resize(n, 0);
        let fields = &self.fields[..n * self.width];
        for (c, column) in columns.iter_mut().enumerate() {
            let stripe = Stripe { bytes: self.block, fields, width: self.width, column: c, rows: n, layout: self.layout };
            self.any_bad |= column.parse(&stripe, &mut self.bad);
            for &row in &column.misfits {
                let (start, end) = fields[row as usize * self.width + c];
                let raw = self.block.get(start as usize..end as usize).unwrap_or_default();
                self.misfits.push(misfit(self.layout, self.before + row as usize, c, raw));
            }
        }
        if self.any_bad {
            for r in 0..n {
                if let Some(c) = (self.bad[r] as usize).checked_sub(1) {
                    let (start, end) = self.fields[r * self.width + c];
                    let raw = self.block.get(start as usize..end as usize).unwrap_or_default();
                    let message = self.layout.kinds[c].complaint(super::column::unquoted(raw, &self.layout.dialect));
                    let row = self.rows[r];
                    self.reject(RejectReason::BadValue, row, Some(c), message);
                }
            }
        }
    }

    #[cold]
    fn reject(&mut self, reason: RejectReason, row: Row, column: Option<usize>, message: String) {
        let (start, end) = (row.start as usize, (row.end as usize).min(row.start as usize + RAW_LIMIT));
        // A few rejects must not keep a whole block alive; many must not copy it.
        let raw = if self.copied * 8 < self.block.len() {
            self.copied += end - start;
            Bytes::copy_from_slice(&self.block[start..end])
        } else {
            self.block.slice(start..end)
        };
        let column = column.and_then(|c| {
            if self.names.is_empty() {
                self.names.extend(self.layout.schema.fields().iter().map(|f| Arc::from(f.name().as_str())));
            }
            self.names.get(c).cloned()
        });
        self.rejects.push(Reject { reason, line: self.base + u64::from(row.line), column, message, raw });
    }

    /// A record whose number of fields is not the number of columns. Answers whether it is a row all the same.
    #[cold]
    fn ragged(&mut self, row: Row) -> bool {
        if self.count == 1 && self.layout.dialect.is_blank(&self.block[row.start as usize..row.end as usize]) {
            return false;
        }
        if self.layout.ragged == Ragged::Repair && self.repaired(row) {
            return true;
        }
        if self.count < self.width {
            if self.layout.ragged != Ragged::Reject {
                self.fields[self.base_field + self.count..self.base_field + self.width].fill(MISSING);
                return true;
            }
            let missing = self.layout.schema.field(self.count).name();
            let message = format!("{} of {} fields: the row ends before `{missing}`", self.count, self.width);
            self.reject(RejectReason::TooFewFields, row, Some(self.count), message);
        } else {
            if self.layout.ragged != Ragged::Reject && !self.surplus {
                return true;
            }
            let mut message = format!("{} fields where {} are expected", self.count, self.width);
            if self.layout.ragged == Ragged::Rescue {
                if !self.beyond.too_much() {
                    self.rescue(row);
                    return true;
                }
                self.beyond.clear();
                message.push_str(", and more than a row may keep");
            }
            self.reject(RejectReason::TooManyFields, row, None, message);
        }
        false
    }

    /// Keeps what a record has beyond its columns, if it is to become a row: its bytes must be text.
    #[cold]
    fn rescue(&mut self, row: Row) {
        if self.valid || std::str::from_utf8(&self.block[row.start as usize..row.end as usize]).is_ok() {
            self.kept.extend(self.beyond.kept(self.before + self.rows.len(), self.block, self.layout));
        }
        self.beyond.clear();
    }

    /// Reads a record that breaks the rules in the way that fits best. Answers whether there is one.
    #[cold]
    fn repaired(&mut self, row: Row) -> bool {
        let (start, end) = (row.start as usize, row.end as usize);
        let layout = self.layout;
        let Some(fields) = repair::read(&self.block[start..end], &layout.dialect, Some(self.width), layout.rules(), &layout.habits) else {
            return false;
        };
        for (slot, field) in self.fields[self.base_field..].iter_mut().zip(fields) {
            *slot = if field == repair::ABSENT {
                MISSING
            } else {
                let (from, to) = (start + field.0, start + field.1);
                let (from, to) = if layout.dialect.trim { trimmed(self.block, from, to, layout.dialect.escape) } else { (from, to) };
                (from as u32, to as u32)
            };
        }
        true
    }

    /// Takes the record whose fields are in place as a row, if its bytes are text. Answers whether the stripe has room for another.
    #[inline(always)]
    fn accept(&mut self, row: Row) -> bool {
        if self.valid || std::str::from_utf8(&self.block[row.start as usize..row.end as usize]).is_ok() {
            self.rows.push(row);
            self.base_field += self.width;
        } else {
            self.bad_encoding(row);
        }
        self.rows.len() < self.most
    }

    /// A record with bytes that are no UTF-8: names the column.
    #[cold]
    fn bad_encoding(&mut self, row: Row) {
        let fields = &self.fields[self.base_field..self.base_field + self.width.min(self.count)];
        let bad = fields.iter().position(|(s, e)| std::str::from_utf8(self.block.get(*s as usize..*e as usize).unwrap_or_default()).is_err());
        let mut message = String::from("bytes that are not valid in the file's encoding: `");
        let (start, end) = bad.map_or((row.start, row.end), |c| fields[c]);
        push_excerpt(&mut message, &self.block[start as usize..end as usize]);
        message.push('`');
        self.reject(RejectReason::BadEncoding, row, bad, message);
    }
}

/// A field that is told.
#[cold]
fn misfit(layout: &Layout, row: usize, column: usize, raw: &[u8]) -> Misfit {
    let inner = super::column::unquoted(raw, &layout.dialect);
    let mut text = Vec::with_capacity(inner.len());
    unescape(inner, &layout.dialect, inner.len() < raw.len(), &mut text);
    let fits = fitting(layout.schema.field(column).data_type(), &text, layout.point);
    Misfit { row, column, text: String::from_utf8_lossy(&text).into_owned(), fits }
}

impl Sink for Table<'_> {
    #[inline(always)]
    fn field(&mut self, mut start: usize, mut end: usize) {
        if self.layout.dialect.trim {
            (start, end) = trimmed(self.block, start, end, self.layout.dialect.escape);
        }
        if self.count < self.width {
            self.fields[self.base_field + self.count] = (start as u32, end as u32);
        } else if start != end {
            self.surplus = true;
            if self.layout.ragged == Ragged::Rescue {
                self.beyond.add(self.count, start, end);
            }
        }
        self.count += 1;
    }

    #[inline(always)]
    fn record(&mut self, start: usize, end: usize, line: u64) -> bool {
        let row = Row { start: start as u32, end: end as u32, line: line as u32 };
        let good = self.count == self.width || self.ragged(row);
        let go_on = !good || self.accept(row);
        self.count = 0;
        self.surplus = false;
        go_on
    }

    #[cold]
    fn bad_quote(&mut self, start: usize, end: usize, line: u64, opened: u64) -> bool {
        self.count = 0;
        self.surplus = false;
        self.beyond.clear();
        let row = Row { start: start as u32, end: end as u32, line: line as u32 };
        if self.layout.dialect.lenient && self.repaired(row) {
            return self.accept(row);
        }
        let raw = self.block.slice(start..end.min(start + RAW_LIMIT));
        self.rejects.push(bad_quote(self.base + line, self.base + opened, raw));
        true
    }
}

#[inline(always)]
fn trimmed(bytes: &[u8], mut start: usize, mut end: usize, escape: Option<u8>) -> (usize, usize) {
    while start < end && matches!(bytes[start], b' ' | b'\t') {
        start += 1;
    }
    while start < end && matches!(bytes[end - 1], b' ' | b'\t') {
        // An escaped blank is wanted.
        if escape.is_some_and(|e| bytes[start..end - 1].iter().rev().take_while(|b| **b == e).count() % 2 == 1) {
            break;
        }
        end -= 1;
    }
    (start, end)
}

/// Puts the text that `raw` stands for into `out`: doubled quotes (`quoted` only) become one, an escape character gives way to the next.
pub fn unescape(raw: &[u8], dialect: &Dialect, quoted: bool, out: &mut Vec<u8>) {
    let quote = if quoted { dialect.quote } else { None };
    let mut rest = raw;
    loop {
        let found = match (quote, dialect.escape) {
            (Some(q), Some(e)) => memchr::memchr2(q, e, rest),
            (Some(b), None) | (None, Some(b)) => memchr::memchr(b, rest),
            (None, None) => None,
        };
        let Some(n) = found else { break };
        out.extend_from_slice(&rest[..n]);
        match rest.get(n + 1) {
            // A quote that is not doubled is text.
            Some(b) if Some(rest[n]) == quote && Some(*b) != quote => {
                out.push(rest[n]);
                rest = &rest[n + 1..];
                continue;
            }
            // What follows is literal, be it the second quote or the escaped byte.
            Some(b) => out.push(*b),
            None => out.push(rest[n]),
        }
        rest = rest.get(n + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
