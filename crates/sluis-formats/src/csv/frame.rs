//! Cuts a stream of text into blocks of whole records: sequential, cheap, exact about quotes, lines, headers and footers.
//!
//! Where a stretch holds no quote and no escape character it is cut at its last line end, at the speed of memory; elsewhere the scan of
//! `scan.rs` finds the records' ends. Deliberately not here: I/O, fields, types.
//! Guarantees: the blocks do not depend on how the bytes arrived, but for where they are cut; memory is bounded by a block, a row of
//! `max_row` bytes and a piece of input, also for a quote that is never closed and for a line without end.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Reject, RejectReason};

use super::dialect::{Dialect, Newline};
use super::repair::{self, Rules};
use super::scan::{Sink, scan};

/// Bytes that several records are judged by.
const JUDGED: usize = 64 * 1024;
/// Bytes made room for ahead of need, at most.
const ROOM: usize = 8 << 20;

/// Whole records of a file, and what stood before them.
#[derive(Debug, Clone)]
pub struct Block {
    /// Records with their terminators; the file's last one may lack its own.
    pub bytes: Bytes,
    /// Line of the first byte, from 1.
    pub line: u64,
    /// What was rejected right before this block: rows too long to be in one.
    pub rejects: Vec<Reject>,
}

/// What stands before the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Fields of each header record, as they stand (quotes included).
    pub header: Vec<Vec<Bytes>>,
    /// The last header record as it stands.
    pub raw: Bytes,
    /// Number of fields of the first data record, or of most of the first few ([`Framer::judging`]); `None` if there is no data.
    pub width: Option<usize>,
}

/// The cutter.
#[derive(Debug)]
pub struct Framer {
    dialect: Arc<Dialect>,
    /// Whether the newline is still to be found out.
    detect: bool,
    /// Bytes of a block, about.
    target: usize,
    footer: usize,
    buffer: BytesMut,
    /// Records before this position are complete.
    at: usize,
    /// Line of the buffer's first byte.
    line: u64,
    /// Starts of the last `footer` records before `at`.
    tail: VecDeque<usize>,
    /// Nothing more comes.
    ended: bool,
    /// Within a row that is too long: everything up to the next line end goes.
    skipping: bool,
    /// Rejects before the buffer's first byte.
    rejects: Vec<Reject>,
    /// The record at `at` is incomplete: look again when the buffer has this length.
    again: usize,
    skip: u64,
    header: usize,
    /// What stood behind the data.
    behind: Bytes,
    /// Data records that the width is judged by.
    judges: usize,
}

impl Framer {
    /// One for a file. `newline`: `None` = find out. `skip` lines and `header` records stand before the data, `footer` records behind it.
    pub fn new(mut dialect: Dialect, newline: Option<Newline>, target: usize, skip: u64, header: usize, footer: usize) -> Self {
        dialect.newline = newline.unwrap_or(Newline::Lf);
        Self {
            dialect: Arc::new(dialect),
            detect: newline.is_none(),
            target: target.max(1),
            footer,
            buffer: BytesMut::new(),
            at: 0,
            line: 1,
            tail: VecDeque::new(),
            ended: false,
            skipping: false,
            rejects: Vec::new(),
            again: 0,
            skip,
            header,
            behind: Bytes::new(),
            judges: 1,
        }
    }

    /// The width is what most of the first `records` have: the first one may be spoilt.
    #[must_use]
    pub fn judging(mut self, records: usize) -> Self {
        self.judges = records.max(1);
        self
    }

    /// The dialect, with the newline that was found.
    pub fn dialect(&self) -> &Arc<Dialect> {
        &self.dialect
    }

    /// The bytes that wait: right after [`Framer::open`] the beginning of the data.
    pub fn waiting(&self) -> &[u8] {
        &self.buffer
    }

    /// Changes the size of the blocks to come.
    pub fn set_target(&mut self, target: usize) {
        self.target = target.max(1);
    }

