//! Every YAML block of the docs passes `sluis check`: whole files as they are, parts with what they lack around them.
//!
//! Deliberately not here: what the blocks say. A block that is no configuration is not marked `yaml`.

mod rejects;

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a part of a pipeline is put into.
const FROM: &str = "from:\n  files: { url: in/ }\n  csv: {}\n";
const INTO: &str = "into:\n  table: { name: somewhere }\n";

#[test]
fn every_yaml_block_passes_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    pages.extend(markdown(&root.join("docs")));
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for (line, block) in blocks(&text) {
            count += 1;
            if let Err(said) = check(&block) {
                wrong.push(format!("{}:{line}:\n{block}\n{said}", page.display()));
            }
        }
    }
    assert!(count >= 10, "only {count} blocks: the pages were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the docs").flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(markdown(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// Blocks marked `yaml`, with their lines, as they would stand alone.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```yaml" => open = Some((number + 1, line[..line.len() - line.trim_start().len()].to_owned(), String::new())),
            None => {}
            Some(_) if line.trim() == "```" => out.extend(open.take().map(|(line, _, block)| (line, block))),
            Some((_, indent, block)) => *block += &format!("{}\n", line.strip_prefix(indent.as_str()).unwrap_or(line)),
        }
    }
    out
}

fn check(block: &str) -> Result<(), String> {
    let has = |key: &str| block.lines().any(|l| l.starts_with(&format!("{key}:")));
    let folder = tempfile::tempdir().expect("a folder");
    let pipelines = folder.path().join("pipelines");
    std::fs::create_dir(&pipelines).expect("a folder");
    let whole = format!("{FROM}{INTO}");
    let project = ["connections", "lake", "environments", "defaults", "ledger", "state_dir"].iter().any(|k| has(k));
    let (project, pipeline) = if project {
        let minio = if has("connections") { "" } else { "connections:\n  minio: { s3: { endpoint: \"http://localhost:9000\" } }\n" };
        (format!("{block}{minio}"), whole)
    } else if ["from", "into", "check", "select", "rejects", "when", "limits", "settings"].iter().any(|k| has(k)) {
        let from = if has("from") { "" } else { FROM };
        let into = if has("into") { "" } else { INTO };
        ("name: docs\n".to_owned(), format!("{from}{block}{into}"))
    } else {
        return Err("neither a pipeline nor a project, nor a part of one".into());
    };
    std::fs::write(folder.path().join("sluis.yaml"), project).expect("a file");
    std::fs::write(pipelines.join("block.yaml"), pipeline).expect("a file");
    let out = Command::new(env!("CARGO_BIN_EXE_sluis")).current_dir(folder.path()).arg("check").output().expect("sluis");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if out.status.success() { Ok(()) } else { Err(text(&out.stdout) + &text(&out.stderr)) }
}
