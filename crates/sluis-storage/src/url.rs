//! From a URL (or a path) and the project's connections to an open [`crate::Storage`].
//!
//! Nothing is contacted here, except that a local path is looked at to tell a file from a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sluis_core::{Error, Result};

use crate::StorageRef;
use crate::connection::{Environment, HttpConnection, S3Connection, choose};
use crate::http::HttpStorage;
use crate::local::LocalStorage;
use crate::s3::S3Storage;

/// An open place and what the URL means in it.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Rooted at the folder that the URL names, or at the folder that holds the file it names.
    pub storage: StorageRef,
    /// Empty: the URL names the root folder. Else it names this below the root: a file, or (where that cannot be known without
    /// asking, as in `s3://bucket/data.v2`) perhaps a folder: ask [`crate::Storage::head`].
    pub path: String,
}

/// Opens what a source reads: a folder (`…/`, an existing local folder, or a last part without a `.`) or a single file.
/// Relative paths start at `base_dir`; `~/` is the home folder.
///
/// # Errors
/// `ErrorKind::Config`: a URL that is none, of a kind that is not known, or a connection that does not fit.
pub fn open(url: &str, connections: &Map<String, Value>, connection: Option<&str>, base_dir: &Path) -> Result<Opened> {
    open_with(url, connections, connection, base_dir, &Environment::process())
}

/// Opens what a target writes to: always the folder that the URL names.
///
/// # Errors
/// As [`open`].
pub fn open_folder(url: &str, connections: &Map<String, Value>, connection: Option<&str>, base_dir: &Path) -> Result<StorageRef> {
    let folder = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
    Ok(open(&folder, connections, connection, base_dir)?.storage)
}

/// [`open`] with the environment variables given.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    url: &str,
    connections: &Map<String, Value>,
    connection: Option<&str>,
    base_dir: &Path,
    environment: &Environment,
) -> Result<Opened> {
    let Some((scheme, rest)) = scheme(url) else { return local(&expand(url, base_dir, environment)?, url.ends_with('/')) };
    match scheme.as_str() {
        "file" => local(&file_path(url, rest)?, url.ends_with('/')),
        "s3" | "s3a" | "s3n" => s3(url, rest, connections, connection, environment),
        "http" | "https" => {
            let chosen = choose::<HttpConnection>("http", url, connections, connection)?;
            let (storage, path) = HttpStorage::connect(url, &chosen.map(|(_, c)| c).unwrap_or_default(), environment)?;
            Ok(Opened { storage: Arc::new(storage), path })
        }
        other => Err(Error::config(format!("`{other}://` is not a kind of place that is known, in `{url}`"))
            .hint("one of: a path, file://, s3://, https://, http://")),
    }
}

/// `scheme://rest`. A Windows drive or a name with a colon is no scheme.
fn scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let is = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn file_path(url: &str, rest: &str) -> Result<PathBuf> {
    let path = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(Error::config(format!("`{url}` names a host")).hint("write `file:///an/absolute/path`, or just the path"));
    }
    let path = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|e| Error::config(format!("`{url}` is not UTF-8")).source(e))?;
    Ok(PathBuf::from(path.into_owned()))
}

fn expand(path: &str, base_dir: &Path, environment: &Environment) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(Error::config("the URL is empty").hint("write a path, or file://, s3://, https://, http://"));
    }
    if path == "~" || path.starts_with("~/") {
        let home = environment.get("HOME").ok_or_else(|| Error::config(format!("`{path}`: there is no home folder (HOME is not set)")))?;
        return Ok(PathBuf::from(home).join(path[1..].trim_start_matches('/')));
    }
    let base = std::path::absolute(base_dir).map_err(|e| Error::io("find the folder", base_dir.display(), e))?;
    Ok(base.join(path))
}

/// `.` and `..` taken out by name, so that one place has one address in ledgers.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

fn local(path: &Path, folder: bool) -> Result<Opened> {
    let path = tidy(path);
    let whole = |path: &Path| Ok(Opened { storage: Arc::new(LocalStorage::new(path)?), path: String::new() });
    if folder || path.is_dir() {
        return whole(&path);
    }
    match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
        (Some(parent), Some(name)) if path.exists() || name.contains('.') => {
            Ok(Opened { storage: Arc::new(LocalStorage::new(parent)?), path: name.to_owned() })
        }
        _ => whole(&path),
    }
}

