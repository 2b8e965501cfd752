//! Manifests: a file that lists the files to take.
//!
//! Lines of paths, or JSON: a list of paths or objects, or an object with such a list under `entries` (or `files`). Objects name the
//! file as `path`, `url`, `key` or `name`, and may say `size` (or `content_length`, also within `meta`) and `md5`.

use serde_json::Value;
use sluis_core::{Error, Result};
use sluis_storage::Storage;

/// The longest manifest that is read: it is held in memory.
const LONGEST: u64 = 256 << 20;

/// A file that a manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As written: a path below the URL's folder, or a full address.
    pub path: String,
    pub size: Option<u64>,
    /// Lower-case hexadecimal.
    pub md5: Option<String>,
}

/// Reads a manifest; `None` if it is not there.
///
/// # Errors
/// `ErrorKind::CorruptInput`: not one of the forms, or too long.
pub async fn read(storage: &dyn Storage, path: &str) -> Result<Option<Vec<Listed>>> {
    let Some(entry) = storage.head(path).await? else { return Ok(None) };
    let address = storage.address(path);
    if entry.size > LONGEST {
        return Err(wrong(&address, "is longer than 256 MiB"));
    }
    let bytes = sluis_storage::read_all(storage, path, None).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&address, "is not UTF-8 text"))?;
    parse(text.trim_start_matches('\u{feff}')).map(Some).map_err(|message| wrong(&address, &message))
}

fn wrong(address: &str, message: &str) -> Error {
    Error::new(sluis_core::ErrorKind::CorruptInput, format!("the manifest {address} {message}"))
        .hint("a manifest is one path per line, or JSON: a list of paths or of {path, size, md5}")
}

fn parse(text: &str) -> Result<Vec<Listed>, String> {
    if !text.trim_start().starts_with(['[', '{']) {
        let line = |line: &str| Listed { path: line.to_owned(), size: None, md5: None };
        return Ok(text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(line).collect());
    }
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not valid JSON: {e}"))?;
    let list = match &value {
        Value::Array(list) => list,
        Value::Object(o) => {
            ["entries", "files"].iter().find_map(|key| o.get(*key)?.as_array()).ok_or("is a JSON object without a list `entries` or `files`")?
        }
        _ => return Err("is not a JSON list".into()),
    };
    list.iter().enumerate().map(|(i, item)| listed(item).ok_or_else(|| format!("names no file in entry {}: {item}", i + 1))).collect()
}

fn listed(item: &Value) -> Option<Listed> {
    if let Value::String(path) = item {
        return (!path.is_empty()).then(|| Listed { path: path.clone(), size: None, md5: None });
    }
    let path = ["path", "url", "key", "name"].iter().find_map(|key| item.get(*key)?.as_str()).filter(|p| !p.is_empty())?;
    let size = [item.get("size"), item.get("content_length"), item.get("meta").and_then(|m| m.get("content_length"))];
    let size = size.into_iter().flatten().find_map(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
    let md5 = item.get("md5").and_then(Value::as_str).map(str::to_ascii_lowercase);
    Some(Listed { path: path.to_owned(), size, md5 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_json_are_read() {
        let paths = |text: &str| parse(text).unwrap().into_iter().map(|l| l.path).collect::<Vec<_>>();
        assert_eq!(paths("a.csv\r\n\n# no\n b/c.csv \n"), ["a.csv", "b/c.csv"]);
        assert_eq!(paths(r#"["a", {"path": "b"}, {"url": "s3://x/c"}]"#), ["a", "b", "s3://x/c"]);
        assert_eq!(paths(r#"{"entries": [{"url": "a", "mandatory": true}]}"#), ["a"]);
        assert!(paths("").is_empty() && paths("[]").is_empty());
        let all = parse(r#"[{"key": "a", "size": 3, "md5": "AB"}, {"url": "b", "meta": {"content_length": 4}}]"#).unwrap();
        assert_eq!(all[0], Listed { path: "a".into(), size: Some(3), md5: Some("ab".into()) });
        assert_eq!(all[1].size, Some(4));
        for bad in ["[1]", "[", "{}", r#"[{"size": 1}]"#, r#"[""]"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
