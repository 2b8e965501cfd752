//! Where files stand in the spool: `<state>/replay/<pipeline>/<lane>-<epoch>-<reason>/<number of the URL>/<path below the URL>`, and back;
//! and, in `dialects/` instead of the number's folder, what `delimiter: auto` found in their originals.
//!
//! Deliberately not here: reading, writing.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sluis_core::{Error, Result};

use crate::assemble::Parts;
use crate::url_parts;

/// The spool of a pipeline.
#[derive(Debug)]
pub struct Places {
    pub root: PathBuf,
    urls: Vec<Url>,
}

/// A URL of the pipeline's source.
#[derive(Debug)]
struct Url {
    /// The address that files below it start with, without a `/` at its end; or the file it names.
    address: String,
    /// What follows that as a pattern: `2024-*/`, `*.csv`, or nothing.
    pattern: String,
}

impl Places {
    pub fn of(parts: &Parts) -> Places {
        let root = parts.project.state_dir.join("replay").join(parts.pipeline.name.as_str());
        let all = url_parts::all(&parts.pipeline.source.config["url"]);
        Places { root, urls: all.into_iter().map(|u| Url::of(u, &parts.project.dir)).collect() }
    }

    /// The URLs that the spool is read by.
    pub fn urls(&self) -> Vec<String> {
        let escaped = url_parts::escaped(&self.root.display().to_string());
        self.urls.iter().enumerate().map(|(i, u)| format!("{escaped}/*/{i}/{}", u.pattern)).collect()
    }

    /// Where rejects of a file go. `group`: which epoch and reason.
    pub fn spool(&self, group: &str, file: &str) -> PathBuf {
        // A row that was replayed before and rejected again.
        if let Some((_, below)) = self.in_spool(file) {
            return self.root.join(group).join(below);
        }
        let below = self.urls.iter().enumerate().find_map(|(i, u)| Some((i, u.below(file)?)));
        let name = || file.rsplit('/').next().unwrap_or(file);
        let (i, below) = below.unwrap_or_else(|| (0, name()));
        self.root.join(group).join(i.to_string()).join(below)
    }

    /// The address of the file that a spool file's rows came from.
    pub fn original(&self, spool: &str) -> Option<String> {
        let (_, below) = self.in_spool(spool)?;
        let (i, below) = below.split_once('/')?;
        let url = self.urls.get(i.parse::<usize>().ok()?)?;
        Some(if url.names_file(below) { url.address.clone() } else { format!("{}/{below}", url.address) })
    }

    /// Where it stands which dialects were found for a file of the spool.
    ///
    /// # Errors
    /// Only for bugs: it is not in the spool.
    pub fn dialects_of(&self, spool: &Path) -> Result<PathBuf> {
        let found = spool.to_str().and_then(|path| self.in_spool(path));
        let (group, below) = found.ok_or_else(|| Error::internal("a file of the spool is elsewhere"))?;
        Ok(self.root.join(group).join("dialects").join(format!("{below}.json")))
    }

    /// The dialects of a file of the spool, by member (under no name if it is no archive); null if none was looked for.
    ///
    /// # Errors
    /// Those of reading.
    pub fn dialects(&self, spool: &str) -> Result<Value> {
        let path = self.dialects_of(Path::new(spool))?;
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::internal(format!("{} is spoilt", path.display())).source(e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
            Err(e) => Err(Error::io("read", path.display(), e)),
        }
    }

    /// The dialect that goes for a file of the spool, or a member of one.
    ///
    /// # Errors
    /// Those of reading.
    pub fn dialect(&self, name: &str) -> Result<Option<Value>> {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        for at in ends.filter(|at| *at > self.root.as_os_str().len()) {
            if self.in_spool(&name[..at]).is_some()
                && let Some(found) = self.dialects(&name[..at])?.get(name.get(at + 1..).unwrap_or_default())
            {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }

    /// Group and path below it of a file in the spool.
    fn in_spool<'a>(&self, file: &'a str) -> Option<(&'a str, &'a str)> {
        file.strip_prefix(self.root.to_str()?)?.strip_prefix('/')?.split_once('/')
    }
}

impl Url {
    fn of(url: &str, project_dir: &Path) -> Url {
        let (fixed, pattern) = url_parts::split(url);
        let fixed = fixed.strip_prefix("file://").unwrap_or(fixed);
        let address = match fixed.contains("://") {
            true => fixed.to_owned(),
            false => url_parts::without_dots(&project_dir.join(fixed)).display().to_string(),
        };
        Url { address: address.trim_end_matches('/').to_owned(), pattern: pattern.to_owned() }
    }

    fn below<'a>(&self, file: &'a str) -> Option<&'a str> {
        match file.strip_prefix(self.address.as_str())? {
            "" => file.rsplit('/').next(),
            rest => rest.strip_prefix('/'),
        }
    }

    /// Whether the URL names the very file (then what is below is its name).
    fn names_file(&self, below: &str) -> bool {
        self.pattern.is_empty() && self.address.rsplit('/').next() == Some(below) && !Path::new(&self.address).is_dir()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(urls: &[&str]) -> Places {
        Places { root: "/p/.sluis/replay/x".into(), urls: urls.iter().map(|u| Url::of(u, Path::new("/p"))).collect() }
    }

    #[test]
    fn files_go_to_the_spool_at_their_path_below_the_url_and_back() {
        let p = places(&["in", "s3://b/2024-*/", "./one.csv"]);
        for (file, spool) in [
            ("/p/in/a/b.csv", "/p/.sluis/replay/x/main-1-bad_value/0/a/b.csv"),
            ("s3://b/2024-01/b.csv", "/p/.sluis/replay/x/main-1-bad_value/1/2024-01/b.csv"),
            ("/p/one.csv", "/p/.sluis/replay/x/main-1-bad_value/2/one.csv"),
        ] {
            assert_eq!(p.spool("main-1-bad_value", file), Path::new(spool));
            assert_eq!(p.original(spool).as_deref(), Some(file));
        }
        assert_eq!(p.urls(), ["/p/.sluis/replay/x/*/0/", "/p/.sluis/replay/x/*/1/2024-*/", "/p/.sluis/replay/x/*/2/"]);
        assert_eq!(
            p.spool("replay-1-bad_value", "/p/.sluis/replay/x/main-1-bad_value/0/a/b.csv"),
            Path::new("/p/.sluis/replay/x/replay-1-bad_value/0/a/b.csv")
        );
        assert_eq!(p.spool("g", "/elsewhere/c.csv"), Path::new("/p/.sluis/replay/x/g/0/c.csv"));
    }
}
