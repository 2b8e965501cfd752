//! Lines to fields by their places: what takes CSV's structural scan's part.
//!
//! Deliberately not here: types, nulls, rejects (CSV's decoder does all that). Guarantees: every line is one record, or blank; places are
//! counted in characters.

use super::config::Place;
use crate::csv::dialect::Dialect;
use crate::csv::scan::{Sink, Stop};

/// The position of a field that is not there.
const MISSING: usize = u32::MAX as usize;

/// Finds the fields of lines.
#[derive(Debug, Clone)]
pub struct Places {
    places: Vec<Place>,
    /// A field that a line does not wholly have is null, or what there is of it.
    pad: bool,
}

impl Places {
    pub fn new(places: &[Place], pad: bool) -> Self {
        Self { places: places.to_vec(), pad }
    }

    /// Gives the records of `bytes` from `from` on to `sink`, until it has enough.
    pub fn scan<S: Sink>(&self, bytes: &[u8], from: usize, dialect: &Dialect, sink: &mut S) -> Stop {
        // Where all is ASCII a character is a byte.
        let ascii = bytes[from..].is_ascii();
        let (mut at, mut lines) = (from, 0);
        let mut starts = Vec::new();
        while at < bytes.len() {
            let (end, next) = dialect.line_end(bytes, at, true).unwrap_or((bytes.len(), bytes.len()));
            let stop = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
            let line = at;
            at = next;
            let before = lines;
            lines += u64::from(next > end);
            if stop == line {
                continue;
            }
            if ascii {
                self.fields(stop - line, sink, |n| line + n);
            } else {
                starts.clear();
                // Of an invalid byte too: it is a character, and the line will be rejected for it.
                starts.extend((line..stop).filter(|i| bytes[*i] & 0xc0 != 0x80));
                let count = starts.len();
                self.fields(count, sink, |n| starts.get(n).copied().unwrap_or(stop));
            }
            if !sink.record(line, stop, before) {
                break;
            }
        }
        Stop { at, lines, open_quote: None }
    }

    /// The fields of a line of `length` characters; `position` says where a character begins.
    #[inline(always)]
    fn fields<S: Sink>(&self, length: usize, sink: &mut S, position: impl Fn(usize) -> usize) {
        for place in &self.places {
            let end = place.end.min(length);
            if place.start >= length && place.end < usize::MAX || place.start > length {
                if !self.pad {
                    return;
                }
                sink.field(MISSING, MISSING);
            } else if end < place.end && place.end < usize::MAX && !self.pad {
                return;
            } else {
                sink.field(position(place.start), position(end));
            }
        }
    }
}
