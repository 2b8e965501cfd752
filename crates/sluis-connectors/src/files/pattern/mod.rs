//! The pattern language of `match:` and of globs in a URL: which files, and which parts of their names become columns.
//!
//! Compiled to one regular expression. A pattern with a `/` is about the path below the folder of the URL; one without is about the
//! file's name. Deliberately not here: listing, hidden names.

mod parse;
mod time;
mod value;

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field};
use chrono::{DateTime, Utc};
use regex::{Captures, Regex};

pub use parse::PatternError;
use parse::{Piece, parse};
use value::{Kind, TEXT};

/// A compiled pattern over paths.
#[derive(Debug, Clone)]
pub struct Pattern {
    strict: Regex,
    /// As `strict`, but with any text where typed captures are: says of a file that does not match whether a value is to blame.
    loose: Option<Regex>,
    captures: Vec<(String, Kind)>,
    walk: Walk,
    /// What the last part starts with, as far as it is fixed.
    name_prefix: String,
}

/// Where the files of a pattern can be.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Folder that everything is in; empty = the root. No trailing `/`.
    pub folder: String,
    /// What the folders below it are called, level by level; the files are in the last one. `None`: at any depth.
    pub levels: Option<Vec<Regex>>,
}

/// What a pattern says of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Matched {
    No,
    /// It would match, but the text where this capture is does not parse.
    Wrong {
        capture: String,
        text: String,
        wanted: String,
    },
    /// The captures' values as canonical text.
    Yes(BTreeMap<String, String>),
}

impl Pattern {
    /// Compiles a pattern for paths below a folder.
    ///
    /// # Errors
    /// Where and what the mistake is.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let pieces = parse(text)?;
        let (mut strict, mut loose) = (String::new(), String::new());
        let mut captures = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Folders if i + 1 == pieces.len() => both(&mut strict, &mut loose, ".+"),
                // Takes the slash behind it along.
                Piece::Folders => both(&mut strict, &mut loose, "(?:[^/]+/)*"),
                Piece::Slash if i > 0 && pieces[i - 1] == Piece::Folders => {}
                Piece::Capture { name, kind } => {
                    captures.push((name.clone(), kind.clone()));
                    strict.push_str(&format!("({})", kind.regex()));
                    loose.push_str(&format!("({TEXT})"));
                }
                piece => both(&mut strict, &mut loose, &regex_of(piece)),
            }
        }
        let compile = |body: &str| {
            Regex::new(&format!(r"(?s)\A{body}\z"))
                .map_err(|e| PatternError { at: 1, message: format!("the pattern is too large or cannot be compiled: {e}") })
        };
        let typed = captures.iter().any(|(_, kind)| !kind.is_text());
        Ok(Pattern {
            strict: compile(&strict)?,
            loose: if typed { Some(compile(&loose)?) } else { None },
            walk: walk(&pieces)?,
            name_prefix: name_prefix(&pieces),
            captures,
        })
    }

    /// The pattern that `match:` means: without a `/` it is about names at any depth (`recursive`) or directly in the folder.
    ///
    /// # Errors
    /// As [`Pattern::new`]; places are those of `text`.
    pub fn of_match(text: &str, recursive: bool) -> Result<Pattern, PatternError> {
        let plain = Pattern::new(text)?;
        if text.contains('/') || !recursive || plain.captures.iter().any(|(_, kind)| matches!(kind, Kind::Time(t) if t.folders)) {
            return Ok(plain);
        }
        Pattern::new(&format!("**/{text}"))
    }

    /// Whether a path (below the folder, with `/`) matches, and with which values.
    pub fn matches(&self, path: &str) -> Matched {
        match self.strict.captures(path) {
            Some(groups) => self.values(&groups),
            None => match self.loose.as_ref().and_then(|loose| loose.captures(path)) {
                // All values parse and yet it does not match: text in another place is to blame.
                Some(groups) => match self.values(&groups) {
                    Matched::Yes(_) => Matched::No,
                    wrong => wrong,
                },
                None => Matched::No,
            },
        }
    }

    fn values(&self, groups: &Captures<'_>) -> Matched {
        let mut values = BTreeMap::new();
        for (i, (name, kind)) in self.captures.iter().enumerate() {
            let text = groups.get(i + 1).map_or("", |g| g.as_str());
            match kind.value(text) {
                Some(value) => values.insert(name.clone(), value),
                None => return Matched::Wrong { capture: name.clone(), text: text.to_owned(), wanted: kind.name() },
            };
        }
        Matched::Yes(values)
    }

    /// The columns it makes.
    pub fn columns(&self) -> Vec<Field> {
        self.captures.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
    }

    /// The name of its first capture that is a date or a time.
    pub fn date_capture(&self) -> Option<&str> {
        self.captures.iter().find(|(_, kind)| matches!(kind.data_type(), DataType::Date32 | DataType::Timestamp(..))).map(|(name, _)| name.as_str())
    }

    pub fn walk(&self) -> &Walk {
        &self.walk
    }

    /// The fixed beginning of the names of files: a pattern that starts with `_` or `.` asks for such names.
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }
}

/// The moment that a captured date or time stands for.
pub fn moment(value: &str) -> Option<DateTime<Utc>> {
    time::moment(value)
}

fn both(strict: &mut String, loose: &mut String, body: &str) {
    strict.push_str(body);
    loose.push_str(body);
}

fn regex_of(piece: &Piece) -> String {
    match piece {
        Piece::Literal(text) => regex::escape(text),
        Piece::Slash => "/".into(),
        Piece::Any => "[^/]*".into(),
        Piece::One => "[^/]".into(),
        Piece::Set(set) => set.clone(),
        Piece::OneOf(options) => {
            let options: Vec<String> = options.iter().map(|pieces| pieces.iter().map(regex_of).collect()).collect();
            format!("(?:{})", options.join("|"))
        }
        Piece::Folders => "(?:[^/]+/)*".into(),
        Piece::Capture { kind, .. } => format!("(?:{})", kind.regex()),
    }
}

fn walk(pieces: &[Piece]) -> Result<Walk, PatternError> {
    let parts: Vec<&[Piece]> = pieces.split(|p| *p == Piece::Slash).collect();
    let folders = &parts[..parts.len() - 1];
    let fixed: Vec<String> = folders.iter().map_while(|part| plain(part)).collect();
    let over_folders = |p: &Piece| matches!(p, Piece::Folders) || matches!(p, Piece::Capture { kind: Kind::Time(t), .. } if t.folders);
    let levels = if pieces.iter().any(over_folders) {
        None
    } else {
        let level = |part: &&[Piece]| {
            let body: String = part.iter().map(regex_of).collect();
            Regex::new(&format!(r"(?s)\A{body}\z")).map_err(|e| PatternError { at: 1, message: e.to_string() })
        };
        Some(folders[fixed.len()..].iter().map(level).collect::<Result<_, _>>()?)
    };
    Ok(Walk { folder: fixed.join("/"), levels })
}

/// The text of a part that has nothing but text.
fn plain(part: &[Piece]) -> Option<String> {
    match part {
        [Piece::Literal(text)] => Some(text.clone()),
        _ => None,
    }
}

fn name_prefix(pieces: &[Piece]) -> String {
    let last = pieces.rsplit(|p| *p == Piece::Slash).next().unwrap_or_default();
    match last.first() {
        Some(Piece::Literal(text)) => text.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
