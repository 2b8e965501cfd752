//! The files of the project, as tidy and docs see them.
//!
//! Deliberately not here: rules.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A text file of the project.
pub struct Text {
    /// From the project's folder, with `/`.
    pub path: String,
    pub text: String,
}

/// Every text file that is tracked or would be (not ignored), sorted; without git: everything but `target` and hidden folders.
///
/// # Errors
/// If nothing can be listed.
pub fn all() -> Result<Vec<Text>, String> {
    let root = process::root();
    let listed = process::output(Command::new("git").current_dir(&root).args(["ls-files", "--cached", "--others", "--exclude-standard"]));
    let mut paths: Vec<String> = match listed {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => walk(&root, &root)?,
    };
    paths.sort();
    paths.dedup();
    // A file may be listed and gone, or not be text.
    Ok(paths.into_iter().filter_map(|path| Some(Text { text: std::fs::read_to_string(root.join(&path)).ok()?, path })).collect())
}

fn walk(root: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))? {
        let path: PathBuf = entry.map_err(|e| e.to_string())?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            out.extend(walk(root, &path)?);
        } else if let Ok(inner) = path.strip_prefix(root) {
            out.push(inner.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(out)
}

/// `cargo metadata`, parsed.
///
/// # Errors
/// If cargo fails.
pub fn metadata() -> Result<serde_json::Value, String> {
    let host = process::output(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).ok_or("rustc does not say its host")?;
    let text = process::output(process::cargo().args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host]))?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}
