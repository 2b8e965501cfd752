//! The one grammar of `${…}` in configuration texts: `${name}` (a variable), `${env:X}`, `${file:X}`, `${cmd:X}` (secrets), `$${` (a plain `${`).
//!
//! Deliberately not here: values of variables (`variables.rs`) and of secrets (`secret.rs`).

use std::ops::Range;

/// Where a secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretKind {
    Env,
    File,
    Cmd,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Plain(&'a str),
    /// `$${`
    Escape,
    Variable(&'a str),
    /// What is behind the colon may hold variables.
    Secret(SecretKind, &'a str),
    /// Neither: why not, and what to do.
    Wrong(Wrong<'a>),
}

/// What is wrong with a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong<'a> {
    Unclosed,
    Empty,
    /// `${evn:X}`: the word before the colon.
    Kind(&'a str),
    /// `${a-b}`
    Name(&'a str),
}

/// Whether it can be a variable's name: a letter or `_`, then letters, digits, `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The parts of a text, with their bytes, in order and without gaps.
pub(crate) fn pieces(text: &str) -> Vec<(Range<usize>, Piece<'_>)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = text[at..].find("${").map_or(text.len(), |n| at + n);
        let escaped = start > at && start < text.len() && text.as_bytes()[start - 1] == b'$';
        let plain_end = if escaped { start - 1 } else { start };
        if plain_end > at {
            out.push((at..plain_end, Piece::Plain(&text[at..plain_end])));
        }
        if start == text.len() {
            break;
        }
        if escaped {
            out.push((plain_end..start + 2, Piece::Escape));
            at = start + 2;
            continue;
        }
        match closing(&text[start + 2..]) {
            None => {
                out.push((start..text.len(), Piece::Wrong(Wrong::Unclosed)));
                break;
            }
            Some(length) => {
                let end = start + 2 + length + 1;
                out.push((start..end, reference(&text[start + 2..end - 1])));
                at = end;
            }
        }
    }
    out
}

/// Where the brace that closes stands; braces inside (`${cmd:awk '{print $1}' f}`) are counted.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(i),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn reference(body: &str) -> Piece<'_> {
    match body.split_once(':') {
        _ if body.trim().is_empty() => Piece::Wrong(Wrong::Empty),
        Some((_, rest)) if rest.trim().is_empty() => Piece::Wrong(Wrong::Empty),
        Some(("env", rest)) => Piece::Secret(SecretKind::Env, rest),
        Some(("file", rest)) => Piece::Secret(SecretKind::File, rest),
        Some(("cmd", rest)) => Piece::Secret(SecretKind::Cmd, rest),
        Some((kind, _)) => Piece::Wrong(Wrong::Kind(kind)),
        None if is_name(body) => Piece::Variable(body),
        None => Piece::Wrong(Wrong::Name(body)),
    }
}

/// Whether a text names a secret.
pub(crate) fn has_secret(text: &str) -> bool {
    text.contains("${") && pieces(text).iter().any(|(_, p)| matches!(p, Piece::Secret(..)))
}

/// Whether a text has a reference that is not a secret's: a variable that was not put in (it is reported where that was tried).
pub(crate) fn has_open(text: &str) -> bool {
    text.contains("${") && pieces(text).iter().any(|(_, p)| matches!(p, Piece::Variable(_) | Piece::Wrong(_)))
}

/// The text with each secret's reference replaced by `***`: for checks of what can be checked without the value.
pub(crate) fn masked(text: &str) -> String {
    pieces(text)
        .into_iter()
        .map(|(range, piece)| match piece {
            Piece::Secret(..) => "***",
            Piece::Escape => "${",
            _ => &text[range],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Piece<'_>> {
        let pieces = pieces(text);
        let mut at = 0;
        for (range, _) in &pieces {
            assert_eq!(range.start, at, "{text}: no gap");
            at = range.end;
        }
        assert_eq!(at, text.len());
        pieces.into_iter().map(|(_, p)| p).collect()
    }

    #[test]
    fn references_are_told_apart() {
        use Piece::{Escape, Plain, Secret, Variable};
        assert_eq!(kinds("a${b}c"), [Plain("a"), Variable("b"), Plain("c")]);
        assert_eq!(kinds("$${b} $x $"), [Escape, Plain("b} $x $")]);
        assert_eq!(kinds("${env:X}${file:/a b}"), [Secret(SecretKind::Env, "X"), Secret(SecretKind::File, "/a b")]);
        assert_eq!(kinds("${cmd:awk '{print $1}' f}!"), [Secret(SecretKind::Cmd, "awk '{print $1}' f"), Plain("!")]);
        assert_eq!(kinds("x${"), [Plain("x"), Piece::Wrong(Wrong::Unclosed)]);
        assert_eq!(kinds("${}${env:}"), [Piece::Wrong(Wrong::Empty), Piece::Wrong(Wrong::Empty)]);
        assert_eq!(kinds("${evn:X}"), [Piece::Wrong(Wrong::Kind("evn"))]);
        assert_eq!(kinds("${1}"), [Piece::Wrong(Wrong::Name("1"))]);
        assert_eq!(kinds(""), []);
        assert!(has_secret("s3://${env:B}/x") && !has_secret("$${env:B}") && has_open("${x}") && !has_open("${env:x}"));
        assert_eq!(masked("s3://${env:B}/$${x}"), "s3://***/${x}");
    }
}
