//! A line of a row for people, with a caret under what matters: what cannot be printed is escaped, long lines are cut around the caret,
//! wide characters keep it in its place.
//!
//! Deliberately not here: what matters. Guarantee: one line each, of printable characters, whatever the bytes.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// Columns of a line that is shown, at most.
pub const WIDTH: usize = 100;

/// A line, and the marks below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// How many lines of the row stand above it.
    pub line: u64,
    pub text: String,
    /// Blanks and carets; empty if nothing is marked.
    pub mark: String,
}

/// A character, or a byte that is none: how it is shown, in how many columns, and which bytes it is.
struct Cell {
    shown: String,
    columns: usize,
    bytes: Range<usize>,
}

/// The line of `raw` that `at` begins in (without it the first), cut to `width` columns around it.
pub fn excerpt(raw: &[u8], at: Option<Range<usize>>, width: usize) -> Excerpt {
    let from = at.as_ref().map_or(0, |r| r.start.min(raw.len()));
    let start = raw[..from].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let end = raw[from..].iter().position(|b| *b == b'\n').map_or(raw.len(), |n| from + n);
    let line = raw[..start].iter().filter(|b| **b == b'\n').count() as u64;
    let end = if end > start && raw[end - 1] == b'\r' && from < end { end - 1 } else { end };
    let cells = cells(raw, start..end);
    let columns = |cells: &[Cell]| cells.iter().map(|c| c.columns).sum::<usize>();
    let (marked, carets) = match &at {
        None => (0, 0),
        Some(at) => {
            let before = cells.iter().take_while(|c| c.bytes.end <= from).count();
            let within = cells[before..].iter().take_while(|c| c.bytes.start < at.end).count();
            (columns(&cells[..before]), columns(&cells[before..before + within]).max(1))
        }
    };
    let total = columns(&cells).max(marked + carets);
    if total <= width {
        let mark = if carets > 0 { " ".repeat(marked) + &"^".repeat(carets) } else { String::new() };
        return Excerpt { line, text: cells.into_iter().map(|c| c.shown).collect(), mark };
    }
    let room = width.saturating_sub(2).max(1);
    // What stands before the mark says where it is; a long mark needs its beginning only.
    let skip = if marked + carets <= room { 0 } else { marked.saturating_sub(room / 3) };
    window(&cells, skip, room, marked, carets, line)
}

/// The columns from `skip` on, `room` of them, with dots where something is left out.
fn window(cells: &[Cell], skip: usize, room: usize, marked: usize, carets: usize, line: u64) -> Excerpt {
    let mut text = String::new();
    let (mut column, mut first, mut shown) = (0, None, 0);
    let mut more = false;
    for cell in cells {
        if column >= skip {
            if shown + cell.columns > room {
                more = true;
                break;
            }
            first.get_or_insert(column);
            text.push_str(&cell.shown);
            shown += cell.columns;
        }
        column += cell.columns;
    }
    let first = first.unwrap_or(column);
    let dots = usize::from(first > 0);
    let mark = match carets {
        0 => String::new(),
        _ => " ".repeat(dots + marked.saturating_sub(first)) + &"^".repeat(carets.min((first + shown).saturating_sub(marked)).max(1)),
    };
    Excerpt { line, text: format!("{}{text}{}", if dots > 0 { "…" } else { "" }, if more { "…" } else { "" }), mark }
}

fn cells(raw: &[u8], range: Range<usize>) -> Vec<Cell> {
    let mut out = Vec::new();
    let mut at = range.start;
    for chunk in raw[range].utf8_chunks() {
        for c in chunk.valid().chars() {
            let shown = if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
            let columns = if is_hidden(c) { shown.len() } else { c.width().unwrap_or(0) };
            out.push(Cell { shown, columns, bytes: at..at + c.len_utf8() });
            at += c.len_utf8();
        }
        for b in chunk.invalid() {
            let shown = format!("\\x{b:02x}");
            out.push(Cell { columns: shown.len(), shown, bytes: at..at + 1 });
            at += 1;
        }
    }
    out
}

/// Controls, and characters that have no width or turn the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(raw: &[u8], at: Range<usize>, width: usize) -> (u64, String, String) {
        let e = excerpt(raw, Some(at), width);
        (e.line, e.text, e.mark)
    }

    #[test]
    fn the_caret_stands_below_what_matters() {
        assert_eq!(shown(b"2,x,Bob", 2..3, 100), (0, "2,x,Bob".into(), "  ^".into()));
        assert_eq!(shown(b"1,2", 3..3, 100), (0, "1,2".into(), "   ^".into()), "behind the end");
        assert_eq!(shown(b"", 0..0, 100), (0, String::new(), "^".into()));
        assert_eq!(excerpt(b"a\nb", None, 100), Excerpt { line: 0, text: "a".into(), mark: String::new() });
    }

    #[test]
    fn wide_characters_and_escapes_keep_it_there() {
        let raw = "世界,é\u{301},x".as_bytes();
        let at = raw.len() - 1;
        assert_eq!(shown(raw, at..at + 1, 100), (0, "世界,é\u{301},x".into(), "       ^".into()));
        assert_eq!(shown(b"\0\t\xff,x", 4..5, 100), (0, "\\u{0}\\t\\xff,x".into(), " ".repeat(12) + "^"));
        assert_eq!(shown("a\u{202e}b".as_bytes(), 1..4, 100), (0, "a\\u{202e}b".into(), " ^^^^^^^^".into()));
    }

    #[test]
    fn of_several_lines_the_one_that_matters_is_shown() {
        assert_eq!(shown(b"1,\"a\r\nb\",x\r\nz", 9..10, 100), (1, "b\",x".into(), "   ^".into()));
        assert_eq!(shown(b"1,\"a\nb\",x", 2..7, 100), (0, "1,\"a".into(), "  ^^".into()), "as far as its first line goes");
    }

    #[test]
    fn long_lines_are_cut_around_it() {
        let raw = format!("{},bad,{}", "x".repeat(50), "y".repeat(50));
        let (_, text, mark) = shown(raw.as_bytes(), 51..54, 20);
        assert_eq!((text.as_str(), mark.as_str()), ("…xxxxx,bad,yyyyyyyy…", "       ^^^"));
        let (_, text, mark) = shown(raw.as_bytes(), 0..104, 20);
        assert_eq!((text.chars().count(), mark.as_str()), (19, "^^^^^^^^^^^^^^^^^^"));
        assert_eq!(excerpt(raw.as_bytes(), None, 20).text, "xxxxxxxxxxxxxxxxxx…");
        let (_, text, mark) = shown(raw.as_bytes(), 105..105, 20);
        assert_eq!((text.as_str(), mark.len()), ("…yyyyyy", 8));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let raw = "\"\u{0}\n世\r\n\u{202e}é".as_bytes();
        for start in 0..=raw.len() {
            for end in start..=raw.len() {
                for width in [0, 1, 3, 100] {
                    let e = excerpt(raw, Some(start..end), width);
                    assert!(!e.text.contains('\n') && e.mark.contains('^'));
                }
            }
        }
    }
}
