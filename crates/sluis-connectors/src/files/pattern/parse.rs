//! A pattern's text as pieces; mistakes with their place.
//!
//! | written | means |
//! |---|---|
//! | `*` | any characters of one name, none too |
//! | `?` | one character of a name |
//! | `**` | any folders, alone between slashes |
//! | `[a-z]`, `[!0-9]` | one character of a set, or not of it |
//! | `{a,b}` | one of the alternatives |
//! | `{name}`, `{name:type}`, `{day:%Y%m%d}` | a capture: becomes a column |
//! | `\x` | the character `x` itself |

use super::value::Kind;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Slash,
    /// `*`
    Any,
    /// `?`
    One,
    /// `**`
    Folders,
    /// A set, as a regular expression.
    Set(String),
    OneOf(Vec<Vec<Piece>>),
    Capture {
        name: String,
        kind: Kind,
    },
}

/// A mistake in a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Which character of the pattern it is at, from 1.
    pub at: usize,
    pub message: String,
}

/// Reads a pattern.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, PatternError> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, names: Vec::new() };
    if text.is_empty() {
        return Err(parser.wrong(0, "the pattern is empty"));
    }
    let pieces = parser.pieces(false)?;
    check_slashes(text)?;
    check_folders(&pieces, text)?;
    Ok(pieces)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    names: Vec<String>,
}

impl Parser {
    fn wrong(&self, at: usize, message: impl Into<String>) -> PatternError {
        PatternError { at: at + 1, message: message.into() }
    }

    /// Up to the end, or within alternatives up to `,` or `}`.
    fn pieces(&mut self, nested: bool) -> Result<Vec<Piece>, PatternError> {
        let mut out: Vec<Piece> = Vec::new();
        while let Some(&c) = self.chars.get(self.at) {
            let start = self.at;
            if nested && matches!(c, ',' | '}') {
                break;
            }
            self.at += 1;
            match c {
                '/' if nested => return Err(self.wrong(start, "alternatives are parts of one name: there can be no `/` in them")),
                '/' => out.push(Piece::Slash),
                '?' => out.push(Piece::One),
                '*' if self.chars.get(self.at) == Some(&'*') => {
                    self.at += 1;
                    if nested || self.chars.get(self.at) == Some(&'*') {
                        return Err(self.wrong(start, STANDS_ALONE));
                    }
                    out.push(Piece::Folders);
                }
                '*' => out.push(Piece::Any),
                '[' => out.push(self.set(start)?),
                '{' => out.push(self.braces(start, nested)?),
                '}' => return Err(self.wrong(start, "this `}` closes nothing; for the character itself write `\\}`")),
                '\\' => match self.chars.get(self.at) {
                    Some(&c) if c != '/' => {
                        self.at += 1;
                        literal(&mut out, c);
                    }
                    _ => return Err(self.wrong(start, "a `\\` needs the character behind it that it stands for")),
                },
                c => literal(&mut out, c),
            }
        }
        Ok(out)
    }

