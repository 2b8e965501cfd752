//! A source's URL, taken apart: what is fixed, and the pattern behind it.
//!
//! As `from: files` does it; here for the rooms that put another folder in the place of the fixed part.

use std::path::{Path, PathBuf};

/// `in/2024-*/x.csv` to `in/` and `2024-*/x.csv`; without a pattern the second is empty.
pub fn split(url: &str) -> (&str, &str) {
    let special = |c: char| matches!(c, '*' | '[' | '{' | '\\' | '?');
    // Secrets and variables (`${…}`) are in by now, or stand in for a host: they are no pattern. Nor is the query of a web address.
    match url.find(special) {
        Some(at) if !url.starts_with("http") && !url[..at].ends_with('$') => url.split_at(url[..at].rfind('/').map_or(0, |slash| slash + 1)),
        _ => (url, ""),
    }
}

/// A path written so that no character of it is special in a pattern.
pub fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[]{}\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

/// `.` and `..` taken out by name.
pub fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

/// `url:` of a source: one or several.
pub fn all(url: &serde_json::Value) -> Vec<&str> {
    match url {
        serde_json::Value::Array(list) => list.iter().filter_map(serde_json::Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_begins_at_a_folder() {
        assert_eq!(split("in/2024-*/x.csv"), ("in/", "2024-*/x.csv"));
        assert_eq!(split("*.csv"), ("", "*.csv"));
        assert_eq!(split("in"), ("in", ""));
        assert_eq!(split("https://h/x?y=*"), ("https://h/x?y=*", ""));
        assert_eq!(escaped("/a[1]"), "/a\\[1\\]");
    }
}
