//! A URL of the configuration: its fixed folder, the pattern below it, and the open storage.
//!
//! Deliberately not here: listing.

use sluis_core::registry::{BuildContext, Problem};
use sluis_core::{FileVersion, Result};
use sluis_storage::{Entry, StorageRef};

use super::pattern::{Matched, Pattern, PatternError};

/// A URL as written, taken apart.
#[derive(Debug, Clone)]
pub struct UrlPattern {
    /// The folder (with a trailing `/` where the URL went on with a pattern), or the file.
    pub fixed: String,
    /// Over paths below that folder; over its name, where the URL names a file.
    pub pattern: Pattern,
}

/// Whether a URL is of the local file system.
pub fn is_local(url: &str) -> bool {
    !url.contains("://") || url.starts_with("file://")
}

/// Whether a URL is of a web server.
pub fn is_http(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// Whether it is a path that starts at the project's folder.
pub fn is_relative(url: &str) -> bool {
    !url.contains("://") && !url.starts_with(['/', '~'])
}

impl UrlPattern {
    /// Takes a URL apart and joins the pattern in it with that of `match`.
    ///
    /// # Errors
    /// The mistake, at `url` or at `match`.
    pub fn new(url: &str, matching: Option<&str>, recursive: bool) -> Result<UrlPattern, Problem> {
        let problem = |at: &str, message: String, hint: Option<&str>| Problem { at: vec![at.into()], message, hint: hint.map(str::to_owned) };
        let placed = |e: PatternError, of: &str, shift: usize| format!("at character {} of `{of}`: {}", e.at + shift, e.message);
        if url.is_empty() {
            return Err(problem("url", "the URL is empty".into(), None));
        }
        if let Some(text) = matching {
            Pattern::new(text).map_err(|e| problem("match", placed(e, text, 0), None))?;
        }
        let everything = if recursive { "**" } else { "*" };
        let Some(start) = pattern_start(url) else {
            let pattern = Pattern::of_match(matching.unwrap_or(everything), recursive);
            let pattern = pattern.map_err(|e| problem("match", placed(e, matching.unwrap_or(everything), 0), None))?;
            return Ok(UrlPattern { fixed: url.to_owned(), pattern });
        };
        let (fixed, rest) = url.split_at(start);
        if fixed.ends_with("://") || (fixed.is_empty() && url.contains("://")) {
            return Err(problem("url", format!("a pattern cannot stand where the bucket or host is: `{url}`"), None));
        }
        let shift = fixed.chars().count();
        Pattern::new(rest.trim_end_matches('/')).map_err(|e| problem("url", placed(e, url, shift), None))?;
        let full = match (rest.strip_suffix('/'), matching) {
            (None, None) => rest.to_owned(),
            (None, Some(_)) => {
                let message = format!("the pattern in this URL names files already, and `match` does too: `{url}`");
                return Err(problem("url", message, Some("if it is folders that it names, end it with a `/`; else remove `match`")));
            }
            (Some(folders), None) => format!("{folders}/{everything}"),
            (Some(folders), Some(text)) if text.contains('/') || !recursive => format!("{folders}/{text}"),
            (Some(folders), Some(text)) => format!("{folders}/**/{text}"),
        };
        let pattern = Pattern::new(&full).map_err(|e| {
            let message =
                format!("two parts that do not go together, `{rest}` in the URL and `{}` in `match`: {}", matching.unwrap_or(""), e.message);
            problem("url", message, None)
        })?;
        let fixed = if fixed.is_empty() { "./" } else { fixed };
        Ok(UrlPattern { fixed: fixed.to_owned(), pattern })
    }
}

/// Where the part of a URL starts that holds a pattern: behind the last `/` before the first special character.
fn pattern_start(url: &str) -> Option<usize> {
    let special = |c: char| matches!(c, '*' | '[' | '{' | '\\') || (c == '?' && !is_http(url));
    let mut at = 0;
    while at < url.len() {
        let rest = &url[at..];
        // A secret that is not resolved yet.
        if rest.starts_with("${") {
            at += rest.find('}').map_or(rest.len(), |n| n + 1);
            continue;
        }
        // The query of a web address is no pattern.
        if rest.starts_with('?') && is_http(url) {
            return None;
        }
        let c = rest.chars().next()?;
        if special(c) {
            return Some(url[..at].rfind('/').map_or(0, |slash| slash + 1));
        }
        at += c.len_utf8();
    }
    None
}

/// An open place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The fixed part of the URL, for messages.
    pub url: String,
    pub storage: StorageRef,
    /// What the URL names below the storage's root: empty for the root itself, else a file, or perhaps a folder.
    pub named: String,
    pub pattern: Pattern,
}

