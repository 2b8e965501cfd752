//! Standard output and error: colours, numbers and aligned columns for people.
//!
//! Guarantees: everything is redacted; a reader that goes away (`sluis … | head`) ends the process quietly, without a panic.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use sluis_core::ByteSize;
use sluis_core::secret::redact;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether standard error is coloured.
    pub fn on_stderr(self) -> bool {
        self.on(std::io::stderr().is_terminal())
    }
    fn on(self, terminal: bool) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }
}

/// Writes text to standard output.
pub fn out(text: &str) {
    ended(std::io::stdout().lock().write_all(redact(text).as_bytes()));
}

/// Writes a line to standard output.
pub fn line(text: &str) {
    out(&format!("{text}\n"));
}

/// Writes a line of JSON to standard output.
pub fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// Writes bytes that hold no secrets of ours (rows of tables) to standard output.
pub fn rows(bytes: &[u8]) {
    ended(std::io::stdout().lock().write_all(bytes));
}

/// Writes text to standard error. If that is gone nobody is there to be told.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(redact(text).as_bytes());
}

fn ended(result: std::io::Result<()>) {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            err(&format!("error: cannot write to standard output\ncaused by: {e}\n"));
            std::process::exit(1);
        }
        Ok(()) => {}
    }
}

/// `1,234,567`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 file`, `1,234 files`
pub fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `85.0 KiB`
pub fn bytes(n: u64) -> String {
    ByteSize(n).to_string()
}

/// `0.12 s`, `3 min 05 s`
pub fn seconds(d: Duration) -> String {
    match d.as_secs() {
        0..10 => format!("{:.2} s", d.as_secs_f64()),
        10..60 => format!("{:.1} s", d.as_secs_f64()),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// `2026-01-31 12:00:00Z`
pub fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A text on one line, cut to `most` characters.
pub fn short(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= most { line } else { line.chars().take(most.saturating_sub(1)).chain(['…']).collect() }
}

/// Aligned columns under a header, two blanks between them; `right` names the columns of numbers.
pub fn grid(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let wide = |s: &str| s.chars().count();
    let widths: Vec<usize> = (0..header.len()).map(|i| rows.iter().map(|r| wide(&r[i])).chain([wide(header[i])]).max().unwrap_or(0)).collect();
    let mut out = String::new();
    let mut put = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (i, cell) in cells.enumerate() {
            if i > 0 {
                line.push_str("  ");
            }
            let gap = " ".repeat(widths[i] - wide(cell));
            if right.contains(&i) { line.push_str(&(gap + cell)) } else { line.push_str(&(cell.to_owned() + &gap)) }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    put(&mut header.iter().copied());
    for row in rows {
        put(&mut row.iter().map(String::as_str));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!((count(0), count(999), count(1000), count(1_234_567)), ("0".into(), "999".into(), "1,000".into(), "1,234,567".into()));
        assert_eq!((counted(1, "file"), counted(2000, "row")), ("1 file".into(), "2,000 rows".into()));
        assert_eq!(seconds(Duration::from_millis(123)), "0.12 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(short("a\tb…", 3), "a …");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "12".to_owned()]];
        assert_eq!(grid(&["x", "n"], &rows, &[1]), "x     n\na     1\nbcd  12\n");
    }
}
