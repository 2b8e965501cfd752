//! The four ways, and the comparison.

use std::path::{Path, PathBuf};

use sluis_core::crash;
use sluis_testkit::binary::{Sluis, copy_over, files_below};
use tempfile::TempDir;

use crate::reading::{Seen, see};

/// The folder of golden pipelines.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

pub fn sluis() -> Sluis {
    Sluis::new(env!("CARGO_BIN_EXE_sluis"))
}

/// One golden pipeline.
pub struct Golden {
    pub name: &'static str,
    /// Crash points that it never passes.
    pub misses: &'static [&'static str],
}

impl Golden {
    fn home(&self) -> PathBuf {
        folder().join(self.name)
    }

    /// A fresh copy, before anything landed.
    fn fresh(&self) -> TempDir {
        let dir = tempfile::Builder::new().prefix("sluis-golden-").tempdir().expect("a folder");
        for entry in std::fs::read_dir(self.home()).expect("the golden folder").flatten() {
            let name = entry.file_name();
            if name == "expected" || name == "later" {
                continue;
            }
            if entry.path().is_dir() {
                copy_over(&entry.path(), &dir.path().join(name));
            } else {
                std::fs::copy(entry.path(), dir.path().join(name)).expect("a copy");
            }
        }
        dir
    }

    /// What landed after `run` has run, once for what was there at first and once for what came later.
    fn land(&self, dir: &Path, run: impl Fn(&Path)) -> Seen {
        run(dir);
        let later = self.home().join("later");
        if later.is_dir() {
            copy_over(&later, dir);
            run(dir);
        }
        sluis().run(dir, &["ledger", "fsck"], &[]).good();
        let left: Vec<_> = files_below(&dir.join("out")).into_iter().filter(|p| is_staged(p)).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        see(dir, &self.home().join("expected"))
    }

    fn compare(&self, way: &str, seen: &Seen) {
        let expected = self.home().join("expected");
        let mut differences = String::new();
        for (name, text) in seen {
            let want = std::fs::read_to_string(expected.join(name)).unwrap_or_default();
            if want != *text {
                differences.push_str(&format!("--- {name}, expected\n{want}--- {name}, {way}\n{text}"));
            }
        }
        for file in files_below(&expected).iter().filter(|f| f.extension().is_some_and(|e| e == "txt")) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !seen.contains_key(&name) {
                differences.push_str(&format!("--- {name} is expected, and nothing of it landed\n"));
            }
        }
        assert!(differences.is_empty(), "{} ({way}) landed something else:\n{differences}", self.name);
    }

    pub fn plain(&self) {
        let dir = self.fresh();
        let seen = self.land(dir.path(), run_plainly);
        if std::env::var_os("SLUIS_BLESS").is_some() {
            let expected = self.home().join("expected");
            std::fs::create_dir_all(&expected).expect("a folder");
            for (name, text) in &seen {
                std::fs::write(expected.join(name), text).expect("a file");
            }
        }
        self.compare("plain", &seen);
        // Nothing is new: nothing lands again.
        run_plainly(dir.path());
        self.compare("run again", &see(dir.path(), &self.home().join("expected")));
    }

    pub fn killed(&self) {
        let mut missed = Vec::new();
        for point in crash::POINTS {
            let dir = self.fresh();
            let fired = std::cell::Cell::new(false);
            let seen = self.land(dir.path(), |dir| {
                let ran = sluis().run(dir, &["run", "pipeline.yaml", "--quiet"], &[("SLUIS_CRASH_AT", point)]);
                fired.set(ran.fired(point) || fired.get());
                run_plainly(dir);
            });
            if !fired.get() {
                missed.push(*point);
            }
            self.compare(&format!("killed at {point}"), &seen);
        }
        assert_eq!(missed, self.misses, "the crash points that {} never passes", self.name);
    }

    pub fn cut_differently(&self) {
        let dir = self.fresh();
        let file = dir.path().join("pipeline.yaml");
        let mut text = std::fs::read_to_string(&file).expect("the pipeline");
        text.push_str("limits: { files: 2 }\nsettings: { tasks: 2, threads: 3, batch_rows: 2, sample_files: 1 }\n");
        std::fs::write(&file, text).expect("the pipeline");
        let seen = self.land(dir.path(), |dir| {
            sluis().run(dir, &["run", "pipeline.yaml", "--quiet", "--limit-epochs", "1"], &[]).good();
            sluis().run(dir, &["run", "pipeline.yaml", "--quiet"], &[("SLUIS_CRASH_AT", "stage.after_record")]).fired("stage.after_record");
            run_plainly(dir);
        });
        self.compare("cut differently", &seen);
    }

    pub fn two_lanes(&self) {
        let dir = self.fresh();
        let seen = self.land(dir.path(), |dir| {
            sluis().run(dir, &["run", "pipeline.yaml", "--quiet", "--lanes", "2"], &[]).good();
        });
        self.compare("two lanes", &seen);
    }
}

fn run_plainly(dir: &Path) {
    sluis().run(dir, &["run", "pipeline.yaml", "--quiet"], &[]).good();
}

/// Whether a file is part of no target: staged, and forgotten.
fn is_staged(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "_sluis") && !path.components().any(|c| c.as_os_str() == ".sources")
}
