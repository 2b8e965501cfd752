//! `cargo xtask docs`: what is written by the program itself (`docs/reference/`), and connectors' own pages gathered (`docs/connectors/`).
//!
//! Deliberately not here: what the pages say. `sluis-config` makes the reference from the registry; a connector's page is the `README.md` in
//! its folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::process;

const CONNECTORS: &str = "crates/sluis-connectors/src";

/// Writes the pages and takes away old ones; `check`: changes nothing, and every difference is an error.
///
/// # Errors
/// If the reference cannot be made, or (`check`) is not current.
pub fn run(check: bool) -> Result<(), String> {
    let mut pages = reference()?;
    pages.extend(connectors()?);
    let root = process::root();
    let mut stale = Vec::new();
    for (path, text) in &pages {
        let there = std::fs::read_to_string(root.join(path)).ok();
        if there.as_ref() != Some(text) {
            stale.push(path.clone());
            if !check {
                write(&root.join(path), text)?;
            }
        }
    }
    for folder in ["docs/reference", "docs/connectors"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            // What stands in folders below is written by hand.
            if !pages.contains_key(&path) && !entry.path().is_dir() {
                if !check {
                    std::fs::remove_file(entry.path()).map_err(|e| format!("{path}: {e}"))?;
                }
                stale.push(path);
            }
        }
    }
    match (check, stale.is_empty()) {
        (true, false) => Err(format!("out of date, run `cargo xtask docs`: {}", stale.join(", "))),
        (false, false) => {
            println!("docs: written {}", stale.join(", "));
            Ok(())
        }
        (_, true) => {
            println!("docs: {} pages are current", pages.len());
            Ok(())
        }
    }
}

/// `docs/reference/…` -> text, from the library itself.
fn reference() -> Result<BTreeMap<String, String>, String> {
    let mut command = process::cargo();
    command.args(["run", "--quiet", "--locked", "-p", "sluis-connectors", "--example", "reference"]);
    let text = process::output(&mut command)?;
    let pages: Value = serde_json::from_str(&text).map_err(|e| format!("the example `reference`: {e}"))?;
    let pages = pages.as_object().ok_or("the example `reference` prints no pages")?;
    Ok(pages.iter().filter_map(|(name, text)| Some((format!("docs/reference/{name}"), text.as_str()?.to_owned()))).collect())
}

/// `docs/connectors/<folder>.md` -> the page of that folder, its links adjusted to the new place, and a list of all.
fn connectors() -> Result<BTreeMap<String, String>, String> {
    let mut pages = BTreeMap::new();
    let mut list = String::from("# Connectors\n\nThe pages of the folders in `crates/sluis-connectors/src`, gathered by `cargo xtask docs`.\n\n");
    let mut folders: Vec<_> =
        std::fs::read_dir(process::root().join(CONNECTORS)).map_err(|e| format!("{CONNECTORS}: {e}"))?.flatten().map(|e| e.file_name()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.to_string_lossy();
        let Ok(text) = std::fs::read_to_string(process::root().join(CONNECTORS).join(&folder).join("README.md")) else { continue };
        let title = text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
        list += &format!("- [{title}]({name}.md)\n");
        pages.insert(format!("docs/connectors/{name}.md"), moved(&text));
    }
    pages.insert("docs/connectors/README.md".into(), list);
    Ok(pages)
}

/// Links as they are from the new place: to the docs, and to other connectors' pages.
fn moved(text: &str) -> String {
    let text = text.replace("](../../../../docs/", "](../");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("](../") {
        let (before, link) = rest.split_at(at + 2);
        out += before;
        let page = link.split_once("/README.md").and_then(|(folder, _)| folder.strip_prefix("../")).filter(|f| !f.contains(['/', ')']));
        rest = match page {
            Some(folder) => {
                out += &format!("{folder}.md");
                &link["../".len() + folder.len() + "/README.md".len()..]
            }
            None => link,
        };
    }
    out + rest
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let done = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    done.map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_follow_a_page_to_its_new_place() {
        let text = "[a](../table/README.md#keys) [b](../../../../docs/guides/x.md) [c](https://x.org/../y/README.md) [d](../README.md)";
        assert_eq!(moved(text), "[a](table.md#keys) [b](../guides/x.md) [c](https://x.org/../y/README.md) [d](../README.md)");
    }
}
