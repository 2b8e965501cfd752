//! What a backfill takes of the files that are there.
//!
//! Deliberately not here: whether a file is known already; a selection narrows, the history still says what has landed.

use chrono::{DateTime, Utc};
use sluis_core::{Error, FileVersion, Result, Selection};

use super::pattern::{Matched, Pattern};

/// A selection whose pattern is compiled.
#[derive(Debug, Clone)]
pub struct Selected {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    glob: Option<Glob>,
}

#[derive(Debug, Clone)]
enum Glob {
    /// About the path below the URL.
    Below(Pattern),
    /// About the full address: what it starts with, and the rest.
    Address(String, Pattern),
}

impl Selected {
    /// # Errors
    /// `ErrorKind::Config`: the pattern cannot be read, or the range is empty.
    pub fn new(selection: &Selection) -> Result<Selected> {
        if let (Some(from), Some(to)) = (selection.from, selection.to)
            && from >= to
        {
            return Err(Error::config(format!("the range from {from} to {to} holds nothing")).hint("`--from` must be before `--to`"));
        }
        let glob = selection.glob.as_deref().map(glob).transpose()?;
        Ok(Selected { from: selection.from, to: selection.to, glob })
    }

    /// Whether a file is in it. `date`: the moment its name says, which goes before its modification time. A file of which neither is
    /// known is in no range.
    pub fn holds(&self, path: &str, version: &FileVersion, date: Option<DateTime<Utc>>) -> bool {
        let yes = |matched: Matched| matches!(matched, Matched::Yes(_));
        let named = match &self.glob {
            None => true,
            Some(Glob::Below(pattern)) => yes(pattern.matches(path)),
            Some(Glob::Address(start, pattern)) => version.path.strip_prefix(start.as_str()).is_some_and(|rest| yes(pattern.matches(rest))),
        };
        let at = date.or(version.modified);
        named && self.from.is_none_or(|from| at.is_some_and(|at| at >= from)) && self.to.is_none_or(|to| at.is_some_and(|at| at < to))
    }
}

fn glob(text: &str) -> Result<Glob> {
    let start = if text.starts_with('/') { 1 } else { text.find("://").map_or(0, |at| at + 3) };
    let pattern = if start == 0 { Pattern::of_match(text, true) } else { Pattern::new(&text[start..]) };
    let pattern = pattern.map_err(|e| Error::config(format!("`{text}` is no pattern: at character {}: {}", start + e.at, e.message)))?;
    Ok(if start == 0 { Glob::Below(pattern) } else { Glob::Address(text[..start].to_owned(), pattern) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(selection: &Selection, path: &str, modified: &str, date: Option<&str>) -> bool {
        let version = FileVersion { path: format!("/data/in/{path}"), size: 1, modified: modified.parse().ok(), etag: None };
        Selected::new(selection).unwrap().holds(path, &version, date.map(|d| d.parse().unwrap()))
    }

    #[test]
    fn ranges_go_by_the_name_else_by_time() {
        let january = Selection { from: "2024-01-01T00:00:00Z".parse().ok(), to: "2024-02-01T00:00:00Z".parse().ok(), glob: None };
        for (modified, date, expected) in [
            ("2024-01-01T00:00:00Z", None, true),
            ("2024-02-01T00:00:00Z", None, false),
            ("2023-12-31T23:59:59Z", None, false),
            ("", None, false),
            ("2020-01-01T00:00:00Z", Some("2024-01-31T00:00:00Z"), true),
            ("2024-01-15T00:00:00Z", Some("2024-02-01T00:00:00Z"), false),
        ] {
            assert_eq!(holds(&january, "a", modified, date), expected, "{modified} {date:?}");
        }
        assert!(holds(&Selection::default(), "a", "", None), "what does not narrow takes everything");
    }

    #[test]
    fn globs_are_about_names_paths_or_addresses() {
        for (glob, path, expected) in [
            ("*.csv", "x/y/a.csv", true),
            ("x/*.csv", "x/a.csv", true),
            ("x/*.csv", "x/y/a.csv", false),
            ("/data/in/x/*.csv", "x/a.csv", true),
            ("/data/out/**", "x/a.csv", false),
            ("/data/**", "x/a.csv", true),
            ("s3://data/**", "x/a.csv", false),
            ("{a,b}_{day:%Y%m%d}.csv", "a_20240101.csv", true),
        ] {
            let selection = Selection { glob: Some(glob.into()), ..Selection::default() };
            assert_eq!(holds(&selection, path, "2024-01-01T00:00:00Z", None), expected, "{glob} {path}");
        }
    }

    #[test]
    fn mistakes_are_said() {
        let wrong = |s: Selection| Selected::new(&s).unwrap_err();
        assert!(wrong(Selection { glob: Some("x[".into()), ..Selection::default() }).message().starts_with("`x[` is no pattern"));
        let at = "2024-01-01T00:00:00Z".parse().ok();
        assert!(wrong(Selection { from: at, to: at, glob: None }).hint_text().is_some());
    }
}