    fn set(&mut self, start: usize) -> Result<Piece, PatternError> {
        let negated = matches!(self.chars.get(self.at), Some('!' | '^'));
        if negated {
            self.at += 1;
        }
        let mut body = String::new();
        let first = self.at;
        loop {
            let Some(&c) = self.chars.get(self.at) else { return Err(self.wrong(start, "this `[` is never closed by a `]`")) };
            self.at += 1;
            match c {
                ']' if self.at - 1 > first => break,
                '/' => return Err(self.wrong(self.at - 1, "a set is for one character of a name: there can be no `/` in it")),
                _ => {
                    let low = self.set_char(c, start)?;
                    let ranged = self.chars.get(self.at) == Some(&'-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
                    if !ranged {
                        push_escaped(&mut body, low);
                        continue;
                    }
                    let high = self.chars[self.at + 1];
                    self.at += 2;
                    let high = self.set_char(high, start)?;
                    if low > high {
                        return Err(self.wrong(start, format!("the range `{low}-{high}` runs backwards")));
                    }
                    push_escaped(&mut body, low);
                    body.push('-');
                    push_escaped(&mut body, high);
                }
            }
        }
        // `&&/` cannot come up: every character is escaped. A set never takes the slash between names.
        Ok(Piece::Set(if negated { format!("[^/{body}]") } else { format!("[{body}]") }))
    }

    fn set_char(&mut self, c: char, start: usize) -> Result<char, PatternError> {
        if c != '\\' {
            return Ok(c);
        }
        let Some(&c) = self.chars.get(self.at) else { return Err(self.wrong(start, "this `[` is never closed by a `]`")) };
        self.at += 1;
        Ok(c)
    }

    /// A capture or alternatives: what is a name up to `:` or `}` is a capture.
    fn braces(&mut self, start: usize, nested: bool) -> Result<Piece, PatternError> {
        let name: String = self.chars[self.at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        let end = self.at + name.chars().count();
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        match self.chars.get(end) {
            Some('}' | ':') if is_name => {
                if nested {
                    return Err(self.wrong(start, "a capture cannot stand within alternatives: it would have no value for the others"));
                }
                self.at = end;
                self.capture(start, name)
            }
            _ => self.alternatives(start),
        }
    }

    fn capture(&mut self, start: usize, name: String) -> Result<Piece, PatternError> {
        let spec_at = self.at + 1;
        let spec: String = if self.chars[self.at] == ':' {
            let Some(length) = self.chars[spec_at..].iter().position(|c| *c == '}') else {
                return Err(self.wrong(start, "this `{` is never closed by a `}`"));
            };
            self.at = spec_at + length;
            self.chars[spec_at..self.at].iter().collect()
        } else {
            String::new()
        };
        self.at += 1;
        if self.names.contains(&name) {
            return Err(self.wrong(start, format!("there are two captures `{name}`; each becomes a column of its own, so give one another name")));
        }
        self.names.push(name.clone());
        let kind = Kind::parse(&spec).map_err(|message| self.wrong(spec_at, message))?;
        Ok(Piece::Capture { name, kind })
    }

    fn alternatives(&mut self, start: usize) -> Result<Piece, PatternError> {
        let mut options = Vec::new();
        loop {
            options.push(self.pieces(true)?);
            match self.chars.get(self.at) {
                Some(',') => self.at += 1,
                Some('}') => break,
                _ => return Err(self.wrong(start, "this `{` is never closed by a `}`")),
            }
        }
        self.at += 1;
        if options.len() < 2 {
            return Err(self.wrong(
                start,
                "write `{name}` for a capture (names start with a letter) or `{a,b}` for alternatives; for the character itself write `\\{`",
            ));
        }
        Ok(Piece::OneOf(options))
    }
}

const STANDS_ALONE: &str = "`**` means any folders and stands alone between slashes, as in `**/*.csv`; for any characters of a name write `*`";

fn literal(out: &mut Vec<Piece>, c: char) {
    match out.last_mut() {
        Some(Piece::Literal(text)) => text.push(c),
        _ => out.push(Piece::Literal(c.to_string())),
    }
}

fn push_escaped(body: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        body.push('\\');
    }
    body.push(c);
}

fn check_slashes(text: &str) -> Result<(), PatternError> {
    let mut at = 1;
    for (i, part) in text.split('/').enumerate() {
        let message = match part {
            "" if i == 0 => Some("a pattern starts below the folder of `url`: leave out the leading `/`"),
            "" if at > text.chars().count() => Some("a pattern names files: this one ends with a `/`"),
            "" => Some("there is nothing between these slashes"),
            "." | ".." => Some("a pattern cannot lead out of the folder: `.` and `..` are no names of files"),
            _ => None,
        };
        if let Some(message) = message {
            return Err(PatternError { at, message: message.into() });
        }
        at += part.chars().count() + 1;
    }
    Ok(())
}

fn check_folders(pieces: &[Piece], text: &str) -> Result<(), PatternError> {
    for (i, piece) in pieces.iter().enumerate() {
        let alone = (i == 0 || pieces[i - 1] == Piece::Slash) && pieces.get(i + 1).is_none_or(|p| *p == Piece::Slash);
        if *piece == Piece::Folders && !alone {
            let at = text.find("**").map_or(0, |byte| text[..byte].chars().count());
            return Err(PatternError { at: at + 1, message: STANDS_ALONE.into() });
        }
    }
    Ok(())
}
