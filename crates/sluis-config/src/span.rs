//! Where something stands: a file's text, a stretch of it, and the way from a place inside a YAML scalar's value back to the file.
//!
//! Deliberately not here: reading files, rendering.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A configuration file as it was read: line ends are `\n`, without a byte order mark.
pub struct SourceFile {
    path: PathBuf,
    shown: String,
    text: String,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
}

impl SourceFile {
    /// `shown` is the path as people see it, usually relative to the working directory.
    pub fn new(path: impl Into<PathBuf>, shown: impl Into<String>, text: &str) -> Arc<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Arc::new(Self { path: path.into(), shown: shown.into(), text, lines })
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The path as people see it.
    pub fn shown(&self) -> &str {
        &self.shown
    }
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Line and column of a byte offset, both from 1; columns are characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        (line, self.text[self.lines[line - 1]..offset].chars().count() + 1)
    }
    /// The bytes of a line (from 1), without its end.
    pub(crate) fn line(&self, line: usize) -> Range<usize> {
        let start = self.lines[(line - 1).min(self.lines.len() - 1)];
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        start..end
    }
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// A stretch of a file. It knows its file, so it can be shown wherever it is handed to.
#[derive(Clone)]
pub struct Span {
    file: Arc<SourceFile>,
    start: usize,
    end: usize,
}

impl Span {
    /// Byte offsets; clamped to the text and to character boundaries.
    pub fn new(file: &Arc<SourceFile>, range: Range<usize>) -> Self {
        let start = file.floor(range.start);
        let end = file.floor(range.end).max(start);
        Self { file: file.clone(), start, end }
    }
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }
    /// Byte offsets in [`SourceFile::text`].
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
    /// What stands there.
    pub fn text(&self) -> &str {
        &self.file.text[self.start..self.end]
    }
    /// The part of it in its first line.
    #[must_use]
    pub fn first_line(&self) -> Span {
        let end = self.text().find('\n').map_or(self.end, |n| self.start + n);
        Span { file: self.file.clone(), start: self.start, end }
    }
    /// From the beginning of this to the end of `other`, if that is later in the same file.
    #[must_use]
    pub(crate) fn to(&self, other: &Span) -> Span {
        let end = if Arc::ptr_eq(&self.file, &other.file) { self.end.max(other.end) } else { self.end };
        Span { file: self.file.clone(), start: self.start, end }
    }
}

impl PartialEq for Span {
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start && self.end == other.end && self.file.path == other.file.path
    }
}
impl Eq for Span {}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.position(self.start);
        write!(f, "{}:{line}:{column}+{}", self.file.shown, self.end - self.start)
    }
}

/// `{"file","line","col","len"}`: line and column from 1, length in characters within the first line.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            file: &'a str,
            line: usize,
            col: usize,
            len: usize,
        }
        let (line, col) = self.file.position(self.start);
        Form { file: &self.file.shown, line, col, len: self.first_line().text().chars().count() }.serialize(s)
    }
}

/// From here on, offsets of a value stand at offsets of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Offset in the value.
    pub at: usize,
    /// Offset in the file.
    pub source: usize,
    /// All of it stands at this one place (what a variable was replaced by).
    pub fixed: bool,
}

/// Where a text stands, such that places inside its value can be found: for messages about SQL in a YAML scalar, whatever its style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSpan {
    span: Span,
    segments: Arc<[Segment]>,
}

impl TextSpan {
    pub(crate) fn new(span: Span, segments: Arc<[Segment]>) -> Self {
        Self { span, segments }
    }
    /// The whole scalar.
    pub fn whole(&self) -> &Span {
        &self.span
    }
    /// Where these bytes of the value stand in the file. Exact for plain, quoted and `|` scalars, but for escapes and folded lines a best
    /// effort; what came out of a variable stands where the variable is named.
    pub fn inside(&self, range: Range<usize>) -> Span {
        let place = |offset: usize| {
            let next = self.segments.partition_point(|s| s.at <= offset);
            let Some(segment) = next.checked_sub(1).map(|i| self.segments[i]) else { return self.span.start };
            if segment.fixed { segment.source } else { segment.source + (offset - segment.at) }
        };
        let start = place(range.start).clamp(self.span.start, self.span.end);
        let last = if range.end > range.start { place(range.end - 1) + 1 } else { start };
        Span::new(&self.span.file, start..last.clamp(start, self.span.end))
    }
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}
