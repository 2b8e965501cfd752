//! The records below a path inside a document, without the rest: a document of any size, piece by piece.
//!
//! Of what is outside the records only line ends are passed on, so that lines are counted right. Deliberately not here: what a record means.
//! Guarantees: bounded memory (a key of 64 KiB, a level per step of the path); the outcome does not depend on how the bytes arrive.

use sluis_core::{Error, ErrorKind, Result};

use super::parse::{Text, unescape};

/// Bytes of a key, at most, for it to be compared.
const KEY: usize = 64 * 1024;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of this key.
    Key(Vec<u8>),
    /// Every element of a list.
    Each,
}

/// A path: `data.items`, `pages.*.items`, or as a JSON pointer: `/data/items`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
    text: String,
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let step = |part: String| if part == "*" { Step::Each } else { Step::Key(part.into_bytes()) };
        let steps: Vec<Step> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|p| step(p.replace("~1", "/").replace("~0", "~"))).collect(),
            None => text.split('.').map(|p| step(p.to_owned())).collect(),
        };
        if steps.contains(&Step::Key(Vec::new())) {
            return Err(format!("`{text}`: write keys with points between them, as in `data.items`, or a JSON pointer, as in `/data/items`"));
        }
        Ok(Self { steps, text: text.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What surrounds the value that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// An object on the path; so many steps lead to it.
    Object(usize),
    /// A list, every element of which is on the path.
    List(usize),
    /// The list of records.
    Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value comes: whether on the path, after so many steps; whether the surrounding may end instead.
    Value {
        on_path: Option<usize>,
        may_end: bool,
    },
    /// A key comes, or the object's end.
    KeyOrEnd,
    /// A key comes.
    Key,
    /// Within a key.
    InKey {
        escaped: bool,
    },
    Colon,
    /// A value has ended.
    After,
    /// Within a value that is passed on, or dropped.
    Inside {
        copied: bool,
        depth: usize,
        word: bool,
        in_text: bool,
        escaped: bool,
    },
}

/// Lets through the records below a path.
pub struct PathFilter {
    path: Path,
    around: Vec<Around>,
    state: State,
    key: Vec<u8>,
    line: u64,
    /// The path has led somewhere.
    found: bool,
    /// There was anything at all.
    any: bool,
}

impl PathFilter {
    pub fn new(path: Path) -> Self {
        let state = State::Value { on_path: Some(0), may_end: true };
        Self { path, around: Vec::new(), state, key: Vec::new(), line: 1, found: false, any: false }
    }

    /// The path, as it was written.
    pub fn path(&self) -> &str {
        self.path.text()
    }

    /// Whether there were documents, and none had the path.
    pub fn missed(&self) -> bool {
        self.any && !self.found
    }

    /// Takes more of the file; appends what is passed on.
    ///
    /// # Errors
    /// `CorruptInput`: what surrounds the records is no JSON.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut at = 0;
        while at < piece.len() {
            at = match self.state {
                State::Inside { .. } => self.inside(piece, at, out),
                State::InKey { .. } => self.in_key(piece, at, out),
                _ => self.between(piece[at], at, out)?,
            };
        }
        Ok(())
    }

    /// The file has ended.
    ///
    /// # Errors
    /// `CorruptInput`: it ends within a document.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if let State::Inside { copied, depth: 0, word: true, .. } = self.state {
            self.ended(copied, out);
        }
        let whole = self.around.is_empty() && matches!(self.state, State::After | State::Value { .. });
        if whole { Ok(()) } else { Err(self.damaged("the file ends within a document: it is cut off")) }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(ErrorKind::CorruptInput, format!("{what} (line {})", self.line))
            .hint("send the file again, or set `on_corrupt: reject` to go on without it")
    }

    /// One byte of structure on the way to the records. Answers where to go on.
    fn between(&mut self, b: u8, at: usize, out: &mut Vec<u8>) -> Result<usize> {
        match (b, self.state, self.around.last().copied()) {
            (b'\n', ..) => {
                self.line += 1;
                out.push(b'\n');
            }
            (b' ' | b'\t' | b'\r', ..) => {}
            (b'"', State::KeyOrEnd | State::Key, _) => {
                self.key.clear();
                self.state = State::InKey { escaped: false };
            }
            (b'}', State::KeyOrEnd, _) => self.close(),
            (b':', State::Colon, Some(Around::Object(steps))) => {
                let on_path = self.key_matches(steps).then_some(steps + 1);
                self.state = State::Value { on_path, may_end: false };
            }
            (b',', State::After, Some(Around::Object(_))) => self.state = State::Key,
            (b'}', State::After, Some(Around::Object(_))) => self.close(),
            (b',', State::After, Some(Around::List(steps))) => self.state = State::Value { on_path: Some(steps), may_end: false },
            (b',', State::After, Some(Around::Records)) => self.state = State::Value { on_path: None, may_end: false },
            (b']', State::After | State::Value { may_end: true, .. }, Some(Around::List(_) | Around::Records)) => self.close(),
            // Another document after one.
            (_, State::After, None) => {
                self.state = State::Value { on_path: Some(0), may_end: true };
                return Ok(at);
            }
            (b'}' | b']' | b',' | b':', ..) => return Err(self.damaged(&format!("`{}` is not expected here", char::from(b)))),
            (_, State::Value { on_path, .. }, around) => return Ok(self.value(b, at, on_path, around)),
            _ => return Err(self.damaged("the document is no JSON")),
        }
        Ok(at + 1)
    }

    /// A value begins with `b`.
    fn value(&mut self, b: u8, at: usize, on_path: Option<usize>, around: Option<Around>) -> usize {
        self.any = true;
        let step = on_path.map(|n| (n, self.path.steps.get(n)));
        let copied = match (step, b) {
            _ if around == Some(Around::Records) => true,
            (Some((_, None)), b'[') => {
                self.found = true;
                self.around.push(Around::Records);
                self.state = State::Value { on_path: None, may_end: true };
                return at + 1;
            }
            (Some((_, None)), _) => {
                self.found = true;
                // Null is no record.
                b != b'n'
            }
            (Some((n, Some(Step::Key(_)))), b'{') => {
                self.around.push(Around::Object(n));
                self.state = State::KeyOrEnd;
                return at + 1;
            }
            (Some((n, Some(Step::Each))), b'[') => {
                self.found = true;
                self.around.push(Around::List(n + 1));
                self.state = State::Value { on_path: Some(n + 1), may_end: true };
                return at + 1;
            }
            // One list of documents is as good as documents one after another.
            (Some((0, Some(Step::Key(_)))), b'[') if around.is_none() => {
                self.around.push(Around::List(0));
                self.state = State::Value { on_path: Some(0), may_end: true };
                return at + 1;
            }
            _ => false,
        };
        self.state = State::Inside { copied, depth: 0, word: !matches!(b, b'{' | b'[' | b'"'), in_text: false, escaped: false };
        at
    }

    fn key_matches(&mut self, steps: usize) -> bool {
        let Some(Step::Key(wanted)) = self.path.steps.get(steps) else { return false };
        if !self.key.contains(&b'\\') {
            return self.key == *wanted;
        }
        let mut plain = Vec::new();
        unescape(Text { raw: &self.key, escaped: true }, &mut plain).is_some() && plain == *wanted
    }

    fn close(&mut self) {
        self.around.pop();
        self.state = State::After;
    }

    fn ended(&mut self, copied: bool, out: &mut Vec<u8>) {
        if copied {
            out.push(b' ');
        }
        self.state = State::After;
    }

    fn in_key(&mut self, piece: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
        let State::InKey { mut escaped } = self.state else { return at };
        while at < piece.len() {
            let b = piece[at];
            at += 1;
            if b == b'\n' {
                self.line += 1;
                out.push(b'\n');
            }
            if b == b'"' && !escaped {
                self.state = State::Colon;
                return at;
            }
            escaped = b == b'\\' && !escaped;
            // A key this long matches nothing: one byte more than is compared makes it differ.
            if self.key.len() <= KEY {
                self.key.push(b);
            }
        }
        self.state = State::InKey { escaped };
        at
    }

    /// Through a value, to its end or the piece's.
    fn inside(&mut self, piece: &[u8], start: usize, out: &mut Vec<u8>) -> usize {
        let State::Inside { copied, mut depth, word, mut in_text, mut escaped } = self.state else { return start };
        let (mut at, mut ended) = (start, false);
        while at < piece.len() && !ended {
            let b = piece[at];
            if word && matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') {
                ended = true;
                break;
            }
            at += 1;
            if in_text {
                if escaped {
                    escaped = false;
                } else if b == b'\\' {
                    escaped = true;
                } else if b == b'"' {
                    in_text = false;
                    ended = depth == 0;
                } else {
                    at += memchr::memchr2(b'"', b'\\', &piece[at..]).unwrap_or(piece.len() - at);
                }
            } else {
                match b {
                    b'"' => in_text = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth = depth.saturating_sub(1);
                        ended = depth == 0;
                    }
                    _ => {}
                }
            }
        }
        let part = &piece[start..at];
        let lines = memchr::memchr_iter(b'\n', part).count();
        self.line += lines as u64;
        if copied {
            out.extend_from_slice(part)
        } else {
            out.resize(out.len() + lines, b'\n')
        }
        if ended {
            self.ended(copied, out);
        } else {
            self.state = State::Inside { copied, depth, word, in_text, escaped };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn let_through(path: &str, text: &str, piece: usize) -> Result<(String, bool)> {
        let mut filter = PathFilter::new(Path::new(path).unwrap());
        let mut out = Vec::new();
        text.as_bytes().chunks(piece).try_for_each(|p| filter.push(p, &mut out))?;
        filter.end(&mut out)?;
        let lines = String::from_utf8(out).unwrap();
        assert_eq!(lines.matches('\n').count(), text.matches('\n').count(), "every line is counted");
        Ok((lines.split_whitespace().collect::<Vec<_>>().join(" "), filter.missed()))
    }

    #[test]
    fn records_below_a_path_come_through() {
        let text =
            "{\"meta\": {\"items\": [9]},\n \"da\\u0074a\": {\"x\":\"]}\\\"\", \"items\": [{\"a\":1},\n{\"b\":[2,{}]},3]}, \"more\": [1,\n{}]}\n";
        for piece in [1, 2, 3, 1000] {
            assert_eq!(let_through("data.items", text, piece).unwrap(), ("{\"a\":1} {\"b\":[2,{}]} 3".into(), false));
            assert_eq!(let_through("/data/items", text, piece).unwrap().0, "{\"a\":1} {\"b\":[2,{}]} 3");
            assert_eq!(let_through("data.x", text, piece).unwrap().0, "\"]}\\\"\"");
            assert_eq!(let_through("meta", text, piece).unwrap().0, "{\"items\": [9]}");
            assert_eq!(let_through("data.nothing", text, piece).unwrap(), (String::new(), true));
            let pages = "[{\"p\":[{\"r\":{\"n\":1}},{\"r\":null},{\"r\":[{\"n\":2}]}]}]\n{\"p\":[]}";
            assert_eq!(let_through("p.*.r", pages, piece).unwrap().0, "{\"n\":1} {\"n\":2}");
            assert_eq!(let_through("*.p.*", pages, piece).unwrap().0, "{\"r\":{\"n\":1}} {\"r\":null} {\"r\":[{\"n\":2}]}");
            assert_eq!(let_through("a", "", piece).unwrap(), (String::new(), false));
            assert_eq!(let_through("a", "{\"a\":[]}", piece).unwrap(), (String::new(), false));
        }
    }

    #[test]
    fn what_is_no_document_is_damage() {
        for text in ["{\"a\":[1", "{\"a\":[1]", "{\"a\" 1}", "{a:1}", "]", "{\"a\":1,}", "{\"a\":[1,,2]}", "{\"b"] {
            for piece in [1, 100] {
                assert!(let_through("a", text, piece).is_err_and(|e| e.kind() == ErrorKind::CorruptInput), "{text}");
            }
        }
        for bad in ["", "a..b", "/", "."] {
            assert!(Path::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_passed_over_is_not_held() {
        let mut filter = PathFilter::new(Path::new("a").unwrap());
        let mut out = Vec::new();
        filter.push(b"{\"b\":[", &mut out).unwrap();
        for _ in 0..1000 {
            filter.push(&[b'['; 1000], &mut out).unwrap();
        }
        assert!(out.is_empty() && filter.around.len() == 1);
    }
}