    /// Takes more of the file.
    pub fn push(&mut self, piece: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            let needed = self.buffer.len() + piece.len();
            let room = if self.buffer.is_empty() { needed } else { needed.max((self.buffer.len() * 2).min(self.target + self.target / 4)) };
            let mut bigger = BytesMut::with_capacity(room);
            bigger.extend_from_slice(&self.buffer);
            self.buffer = bigger;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The file has ended. Answers whether that is news.
    pub fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// Reads what stands before the data. `None`: needs more bytes.
    pub fn open(&mut self) -> Option<Opening> {
        if self.detect {
            let last = self.buffer.last().is_none_or(|b| *b == b'\r');
            let seen = memchr::memchr2(b'\n', b'\r', &self.buffer).is_some_and(|n| n + 1 < self.buffer.len() || !last);
            if !seen && !self.ended && self.buffer.len() <= self.dialect.max_row {
                return None;
            }
            Arc::make_mut(&mut self.dialect).newline = Dialect::detect_newline(&self.buffer);
            self.detect = false;
        }
        while self.skip > 0 {
            let Some((_, next)) = self.dialect.line_end(&self.buffer, 0, self.ended) else {
                // A preamble's line may be longer than anything: drop what cannot hold its end.
                let keep = self.dialect.held_back(&self.buffer);
                let _ = self.buffer.split_to(self.buffer.len() - keep);
                return None;
            };
            let _ = self.buffer.split_to(next);
            self.line += 1;
            self.skip -= 1;
        }
        let found = self.first_records()?;
        let width = usual_width(found.get(self.header..).unwrap_or_default());
        let mut opening = Opening { header: Vec::new(), raw: Bytes::new(), width };
        let mut end = 0;
        for record in found.into_iter().take(self.header) {
            opening.header.push(record.fields.into_iter().map(|r| Bytes::copy_from_slice(&self.buffer[r])).collect());
            opening.raw = Bytes::copy_from_slice(&self.buffer[record.bytes]);
            end = record.next;
        }
        self.line += self.dialect.count_lines(&self.buffer[..end]);
        let _ = self.buffer.split_to(end);
        Some(opening)
    }

    /// The header's records and those behind it that the width is judged by. `None`: needs more bytes.
    fn first_records(&self) -> Option<Vec<First>> {
        let found = |bytes: &[u8], ended: bool, limit: usize| {
            let mut fields = Fields { bytes, dialect: &self.dialect, limit, current: Vec::new(), records: Vec::new() };
            scan(bytes, 0, &self.dialect, ended, &mut fields);
            fields.records
        };
        if self.judges > 1 {
            // However the bytes come, the same ones are looked at.
            let head = &self.buffer[..self.buffer.len().min(JUDGED)];
            let records = found(head, self.ended && head.len() == self.buffer.len(), self.header + self.judges);
            if records.len() < self.header + self.judges && !self.ended && self.buffer.len() < JUDGED {
                return None;
            }
            if records.len() > self.header {
                return Some(records);
            }
        }
        let records = found(&self.buffer, self.ended, self.header + 1);
        // A header that is longer than a row may be is given up on: the caller sees that it is short.
        (records.len() > self.header || self.ended || self.buffer.len() > self.dialect.max_row).then_some(records)
    }

    /// The next block. `None`: needs more bytes,or, after [`Framer::end`], has given everything.
    pub fn next_block(&mut self) -> Option<Block> {
        loop {
            if self.skipping && !self.skip_rest() {
                return if self.ended { self.last_rejects() } else { None };
            }
            match self.extend() {
                Extended::Full => {
                    let end = self.cut_at();
                    if end > 0 {
                        return Some(self.cut(end));
                    }
                    self.target = self.target.saturating_mul(2);
                }
                Extended::TooLong => {
                    if self.at > 0 {
                        self.tail.clear();
                        return Some(self.cut(self.at));
                    }
                    if let Some(block) = self.too_long() {
                        return Some(block);
                    }
                }
                Extended::More if !self.ended => return None,
                Extended::More => {
                    let end = self.cut_at();
                    let block = (end > 0).then(|| self.cut(end));
                    if self.footer > 0 && !self.buffer.is_empty() {
                        self.behind = self.buffer.split().freeze();
                    }
                    self.buffer.clear();
                    self.at = 0;
                    self.tail.clear();
                    return block.or_else(|| self.last_rejects());
                }
            }
        }
    }

    /// The fields of the last footer row, as they stand, when the file has ended.
    pub fn footer(&self) -> Option<Vec<Bytes>> {
        let mut rows = Fields { bytes: &self.behind, dialect: &self.dialect, limit: usize::MAX, current: Vec::new(), records: Vec::new() };
        scan(&self.behind, 0, &self.dialect, true, &mut rows);
        Some(rows.records.pop()?.fields.into_iter().map(|f| self.behind.slice(f)).collect())
    }

    /// For a sample: all whole records there are, without what may be the footer.
    pub fn sample(mut self) -> Vec<Bytes> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next_block() {
            blocks.push(block.bytes);
        }
        let end = self.cut_at();
        if end > 0 {
            blocks.push(self.cut(end).bytes);
        }
        blocks
    }

    fn last_rejects(&mut self) -> Option<Block> {
        let rejects = std::mem::take(&mut self.rejects);
        (!rejects.is_empty()).then(|| Block { bytes: Bytes::new(), line: self.line, rejects })
    }

