//! The one place that knows what a record and a field are: a structural scan, 64 bytes at a time.
//!
//! A field begins at a record's start or after a delimiter. It is quoted if a quote is its first byte (with `trim`: its first byte that is
//! no blank). In a quoted field a doubled quote stands for one, the escape character takes the next byte literally, and a lone quote
//! closes; then only blanks may come before the delimiter or the line's end. A quote elsewhere is an ordinary character.
//! A quote that is never closed, or a closing one that text follows, makes a *bad record*: it ends at the first line end after the quote
//! that opened, and the scan goes on with the next line. So the damage of one stray quote is one line, however long the file is.
//!
//! Deliberately not here: types, columns, nulls, buffers, what to do with a record.
//! Guarantees: every byte belongs to exactly one record, comment or terminator; each line is looked at a bounded number of times.

use super::dialect::{Dialect, Newline};

/// Receives what a scan finds.
pub trait Sink {
    /// A field of the current record. A quoted one with its quotes.
    fn field(&mut self, start: usize, end: usize);
    /// The record is complete: its bytes without the terminator; `line` = line ends between the scan's start and the record's. `false` = stop.
    fn record(&mut self, start: usize, end: usize, line: u64) -> bool;
    /// The record is a bad one; fields given so far are void. `opened` = likewise the line of the quote. `false` = stop.
    fn bad_quote(&mut self, start: usize, end: usize, line: u64, opened: u64) -> bool;
}

/// Where and why a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Start of the first record that was not delivered; the length of the bytes if all were.
    pub at: usize,
    /// Line ends before it.
    pub lines: u64,
    /// The record at `at` is incomplete because a quote that opened here is not closed.
    pub open_quote: Option<usize>,
}

