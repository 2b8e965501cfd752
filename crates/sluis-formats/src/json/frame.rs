//! Documents that are not a line each: one array of them, or one after another, cut where each ends.
//!
//! Deliberately not here: what a document means. (Documents of a line each are framed by CSV's framer, without quotes.)
//! Guarantees: bounded memory (a block, and a document of `max_row` bytes); the documents do not depend on how the bytes arrived.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Error, ErrorKind, Reject, RejectReason, Result};

/// Documents, and where each stands.
#[derive(Debug, Clone)]
pub struct Documents {
    pub bytes: Bytes,
    /// Position in `bytes` and line in the file of each.
    pub at: Vec<(Range<usize>, u64)>,
    /// Documents too long to be here, in their order.
    pub rejects: Vec<Reject>,
}

/// Cuts a stream of documents.
pub struct DocumentFramer {
    buffer: BytesMut,
    /// Everything before has been looked at.
    seen: usize,
    line: u64,
    /// Inside the one array that is the file.
    array: Array,
    /// The document in progress.
    current: Option<Current>,
    found: Vec<(Range<usize>, u64)>,
    rejects: Vec<Reject>,
    target: usize,
    max_row: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Array {
    Unknown,
    None,
    Open,
    Closed,
}

struct Current {
    start: usize,
    line: u64,
    depth: usize,
    /// Not an object or list: ends with the next separator.
    word: bool,
    in_text: bool,
    escaped: bool,
    /// Too long: its beginning; the rest is dropped as it comes.
    dropped: Option<Bytes>,
}

impl DocumentFramer {
    pub fn new(target: usize, max_row: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            seen: 0,
            line: 1,
            array: Array::Unknown,
            current: None,
            found: Vec::new(),
            rejects: Vec::new(),
            target,
            max_row,
        }
    }

    /// Documents one after another, whatever the first one is.
    pub fn one_after_another(mut self) -> Self {
        self.array = Array::None;
        self
    }

    /// Takes more of the file; gives a block when there is enough.
    pub fn push(&mut self, piece: &[u8]) -> Option<Documents> {
        self.take(piece);
        (self.buffer.len() >= self.target && (!self.found.is_empty() || !self.rejects.is_empty())).then(|| self.block())
    }

    /// Takes more of the file.
    pub fn take(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        self.look();
        self.drop_long();
        if self.current.is_none() && self.found.is_empty() && self.rejects.is_empty() {
            // Nothing but space between documents.
            let _ = self.buffer.split_to(self.seen);
            self.seen = 0;
        }
    }

    /// The file has ended.
    ///
    /// # Errors
    /// `ErrorKind::CorruptInput`: the array is not closed.
    pub fn end(&mut self) -> Result<Option<Documents>> {
        if self.current.as_ref().is_some_and(|c| c.word && c.dropped.is_none()) && self.array != Array::Open {
            self.close_current(self.buffer.len());
        }
        if self.array == Array::Open {
            return Err(Error::new(ErrorKind::CorruptInput, "the file ends within its array: it is cut off")
                .hint("send the file again, or set `on_corrupt: reject` to go on without it"));
        }
        if let Some(current) = self.current.take() {
            let raw = current.dropped.unwrap_or_else(|| {
                let end = self.buffer.len().min(current.start + RAW_LIMIT);
                Bytes::copy_from_slice(&self.buffer[current.start..end])
            });
            let message = "the file ends within the document".to_owned();
            self.rejects.push(Reject { reason: RejectReason::BadSyntax, line: current.line, column: None, message, raw });
        }
        self.seen = self.buffer.len();
        Ok((!self.found.is_empty() || !self.rejects.is_empty()).then(|| self.block()))
    }

    /// What has been found, as a block; the document in progress stays.
    fn block(&mut self) -> Documents {
        let end = self.current.as_ref().map_or(self.seen, |c| c.start);
        let bytes = self.buffer.split_to(end).freeze();
        self.seen -= end;
        if let Some(c) = &mut self.current {
            c.start = 0;
        }
        Documents { bytes, at: std::mem::take(&mut self.found), rejects: std::mem::take(&mut self.rejects) }
    }

    fn look(&mut self) {
        while self.seen < self.buffer.len() {
            if self.current.is_some() { self.inside() } else { self.between() }
        }
    }

    /// One byte between documents.
    fn between(&mut self) {
        let b = self.buffer[self.seen];
        match b {
            b'\n' => self.line += 1,
            b' ' | b'\t' | b'\r' => {}
            b'[' if self.array == Array::Unknown => self.array = Array::Open,
            b']' if self.array == Array::Open => self.array = Array::Closed,
            b',' if self.array == Array::Open => {}
            _ => {
                if self.array == Array::Unknown {
                    self.array = Array::None;
                }
                let word = !matches!(b, b'{' | b'[' | b'"');
                self.current = Some(Current { start: self.seen, line: self.line, depth: 0, word, in_text: false, escaped: false, dropped: None });
                if !word {
                    return;
                }
            }
        }
        self.seen += 1;
    }

