//! Loading projects and pipelines, from the outside: files in, pipelines or diagnostics out.

mod fakes;
mod golden;
mod good;
mod overlays;
mod robust;
mod schemas;
mod secrets;

use std::path::Path;

use sluis_config::{Loaded, Options, load_project, render};

/// A project of these files in a folder of its own.
pub fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

pub fn load(path: &Path, options: &Options) -> Loaded {
    load_project(path, &fakes::registry(), options)
}

/// Loads, and says what is wrong if anything is.
pub fn good(path: &Path, options: &Options) -> Loaded {
    let loaded = load(path, options);
    assert!(loaded.diagnostics.is_empty(), "{}", render(&loaded.diagnostics, false));
    loaded
}

/// The codes of what is wrong, in order.
pub fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|d| d.code).collect()
}

pub const PIPELINE: &str = "from:\n  files: { url: in/ }\n  csv:\ninto:\n  table: { name: t }\n";
