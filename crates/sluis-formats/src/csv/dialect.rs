//! How a CSV file is written: delimiter, quote, line ends …, as the scan needs it.
//!
//! Deliberately not here: what configuration may say (`config.rs`), what records mean.

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newline {
    /// LF, and CR LF. A CR elsewhere is an ordinary character.
    Lf,
    /// LF, CR LF and CR alike.
    Any,
    /// This text and nothing else: LF and CR are ordinary characters where they are not all of it.
    Text(Terminator),
}

/// A text that ends lines: one to [`Terminator::MOST`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminator {
    bytes: [u8; Self::MOST],
    length: u8,
    overlaps: bool,
}

impl Terminator {
    /// Bytes, at most.
    pub const MOST: usize = 8;

    /// `None` if it is empty or too long.
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > Self::MOST {
            return None;
        }
        let mut bytes = [0; Self::MOST];
        bytes[..text.len()].copy_from_slice(text);
        let overlaps = (1..text.len()).any(|n| text.ends_with(&text[..n]));
        Some(Self { bytes, length: text.len() as u8, overlaps })
    }

    /// Whether it begins as it ends, so that two of them can share characters.
    pub fn overlaps(&self) -> bool {
        self.overlaps
    }

    /// The text.
    #[inline(always)]
    pub fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// How many bytes at the end of `bytes` are its beginning, and not all of it.
    fn begun(&self, bytes: &[u8]) -> usize {
        (1..self.text().len()).rev().find(|n| bytes.ends_with(&self.text()[..*n])).unwrap_or(0)
    }
}

/// A dialect, ready to scan with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Empty: nothing separates fields, each record is one.
    pub delimiter: Vec<u8>,
    pub quote: Option<u8>,
    /// Never the same as `quote`: a doubled quote is understood always.
    pub escape: Option<u8>,
    /// What a line to be skipped begins with. Never empty.
    pub comment: Option<Vec<u8>>,
    /// Blanks around fields are no part of them.
    pub trim: bool,
    pub newline: Newline,
    /// Quotes that break the rules may be text.
    pub lenient: bool,
    /// Bytes of a record, at most.
    pub max_row: usize,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: vec![b','],
            quote: Some(b'"'),
            escape: None,
            comment: None,
            trim: false,
            newline: Newline::Lf,
            lenient: false,
            max_row: 16 << 20,
        }
    }
}

impl Dialect {
    /// Whether a record that begins here is a comment.
    #[inline(always)]
    pub fn is_comment(&self, record: &[u8]) -> bool {
        self.comment.as_ref().is_some_and(|c| record.starts_with(c))
    }

    /// The first line end from `from` on: where it is, and where the next line begins. With `at_end` the end of the bytes is one.
    /// `None` if there is none, or if more bytes are needed to know its length.
    pub fn line_end(&self, bytes: &[u8], from: usize, at_end: bool) -> Option<(usize, usize)> {
        let found = match self.newline {
            Newline::Text(t) => {
                let end = memchr::memmem::find(&bytes[from..], t.text()).map(|n| (from + n, from + n + t.text().len()));
                return end.or_else(|| at_end.then_some((bytes.len(), bytes.len())));
            }
            Newline::Lf => memchr::memchr(b'\n', &bytes[from..]),
            Newline::Any => memchr::memchr2(b'\n', b'\r', &bytes[from..]),
        };
        match found {
            None => at_end.then_some((bytes.len(), bytes.len())),
            Some(n) => {
                let at = from + n;
                if bytes[at] == b'\r' {
                    match bytes.get(at + 1) {
                        Some(b'\n') => return Some((at, at + 2)),
                        None if !at_end => return None,
                        _ => {}
                    }
                }
                Some((at, at + 1))
            }
        }
    }

    /// The last line end in `bytes`, as where the next line begins. A CR at the very end counts only with `at_end`.
    pub fn last_line_end(&self, bytes: &[u8], at_end: bool) -> Option<usize> {
        match self.newline {
            // Of a text that overlaps itself the last one may begin within another.
            Newline::Text(t) if t.overlaps => None,
            Newline::Text(t) => memchr::memmem::rfind(bytes, t.text()).map(|n| n + t.text().len()),
            Newline::Lf => memchr::memrchr(b'\n', bytes).map(|n| n + 1),
            Newline::Any => {
                let n = memchr::memrchr2(b'\n', b'\r', bytes)?;
                // A CR that may be half of a CR LF ends nothing yet.
                let n = if bytes[n] == b'\r' && n + 1 == bytes.len() && !at_end { memchr::memrchr2(b'\n', b'\r', &bytes[..n])? } else { n };
                Some(n + 1)
            }
        }
    }

    /// How many bytes at the end may be the beginning of a line end.
    pub fn held_back(&self, bytes: &[u8]) -> usize {
        match self.newline {
            Newline::Text(t) => t.begun(bytes),
            Newline::Lf | Newline::Any => usize::from(bytes.last() == Some(&b'\r')),
        }
    }

    /// `end` without the CR before it that belongs to the line end there.
    pub fn without_return(&self, bytes: &[u8], start: usize, end: usize) -> usize {
        if !matches!(self.newline, Newline::Text(_)) && end > start && bytes[end - 1] == b'\r' { end - 1 } else { end }
    }

    /// How many lines end within an escaped byte at `at`: it is a line end to editors, though none to records.
    #[inline(always)]
    pub fn escaped_lines(&self, bytes: &[u8], at: usize) -> u64 {
        if let Newline::Text(t) = self.newline {
            return u64::from(bytes.get(at..).is_some_and(|rest| rest.starts_with(t.text())));
        }
        match bytes.get(at) {
            Some(b'\n') => 1,
            Some(b'\r') if self.newline == Newline::Any && bytes.get(at + 1) != Some(&b'\n') => 1,
            _ => 0,
        }
    }

    /// How many lines end in `bytes`, which do not end between a CR and its LF.
    pub fn count_lines(&self, bytes: &[u8]) -> u64 {
        if let Newline::Text(t) = self.newline {
            return memchr::memmem::find_iter(bytes, t.text()).count() as u64;
        }
        let feeds = memchr::memchr_iter(b'\n', bytes).count();
        match self.newline {
            Newline::Lf | Newline::Text(_) => feeds as u64,
            Newline::Any => {
                let lone = memchr::memchr_iter(b'\r', bytes).filter(|n| bytes.get(n + 1) != Some(&b'\n')).count();
                (feeds + lone) as u64
            }
        }
    }

    /// What ends the lines of a file, by its beginning: LF (or CR LF) unless a lone CR comes first.
    pub fn detect_newline(head: &[u8]) -> Newline {
        match memchr::memchr2(b'\n', b'\r', head) {
            Some(n) if head[n] == b'\r' && head.get(n + 1) != Some(&b'\n') => Newline::Any,
            _ => Newline::Lf,
        }
    }

    /// Whether a record of one field is a blank line: nothing, or nothing but blanks where blanks around fields do not count.
    pub fn is_blank(&self, record: &[u8]) -> bool {
        record.is_empty() || (self.trim && record.iter().all(|b| matches!(b, b' ' | b'\t')))
    }

    /// Whether the bytes could hold something that makes a line end no record end.
    pub fn may_hide_line_ends(&self, bytes: &[u8]) -> bool {
        match (self.quote, self.escape) {
            (Some(q), Some(e)) => memchr::memchr2(q, e, bytes).is_some(),
            (Some(b), None) | (None, Some(b)) => memchr::memchr(b, bytes).is_some(),
            (None, None) => false,
        }
    }
}
