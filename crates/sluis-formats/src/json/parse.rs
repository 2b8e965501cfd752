//! A JSON document, token by token, straight from its bytes.
//!
//! Deliberately not here: columns. Guarantees: no recursion beyond [`DEPTH`]; whatever is skipped has been checked; bytes are UTF-8 (the
//! caller has seen to it).

/// How deep documents may be nested.
pub const DEPTH: usize = 256;

/// Why a document is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// Not JSON: what is wrong, and at which byte of the document.
    Syntax(String, usize),
    /// A value that its column cannot hold: the column's path, innermost first, and a sentence.
    Value(Vec<String>, String),
    /// A field that the pinned type of its column does not have: its path, innermost first.
    Unexpected(Vec<String>),
}

/// A text as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    /// It holds escapes.
    pub escaped: bool,
}

/// Reads a document.
pub struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where it stands, for [`Parser::back`] and [`Parser::since`].
    pub fn mark(&self) -> usize {
        self.at
    }

    /// Goes back to a mark.
    pub fn back(&mut self, mark: usize) {
        self.at = mark.min(self.at);
    }

    /// The bytes taken since a mark.
    pub fn since(&self, mark: usize) -> &'a [u8] {
        self.bytes.get(mark..self.at).unwrap_or_default()
    }

    /// A mistake here.
    #[cold]
    pub fn wrong(&self, what: &str) -> Bad {
        Bad::Syntax(what.to_owned(), self.at)
    }

    /// The next byte that is no white space; not taken.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes `b`, or says that `what` is expected.
    #[inline(always)]
    pub fn expect(&mut self, b: u8, what: &str) -> Result<(), Bad> {
        if self.peek() == Some(b) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(what))
        }
    }

    #[cold]
    fn expected(&self, what: &str) -> Bad {
        match self.bytes.get(self.at) {
            None => self.wrong(&format!("the document ends where {what} is expected")),
            Some(_) => self.wrong(&format!("{what} is expected")),
        }
    }

    /// After an element of an object or list: whether another follows. `close` ends it.
    #[inline(always)]
    pub fn more(&mut self, close: u8) -> Result<bool, Bad> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.expected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    /// Takes `close` if it is next.
    #[inline(always)]
    pub fn closes(&mut self, close: u8) -> bool {
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    /// Whether the document opens as an object with a name does.
    pub fn opens_with_name(text: &[u8]) -> bool {
        let mut parser = Parser::new(text);
        parser.expect(b'{', "`{`").is_ok() && (parser.closes(b'}') || parser.key().is_ok())
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Bad> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("text follows the document")) }
    }

    /// A text, which begins with a quote.
    #[inline]
    pub fn text(&mut self) -> Result<Text<'a>, Bad> {
        self.expect(b'"', "a text in quotes")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) {
                None => {
                    self.at = self.bytes.len();
                    return Err(self.wrong("a text is not closed"));
                }
                Some(n) => {
                    self.at += n + 1;
                    if self.bytes[self.at - 1] == b'"' {
                        return Ok(Text { raw: &self.bytes[start..self.at - 1], escaped });
                    }
                    escaped = true;
                    self.at = (self.at + 1).min(self.bytes.len());
                }
            }
        }
    }

    /// A name and its colon.
    #[inline]
    pub fn key(&mut self) -> Result<Text<'a>, Bad> {
        let key = self.text()?;
        self.expect(b':', "`:`")?;
        Ok(key)
    }

    /// A number, `true`, `false`, `null`, `NaN`, `Infinity`: its letters.
    #[inline]
    pub fn word(&mut self) -> Result<&'a [u8], Bad> {
        self.peek();
        let start = self.at;
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') = self.bytes.get(self.at) {
            self.at += 1;
        }
        let word = &self.bytes[start..self.at];
        let known = match word {
            b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity" => true,
            other => is_number(other),
        };
        if known {
            Ok(word)
        } else {
            self.at = start;
            Err(self.expected("a value"))
        }
    }

    /// Checks the next value and gives its bytes.
    pub fn skip(&mut self) -> Result<&'a [u8], Bad> {
        self.peek();
        let start = self.at;
        self.skip_nested(0)?;
        Ok(&self.bytes[start..self.at])
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), Bad> {
        if depth > DEPTH {
            return Err(self.wrong("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                if self.closes(b'}') {
                    return Ok(());
                }
                loop {
                    unescape_check(self.key()?, self)?;
                    self.skip_nested(depth + 1)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.closes(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'"') => {
                let text = self.text()?;
                unescape_check(text, self)
            }
            _ => self.word().map(|_| ()),
        }
    }
}

fn unescape_check(text: Text<'_>, parser: &Parser<'_>) -> Result<(), Bad> {
    if text.escaped && unescape(text, &mut Vec::new()).is_none() { Err(parser.wrong("an escape in a text is wrong")) } else { Ok(()) }
}

/// A number of JSON's grammar.
pub fn is_number(raw: &[u8]) -> bool {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole == 0 || (whole > 1 && digits[0] == b'0') {
        return false;
    }
    let mut rest = &digits[whole..];
    if let [b'.', fraction @ ..] = rest {
        let n = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 {
            return false;
        }
        rest = &fraction[n..];
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', digits @ ..] | [b'e' | b'E', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Appends the text that stands between the quotes. `None`: an escape that does not exist, or half a surrogate pair.
pub fn unescape(text: Text<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text.raw;
    while let Some(n) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..n]);
        let (&letter, tail) = rest[n + 1..].split_first()?;
        rest = tail;
        let plain = match letter {
            b'"' | b'\\' | b'/' => letter,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut unit = hex4(rest)?;
                rest = &rest[4..];
                if (0xD800..0xDC00).contains(&unit) {
                    let low = hex4(rest.strip_prefix(b"\\u")?)?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return None;
                    }
                    rest = &rest[6..];
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                }
                out.extend_from_slice(char::from_u32(unit)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Some(())
}

fn hex4(raw: &[u8]) -> Option<u32> {
    raw.get(..4)?.iter().try_fold(0, |v, b| Some(v * 16 + char::from(*b).to_digit(16)?))
}