    /// Where the next block ends: before the records that may be the footer.
    fn cut_at(&self) -> usize {
        if self.footer == 0 {
            self.at
        } else if self.tail.len() < self.footer {
            0
        } else {
            self.tail[0]
        }
    }

    fn cut(&mut self, end: usize) -> Block {
        let rest = &self.buffer[end..];
        let mut next = BytesMut::with_capacity(if self.ended { rest.len() } else { rest.len() + (self.target + self.target / 4).min(ROOM) });
        next.extend_from_slice(rest);
        let mut block = std::mem::replace(&mut self.buffer, next);
        block.truncate(end);
        let bytes = block.freeze();
        let line = self.line;
        self.line += self.dialect.count_lines(&bytes);
        self.at -= end;
        self.again = self.again.saturating_sub(end);
        self.tail.iter_mut().for_each(|t| *t -= end);
        Block { bytes, line, rejects: std::mem::take(&mut self.rejects) }
    }

    /// Moves `at` over complete records until there is enough for a block.
    fn extend(&mut self) -> Extended {
        while self.at < self.buffer.len() {
            if self.at >= self.target && self.cut_at() > 0 {
                return Extended::Full;
            }
            if self.footer == 0 && self.leap() {
                continue;
            }
            if self.buffer.len() < self.again && !self.ended {
                return Extended::More;
            }
            let before = self.at;
            if !self.step() {
                return Extended::TooLong;
            }
            let length = self.buffer.len();
            // A scan that gained nothing, or stopped before it had enough, lacks bytes.
            if self.at < length && (self.at == before || self.at < self.target) {
                if length - self.at > self.dialect.max_row + 2 {
                    return Extended::TooLong;
                }
                assert!(!self.ended, "at the end of the file every record is complete");
                // Twice as much before the next look, so that the work stays linear however small the pieces are.
                self.again = length + (length - self.at);
                return Extended::More;
            }
        }
        if self.at >= self.target && self.cut_at() > 0 && !self.ended { Extended::Full } else { Extended::More }
    }

    /// Over all records up to the last line end, where nothing can hide one. `false`: nothing was gained.
    fn leap(&mut self) -> bool {
        let end = self.buffer.len().min(self.target.max(self.at + 1));
        let stretch = &self.buffer[self.at..end];
        if stretch.len() > self.dialect.max_row || self.dialect.may_hide_line_ends(stretch) {
            return false;
        }
        match self.dialect.last_line_end(stretch, self.ended && end == self.buffer.len()) {
            // A CR LF must not be cut in two.
            Some(n) if self.dialect.newline != Newline::Any || stretch[n - 1] != b'\r' || self.buffer.get(self.at + n) != Some(&b'\n') => {
                self.at += n;
                true
            }
            _ => false,
        }
    }

    /// Over records by the scan. `false`: the record at `at` is too long.
    fn step(&mut self) -> bool {
        let tail = std::mem::take(&mut self.tail);
        let (bytes, dialect) = (&*self.buffer, &*self.dialect);
        let mut ends = Ends { bytes, dialect, target: self.target, footer: self.footer, tail, fields: 0, too_long: None };
        let stop = scan(&self.buffer, self.at, &self.dialect, self.ended, &mut ends);
        self.tail = ends.tail;
        self.at = ends.too_long.unwrap_or(stop.at);
        ends.too_long.is_none()
    }

    /// Gives the line that the buffer begins with as a block, if its quote is open too long, else rejects the row. Which it is depends on its
    /// first `max_row` bytes only.
    fn too_long(&mut self) -> Option<Block> {
        assert_eq!(self.at, 0, "what stands before has been given");
        if self.dialect.is_comment(&self.buffer) {
            // No row, however long.
            self.again = 0;
            self.skipping = true;
            return None;
        }
        let head = &self.buffer[..self.buffer.len().min(self.dialect.max_row + 2)];
        let stop = scan(head, 0, &self.dialect, false, &mut Nothing);
        let limit = self.dialect.max_row;
        let raw = Bytes::copy_from_slice(&head[..head.len().min(RAW_LIMIT)]);
        // A comment before it moves the start of the row.
        let start_line = self.line + stop.lines;
        if let Some((_, next)) = stop.open_quote.and_then(|quote| self.dialect.line_end(head, quote, false)) {
            // Cut off there, it is a record that everyone sees to be bad.
            self.at = next;
            self.again = 0;
            return Some(self.cut(next));
        }
        let message = format!("the row is longer than {limit} bytes (`max_row`)");
        self.rejects.push(Reject { reason: RejectReason::TooLong, line: start_line, column: None, message, raw });
        // A line end that the limit cuts in two is one.
        let n = head.len() - self.dialect.held_back(head);
        self.line += self.dialect.count_lines(&self.buffer[..n]);
        let _ = self.buffer.split_to(n);
        self.again = 0;
        self.skipping = true;
        None
    }