fn s3(url: &str, rest: &str, connections: &Map<String, Value>, connection: Option<&str>, environment: &Environment) -> Result<Opened> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || bucket.contains(['@', ':', '?', '#']) {
        return Err(Error::config(format!("`{}` names no bucket", sluis_core::secret::redact(url)))
            .hint("write s3://bucket/prefix/; keys and endpoints belong in `connections:`"));
    }
    let address = format!("s3://{rest}");
    let chosen = choose::<S3Connection>("s3", &address, connections, connection)?;
    let settings = chosen.map(|(_, c)| c).unwrap_or_default();
    let (prefix, path) = match key.rsplit_once('/') {
        _ if key.is_empty() || key.ends_with('/') => (key, ""),
        Some((prefix, name)) if name.contains('.') => (prefix, name),
        None if key.contains('.') => ("", key),
        _ => (key, ""),
    };
    let storage = S3Storage::connect(&settings, bucket, prefix, environment)?;
    Ok(Opened { storage: Arc::new(storage), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sluis_core::ErrorKind;

    use super::*;

    fn opened(url: &str, base: &Path) -> (String, String) {
        let home = base.to_str().unwrap().to_owned();
        let env = Environment::new(move |name| (name == "HOME").then(|| home.clone()));
        let o = open_with(url, &Map::new(), None, base, &env).unwrap();
        (o.storage.root().replace(base.to_str().unwrap(), "BASE"), o.path)
    }

    #[test]
    fn local_paths_and_file_urls() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(base.join("in/data.v2")).unwrap();
        fs::write(base.join("in/README"), "x").unwrap();
        for (url, root, path) in [
            ("in", "BASE/in", ""),
            ("in/", "BASE/in", ""),
            ("./in/../in/data.v2", "BASE/in/data.v2", ""),
            ("in/README", "BASE/in", "README"),
            ("in/none.csv", "BASE/in", "none.csv"),
            ("later", "BASE/later", ""),
            ("later.d/", "BASE/later.d", ""),
            ("~/in", "BASE/in", ""),
            ("~", "BASE", ""),
            (".", "BASE", ""),
            ("/", "", ""),
        ] {
            assert_eq!(opened(url, &base), (root.to_owned(), path.to_owned()), "{url}");
        }
        let url = format!("file://{}/in/a%20b.csv", base.display());
        assert_eq!(opened(&url, &base), ("BASE/in".to_owned(), "a b.csv".to_owned()));
        let folder = open_folder("out.d", &Map::new(), None, &base).unwrap();
        assert_eq!(folder.root(), base.join("out.d").to_str().unwrap());
        assert_eq!(folder.address("x"), base.join("out.d/x").to_str().unwrap());
    }

    #[test]
    fn s3_urls() {
        let base = Path::new("/");
        for (url, root, path) in [
            ("s3://b", "s3://b", ""),
            ("s3://b/", "s3://b", ""),
            ("s3://b/in/", "s3://b/in", ""),
            ("s3://b/in", "s3://b/in", ""),
            ("s3a://b/in/x.csv", "s3://b/in", "x.csv"),
            ("s3://b/x.csv", "s3://b", "x.csv"),
        ] {
            let o = open_with(url, &Map::new(), None, base, &Environment::new(|_| None)).unwrap();
            assert_eq!((o.storage.root(), o.path.as_str()), (root, path), "{url}");
        }
        let folder = open_folder("s3://b/x.d", &Map::new(), None, base).unwrap();
        assert_eq!(folder.address("k"), "s3://b/x.d/k");
    }

    #[test]
    fn what_is_no_place_is_said() {
        let none = Map::new();
        for url in ["", "ftp://a/b", "s3://", "s3://key:secret@b/x", "file://host/x", "http://"] {
            let e = open(url, &none, None, Path::new("/")).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config, "{url}: {e:?}");
        }
        let e = open("s3://b/x", &none, Some("lake"), Path::new("/")).unwrap_err();
        assert!(e.message().contains("no connection `lake`"));
    }
}