/// Scans `bytes` from the record that begins at `from`. `at_end`: nothing follows these bytes, so that what is open ends with them.
pub fn scan<S: Sink>(bytes: &[u8], from: usize, dialect: &Dialect, at_end: bool, sink: &mut S) -> Stop {
    let needles = Needles::new(dialect);
    let general = dialect.delimiter.len() != 1 || dialect.escape.is_some() || dialect.newline != Newline::Lf;
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1") {
            // SAFETY: the features were detected on this very machine.
            return unsafe { scan_avx2(bytes, from, dialect, at_end, &needles, general, sink) };
        }
    }
    if general {
        Scan::<Portable, true>::new(bytes, dialect, at_end, &needles).run(from, sink)
    } else {
        Scan::<Portable, false>::new(bytes, dialect, at_end, &needles).run(from, sink)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,lzcnt,popcnt")]
unsafe fn scan_avx2<S: Sink>(bytes: &[u8], from: usize, dialect: &Dialect, at_end: bool, needles: &Needles, general: bool, sink: &mut S) -> Stop {
    if general {
        Scan::<Avx2, true>::new(bytes, dialect, at_end, needles).run(from, sink)
    } else {
        Scan::<Avx2, false>::new(bytes, dialect, at_end, needles).run(from, sink)
    }
}

/// The bytes that mean something. Those a dialect lacks repeat the line end, so that they cost nothing and match nothing new.
struct Needles {
    /// The line end's first byte.
    line: u8,
    delimiter: u8,
    quote: u8,
    carriage_return: u8,
    escape: u8,
}

impl Needles {
    fn new(dialect: &Dialect) -> Self {
        let line = if let Newline::Text(t) = &dialect.newline { t.text()[0] } else { b'\n' };
        Self {
            line,
            delimiter: dialect.delimiter.first().copied().unwrap_or(line),
            quote: dialect.quote.unwrap_or(line),
            carriage_return: if dialect.newline == Newline::Any { b'\r' } else { line },
            escape: dialect.escape.unwrap_or(line),
        }
    }
}

/// How 64 bytes are compared at once.
trait Compare {
    /// Bit `i` is set if byte `i` is a needle; `more`: also the carriage return and the escape, and the line end may be another than LF.
    fn mask(chunk: &[u8; 64], needles: &Needles, more: bool) -> u64;
}

struct Portable;

impl Compare for Portable {
    #[inline(always)]
    fn mask(chunk: &[u8; 64], n: &Needles, more: bool) -> u64 {
        let mut mask = 0_u64;
        let line = if more { n.line } else { b'\n' };
        for (i, &b) in chunk.iter().enumerate() {
            let hit = (b == n.delimiter) | (b == line) | (b == n.quote) | (more & ((b == n.carriage_return) | (b == n.escape)));
            mask |= u64::from(hit) << i;
        }
        mask
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Compare for Avx2 {
    /// No closures in here: they would not have the feature, and every comparison would be a call.
    #[inline(always)]
    fn mask(chunk: &[u8; 64], n: &Needles, more: bool) -> u64 {
        use std::arch::x86_64::{__m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8};
        macro_rules! is {
            ($v:expr, $b:expr) => {
                _mm256_cmpeq_epi8($v, _mm256_set1_epi8($b as i8))
            };
        }
        let line = if more { n.line } else { b'\n' };
        macro_rules! hits {
            ($at:literal) => {{
                let v = _mm256_loadu_si256(chunk.as_ptr().add($at).cast::<__m256i>());
                let mut hit = _mm256_or_si256(_mm256_or_si256(is!(v, n.delimiter), is!(v, line)), is!(v, n.quote));
                if more {
                    hit = _mm256_or_si256(hit, _mm256_or_si256(is!(v, n.carriage_return), is!(v, n.escape)));
                }
                u64::from(_mm256_movemask_epi8(hit) as u32)
            }};
        }
        // SAFETY: reached only through `scan_avx2`; both loads stay within the 64 bytes of `chunk`.
        unsafe { hits!(0) | hits!(32) << 32 }
    }
}

/// Walks over the needles in order.
struct Walk<'a, C, const GENERAL: bool> {
    bytes: &'a [u8],
    needles: &'a Needles,
    word: usize,
    mask: u64,
    /// Needles before this position are consumed (the rest of a delimiter, an escaped byte, the line feed of a CR LF).
    ignore: usize,
    compare: std::marker::PhantomData<C>,
}

impl<C: Compare, const GENERAL: bool> Walk<'_, C, GENERAL> {
    #[inline(always)]
    fn load(&mut self) {
        let rest = &self.bytes[self.word..];
        self.mask = match rest.first_chunk::<64>() {
            Some(chunk) => C::mask(chunk, self.needles, GENERAL),
            None => {
                let mut padded = [0_u8; 64];
                padded[..rest.len()].copy_from_slice(rest);
                C::mask(&padded, self.needles, GENERAL) & ((1_u64 << rest.len()) - 1)
            }
        };
    }

    #[inline(always)]
    fn seek(&mut self, at: usize) {
        self.word = at;
        self.mask = 0;
        if at < self.bytes.len() {
            self.load();
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        loop {
            while self.mask == 0 {
                self.word += 64;
                if self.word >= self.bytes.len() {
                    // Stay at the end, so that another call ends here again.
                    self.word = self.bytes.len();
                    return None;
                }
                self.load();
            }
            let at = self.word + self.mask.trailing_zeros() as usize;
            self.mask &= self.mask - 1;
            if !GENERAL || at >= self.ignore {
                return Some(at);
            }
        }
    }
}

/// What a byte is that a line end can begin with.
enum LineEnd {
    /// A line end; where the next line begins.
    At(usize),
    /// An ordinary character.
    No,
    /// More bytes are needed to know.
    Unknown,
}

/// What came of a quoted field.
enum Quoted {
    /// Its end, behind the closing quote.
    Closed(usize),
    /// Not closed, or followed by text; where its line ends, if that was passed.
    Bad(Option<usize>),
    /// More bytes are needed to know.
    Unknown,
}

struct Scan<'a, C, const GENERAL: bool> {
    bytes: &'a [u8],
    dialect: &'a Dialect,
    quote: Option<u8>,
    at_end: bool,
    /// The last escaped byte of an unquoted field ends here.
    literal: usize,
    walk: Walk<'a, C, GENERAL>,
}

impl<'a, C: Compare, const GENERAL: bool> Scan<'a, C, GENERAL> {
    #[inline(always)]
    fn new(bytes: &'a [u8], dialect: &'a Dialect, at_end: bool, needles: &'a Needles) -> Self {
        let walk = Walk { bytes, needles, word: 0, mask: 0, ignore: 0, compare: std::marker::PhantomData };
        Self { bytes, dialect, quote: dialect.quote, at_end, literal: 0, walk }
    }

    #[inline(always)]
    fn run<S: Sink>(mut self, from: usize, sink: &mut S) -> Stop {
        let bytes = self.bytes;
        let delimiter = self.walk.needles.delimiter;
        let (mut start, mut start_line, mut field);
        let mut line = 0_u64;
        // End of the current field if it was quoted and has been closed.
        let mut closed: Option<usize> = None;
        macro_rules! begin_record {
            ($at:expr) => {{
                start = $at;
                if self.dialect.comment.is_some() {
                    match self.skip_comments(start, &mut line) {
                        Ok(next) => {
                            if next != start {
                                start = next;
                                self.walk.seek(start);
                            }
                        }
                        Err(comment) => return Stop { at: comment, lines: line, open_quote: None },
                    }
                }
                field = start;
                start_line = line;
            }};
        }
        self.walk.seek(from);
        begin_record!(from);
        while let Some(at) = self.walk.next() {
            let b = bytes[at];
            if b == delimiter && (!GENERAL || self.is_delimiter(at)) {
                sink.field(field, closed.take().unwrap_or(at));
                field = at + if GENERAL { self.dialect.delimiter.len() } else { 1 };
                if GENERAL {
                    self.walk.ignore = field;
                }
            } else if self.may_end_line(b) {
                let next = match self.line_ends(at) {
                    LineEnd::At(next) => next,
                    LineEnd::No => continue,
                    LineEnd::Unknown => return Stop { at: start, lines: start_line, open_quote: None },
                };
                if GENERAL {
                    self.walk.ignore = next;
                }
                let bare = self.bare(start, at);
                sink.field(field, closed.take().unwrap_or(bare.max(field)));
                line += 1;
                let go_on = sink.record(start, bare, start_line);
                if !go_on {
                    return Stop { at: next, lines: line, open_quote: None };
                }
                begin_record!(next);
            } else if self.quote == Some(b) {
                if closed.is_some() || !(at == field || (self.dialect.trim && is_blank(&bytes[field..at]))) {
                    continue;
                }
                let opened = line;
                match self.quoted(b, &mut line) {
                    Quoted::Closed(end) => {
                        field = at;
                        closed = Some(end);
                    }
                    Quoted::Unknown => return Stop { at: start, lines: start_line, open_quote: Some(at) },
                    Quoted::Bad(passed) => {
                        let Some((end, next)) = self.line_end(passed.unwrap_or(at)) else {
                            return Stop { at: start, lines: start_line, open_quote: Some(at) };
                        };
                        line = opened + u64::from(next > end);
                        let end = self.dialect.without_return(bytes, start, end);
                        let go_on = sink.bad_quote(start, end, start_line, opened);
                        if !go_on {
                            return Stop { at: next, lines: line, open_quote: None };
                        }
                        self.walk.ignore = next;
                        self.walk.seek(next);
                        begin_record!(next);
                    }
                }
            } else if GENERAL && self.dialect.escape == Some(b) {
                self.walk.ignore = at + 2;
                self.literal = at + 2;
                line += self.dialect.escaped_lines(bytes, at + 1);
            }
        }
        if !self.at_end {
            return Stop { at: start, lines: start_line, open_quote: None };
        }
        let length = bytes.len();
        if start < length {
            let bare = self.bare(start, length);
            sink.field(field, closed.take().unwrap_or(bare.max(field)));
            sink.record(start, bare, start_line);
        }
        Stop { at: length, lines: line, open_quote: None }
    }

    #[inline(always)]
    fn is_delimiter(&self, at: usize) -> bool {
        !self.dialect.delimiter.is_empty() && self.bytes[at..].starts_with(&self.dialect.delimiter)
    }

    /// Whether a line end can begin with this byte.
    #[inline(always)]
    fn may_end_line(&self, b: u8) -> bool {
        if GENERAL { b == self.walk.needles.line || b == self.walk.needles.carriage_return } else { b == b'\n' }
    }

    /// What begins at `at`, where [`Scan::may_end_line`] holds.
    #[inline(always)]
    fn line_ends(&self, at: usize) -> LineEnd {
        if !GENERAL {
            return LineEnd::At(at + 1);
        }
        let rest = &self.bytes[at..];
        match &self.dialect.newline {
            Newline::Text(t) if rest.starts_with(t.text()) => LineEnd::At(at + t.text().len()),
            Newline::Text(t) if !self.at_end && t.text().starts_with(rest) => LineEnd::Unknown,
            Newline::Text(_) => LineEnd::No,
            _ if rest[0] != b'\r' => LineEnd::At(at + 1),
            _ => match rest.get(1) {
                Some(b'\n') => LineEnd::At(at + 2),
                None if !self.at_end => LineEnd::Unknown,
                _ => LineEnd::At(at + 1),
            },
        }
    }

    /// The end of the record from `start` on whose line end, or the bytes' end, is at `at`: unless it is escaped, a CR right before belongs
    /// to the line end.
    #[inline(always)]
    fn bare(&self, start: usize, at: usize) -> usize {
        let plain = !GENERAL || (self.literal < at && !matches!(self.dialect.newline, Newline::Text(_)));
        if at > start && self.bytes[at - 1] == b'\r' && plain { at - 1 } else { at }
    }

    /// Reads on behind a quote that opens.
    #[inline(always)]
    fn quoted(&mut self, quote: u8, line: &mut u64) -> Quoted {
        let bytes = self.bytes;
        let mut first_line_end = None;
        loop {
            let Some(at) = self.walk.next() else {
                return if self.at_end { Quoted::Bad(first_line_end) } else { Quoted::Unknown };
            };
            let b = bytes[at];
            if b == quote {
                match bytes.get(at + 1) {
                    Some(next) if *next == quote => {
                        // The second of the two is the next needle.
                        let second = self.walk.next();
                        debug_assert_eq!(second, Some(at + 1));
                    }
                    None if !self.at_end => return Quoted::Unknown,
                    _ => {
                        return match self.may_follow(at + 1) {
                            Some(true) => Quoted::Closed(at + 1),
                            Some(false) => Quoted::Bad(first_line_end),
                            None => Quoted::Unknown,
                        };
                    }
                }
            } else if self.may_end_line(b) {
                match self.line_ends(at) {
                    LineEnd::At(next) if GENERAL => self.walk.ignore = next,
                    LineEnd::At(_) => {}
                    LineEnd::No => continue,
                    LineEnd::Unknown => return Quoted::Unknown,
                }
                *line += 1;
                first_line_end = first_line_end.or(Some(at));
            } else if GENERAL && self.dialect.escape == Some(b) {
                self.walk.ignore = at + 2;
                if self.dialect.escaped_lines(bytes, at + 1) > 0 {
                    *line += 1;
                    first_line_end = first_line_end.or(Some(at + 1));
                }
            }
        }
    }

    /// Whether what stands at `at` may follow a closing quote; `None` if that needs more bytes.
    #[inline(always)]
    fn may_follow(&self, mut at: usize) -> Option<bool> {
        let unknown = if self.at_end { Some(true) } else { None };
        loop {
            let Some(&b) = self.bytes.get(at) else { return unknown };
            if b == self.walk.needles.delimiter && (!GENERAL || self.is_delimiter(at)) {
                return Some(true);
            }
            if GENERAL && matches!(self.dialect.newline, Newline::Text(_)) {
                match self.line_ends(at) {
                    LineEnd::At(_) => return Some(true),
                    LineEnd::Unknown => return None,
                    LineEnd::No if matches!(b, b' ' | b'\t') => {}
                    LineEnd::No if !self.at_end && self.dialect.delimiter.starts_with(&self.bytes[at..]) => return None,
                    LineEnd::No => return Some(false),
                }
                at += 1;
                continue;
            }
            match b {
                b'\n' => return Some(true),
                b'\r' if GENERAL && self.dialect.newline == Newline::Any => return Some(true),
                b'\r' => {
                    return match self.bytes.get(at + 1) {
                        Some(next) => Some(*next == b'\n'),
                        None => unknown,
                    };
                }
                b' ' | b'\t' => at += 1,
                // The beginning of a long delimiter may stand at the end of the bytes.
                _ if GENERAL && !self.at_end && self.dialect.delimiter.starts_with(&self.bytes[at..]) => return None,
                _ => return Some(false),
            }
        }
    }

    /// The first line end from `from` on: where it is, and where the next line begins.
    #[cold]
    fn line_end(&self, from: usize) -> Option<(usize, usize)> {
        self.dialect.line_end(self.bytes, from, self.at_end)
    }

    /// Where the first record begins at or after `at` that is no comment; where a comment begins that is not complete.
    #[inline(always)]
    fn skip_comments(&self, mut at: usize, line: &mut u64) -> Result<usize, usize> {
        while self.dialect.is_comment(&self.bytes[at..]) {
            let (end, next) = self.dialect.line_end(self.bytes, at, self.at_end).ok_or(at)?;
            *line += u64::from(next > end);
            at = next;
        }
        Ok(at)
    }
}

#[inline(always)]
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, b' ' | b'\t'))
}