    /// Drops the rest of a row that is too long. `false`: its end has not come.
    fn skip_rest(&mut self) -> bool {
        match self.dialect.line_end(&self.buffer, 0, self.ended) {
            Some((end, next)) => {
                self.line += u64::from(next > end);
                let _ = self.buffer.split_to(next);
                self.skipping = false;
                true
            }
            None => {
                let keep = self.dialect.held_back(&self.buffer);
                let _ = self.buffer.split_to(self.buffer.len() - keep);
                false
            }
        }
    }
}

enum Extended {
    /// Enough for a block.
    Full,
    /// The bytes are used up.
    More,
    /// The record at `at` is longer than allowed.
    TooLong,
}

/// The reject of a bad record: the same whether the quote is found open at the end, at the limit, or by the text behind it.
pub fn bad_quote(line: u64, opened: u64, raw: Bytes) -> Reject {
    let message = format!("a quote that opens in line {opened} is not closed, or text follows where it closes; reading goes on with the next line");
    Reject { reason: RejectReason::BadQuote, line, column: None, message, raw }
}

/// Finds where records end, and the last few.
struct Ends<'a> {
    bytes: &'a [u8],
    dialect: &'a Dialect,
    target: usize,
    footer: usize,
    tail: VecDeque<usize>,
    /// Of the current record.
    fields: usize,
    too_long: Option<usize>,
}

impl Ends<'_> {
    #[inline(always)]
    fn end(&mut self, start: usize, end: usize) -> bool {
        if end - start > self.dialect.max_row {
            self.too_long = Some(start);
            return false;
        }
        let fields = std::mem::take(&mut self.fields);
        if self.footer > 0 && !(fields <= 1 && self.dialect.is_blank(&self.bytes[start..end])) {
            if self.tail.len() == self.footer {
                self.tail.pop_front();
            }
            self.tail.push_back(start);
        }
        end < self.target
    }
}

impl Sink for Ends<'_> {
    #[inline(always)]
    fn field(&mut self, _: usize, _: usize) {
        self.fields += 1;
    }
    #[inline(always)]
    fn record(&mut self, start: usize, end: usize, _: u64) -> bool {
        self.end(start, end)
    }
    #[inline(always)]
    fn bad_quote(&mut self, start: usize, end: usize, _: u64, _: u64) -> bool {
        self.end(start, end)
    }
}

struct Nothing;

impl Sink for Nothing {
    fn field(&mut self, _: usize, _: usize) {}
    fn record(&mut self, _: usize, _: usize, _: u64) -> bool {
        true
    }
    fn bad_quote(&mut self, _: usize, _: usize, _: u64, _: u64) -> bool {
        true
    }
}

/// Collects the fields of the first records that are not blank.
struct Fields<'a> {
    bytes: &'a [u8],
    dialect: &'a Dialect,
    limit: usize,
    current: Vec<Range<usize>>,
    records: Vec<First>,
}

/// A record at the beginning of a file.
struct First {
    fields: Vec<Range<usize>>,
    bytes: Range<usize>,
    /// Where the next record begins.
    next: usize,
}

/// The number of fields that most records have; the first of two that are as frequent.
fn usual_width(records: &[First]) -> Option<usize> {
    let count = |width: usize| records.iter().filter(|r| r.fields.len() == width).count();
    records.iter().map(|r| r.fields.len()).reduce(|best, width| if count(width) > count(best) { width } else { best })
}

impl Sink for Fields<'_> {
    fn field(&mut self, start: usize, end: usize) {
        self.current.push(start..end);
    }
    fn record(&mut self, start: usize, end: usize, _: u64) -> bool {
        let fields = std::mem::take(&mut self.current);
        if fields.len() > 1 || !self.dialect.is_blank(&self.bytes[start..end]) {
            let next = self.dialect.line_end(self.bytes, end, true).map_or(end, |(_, next)| next);
            self.records.push(First { fields, bytes: start..end, next });
        }
        self.records.len() < self.limit
    }
    fn bad_quote(&mut self, start: usize, end: usize, line: u64, _: u64) -> bool {
        let rules = Rules { quotes: true, pad: false, repair: false };
        let read = if self.dialect.lenient { repair::read(&self.bytes[start..end], self.dialect, None, rules, &[]) } else { None };
        self.current = match read {
            Some(fields) => fields.into_iter().map(|f| start + f.0..start + f.1).collect(),
            // A header with a bad quote is one name, as it stands.
            None => std::iter::once(start..end).collect(),
        };
        self.record(start, end, line)
    }
}