    /// Through the document in progress, to its end or the buffer's.
    fn inside(&mut self) {
        let Some(mut c) = self.current.take() else { return };
        let mut ended = None;
        while self.seen < self.buffer.len() && ended.is_none() {
            let b = self.buffer[self.seen];
            self.line += u64::from(b == b'\n');
            if c.in_text {
                if c.escaped {
                    c.escaped = false;
                } else if b == b'\\' {
                    c.escaped = true;
                } else if b == b'"' {
                    c.in_text = false;
                    ended = (c.depth == 0).then_some(self.seen + 1);
                } else if let Some(n) = memchr::memchr3(b'"', b'\\', b'\n', &self.buffer[self.seen + 1..]) {
                    self.seen += n;
                }
            } else if c.word {
                if matches!(b, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                    // The separator is looked at again, between documents.
                    self.line -= u64::from(b == b'\n');
                    ended = Some(self.seen);
                    break;
                }
            } else {
                match b {
                    b'"' => c.in_text = true,
                    b'{' | b'[' => c.depth += 1,
                    b'}' | b']' => {
                        c.depth = c.depth.saturating_sub(1);
                        ended = (c.depth == 0).then_some(self.seen + 1);
                    }
                    _ => {}
                }
            }
            self.seen += 1;
        }
        self.current = Some(c);
        if let Some(end) = ended {
            self.close_current(end);
        }
    }

    fn close_current(&mut self, end: usize) {
        let Some(c) = self.current.take() else { return };
        let too_long = end - c.start > self.max_row;
        match c.dropped {
            None if !too_long => self.found.push((c.start..end, c.line)),
            dropped => {
                let raw = dropped.unwrap_or_else(|| Bytes::copy_from_slice(&self.buffer[c.start..(c.start + RAW_LIMIT).min(end)]));
                let message = format!("the document is longer than {} bytes (`max_row`)", self.max_row);
                self.rejects.push(Reject { reason: RejectReason::TooLong, line: c.line, column: None, message, raw });
            }
        }
    }

    /// Drops what has been seen of a document that is too long already.
    fn drop_long(&mut self) {
        let Some(c) = &mut self.current else { return };
        if self.seen - c.start <= self.max_row {
            return;
        }
        if c.dropped.is_none() {
            c.dropped = Some(Bytes::copy_from_slice(&self.buffer[c.start..(c.start + RAW_LIMIT).min(self.seen)]));
        }
        let rest = self.buffer.split_off(self.seen);
        self.buffer.truncate(c.start);
        self.buffer.unsplit(rest);
        self.seen = c.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, piece: usize, target: usize, max_row: usize) -> (Vec<(String, u64)>, Vec<(u64, RejectReason)>, bool) {
        let mut framer = DocumentFramer::new(target, max_row);
        let (mut found, mut rejects) = (Vec::new(), Vec::new());
        let mut take = |d: Documents| {
            rejects.extend(d.rejects.iter().map(|r| (r.line, r.reason)));
            found.extend(d.at.into_iter().map(|(r, line)| (String::from_utf8(d.bytes[r].to_vec()).unwrap(), line)));
        };
        for p in text.as_bytes().chunks(piece) {
            if let Some(d) = framer.push(p) {
                take(d);
            }
        }
        let whole = framer.end().map(|d| d.into_iter().for_each(take)).is_ok();
        (found, rejects, whole)
    }

    #[test]
    fn documents_are_found_however_the_bytes_arrive() {
        for piece in [1, 2, 3, 7, 1000] {
            for target in [1, 10, 1000] {
                let (found, rejects, whole) = cut("[\n{\"a\": \"]}\\\"\"},\n {\"b\":\n[1,{}]} , 12,null\n]\n", piece, target, 100);
                let want = [("{\"a\": \"]}\\\"\"}", 2), ("{\"b\":\n[1,{}]}", 3), ("12", 4), ("null", 4)];
                assert_eq!(found, want.map(|(t, l)| (t.to_owned(), l)));
                assert!(rejects.is_empty() && whole);
                let (found, _, whole) = cut("{\"a\":\n1}\n{\"a\":2}{\"a\":3}", piece, target, 100);
                assert_eq!(found.iter().map(|f| f.1).collect::<Vec<_>>(), [1, 3, 3]);
                assert!(whole);
                assert!(!cut("[{\"a\":1}, {\"a\"", piece, target, 100).2, "an array that is cut off");
                assert_eq!(cut("{\"a\":1} {\"a\"", piece, target, 100).1, [(1, RejectReason::BadSyntax)]);
                let long = format!("[{{\"a\":1}},\n{{\"b\":\"{}\"}},\n{{\"c\":1}}]", "x".repeat(500));
                let (found, rejects, whole) = cut(&long, piece, target, 100);
                assert_eq!((found.len(), found[1].1, rejects, whole), (2, 3, vec![(2, RejectReason::TooLong)], true));
            }
        }
    }
}