impl Place {
    /// Opens it; contacts nobody.
    ///
    /// # Errors
    /// As [`sluis_storage::url::open`].
    pub fn open(parts: &UrlPattern, connection: Option<&str>, context: &BuildContext) -> Result<Place> {
        let connection = connection.filter(|_| !is_local(&parts.fixed));
        let opened = sluis_storage::url::open(&parts.fixed, &context.connections, connection, &context.project_dir)?;
        Ok(Place { url: parts.fixed.clone(), storage: opened.storage, named: opened.path, pattern: parts.pattern.clone() })
    }

    /// The path below the URL's folder, for a path below the storage's root.
    pub fn relative<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.named.as_str()).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) if !self.named.is_empty() => rest,
            _ => path,
        }
    }

    /// What the pattern says of a path below the storage's root.
    pub fn matches(&self, path: &str) -> Matched {
        self.pattern.matches(self.relative(path))
    }

    /// The path below the storage's root of a full address, if it is in here.
    pub fn path_of<'a>(&self, address: &'a str) -> Option<&'a str> {
        address.strip_prefix(self.storage.root()).and_then(|rest| rest.strip_prefix('/'))
    }

    /// The version that an entry shows.
    pub fn version(&self, entry: &Entry) -> FileVersion {
        FileVersion { path: self.storage.address(&entry.path), size: entry.size, modified: entry.modified, etag: entry.etag.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_at_their_pattern() {
        for (url, matching, fixed, yes, no) in [
            ("in", None, "in", "a/b.csv", None),
            ("in/", Some("*.csv"), "in/", "a/b.csv", Some("a/b.txt")),
            ("in/*.csv", None, "in/", "b.csv", Some("a/b.csv")),
            ("*.csv", None, "./", "b.csv", Some("a/b.csv")),
            ("in/2024*/", None, "in/", "20240101/x/y", Some("2023/x")),
            ("in/2024*/", Some("*.csv"), "in/", "20240101/x/y.csv", Some("20240101/x/y")),
            ("in/2024*/", Some("x/*.csv"), "in/", "20240101/x/y.csv", Some("20240101/y.csv")),
            ("s3://b/in/{day:%Y%m%d}/*.csv", None, "s3://b/in/", "20240101/y.csv", Some("x/y.csv")),
            ("https://h/in/*.csv", None, "https://h/in/", "y.csv", Some("y")),
            ("https://h/get?file=a*[1]", None, "https://h/get?file=a*[1]", "get", None),
            ("${env:BASE}/in/x*", None, "${env:BASE}/in/", "xy", Some("y")),
            ("${env:BASE}", None, "${env:BASE}", "xy", None),
        ] {
            let parts = UrlPattern::new(url, matching, true).unwrap_or_else(|p| panic!("{url}: {p:?}"));
            assert_eq!(parts.fixed, fixed, "{url}");
            assert!(matches!(parts.pattern.matches(yes), Matched::Yes(_)), "{url} {yes}");
            if let Some(no) = no {
                assert!(!matches!(parts.pattern.matches(no), Matched::Yes(_)), "{url} {no}");
            }
        }
        let shallow = UrlPattern::new("in/2024*/", Some("*.csv"), false).unwrap();
        assert_eq!(shallow.pattern.matches("2024/x/y.csv"), Matched::No);
    }
}
