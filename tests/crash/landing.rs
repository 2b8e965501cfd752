//! A project whose every row is known, and the conservation check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluis_lake::Lake;
use sluis_testkit::binary::{Sluis, files_below};
use tempfile::TempDir;

pub fn sluis() -> Sluis {
    Sluis::new(env!("CARGO_BIN_EXE_sluis"))
}

/// The project's folder, and what was put into it so far.
pub struct Landing {
    dir: TempDir,
    files: u64,
}

/// Good rows of a file; every third file has a bad one too.
const ROWS: u64 = 5;

impl Landing {
    /// With `pipeline.yaml` as given, and `sluis.yaml` if that is not empty.
    pub fn new(pipeline: &str, project: &str) -> Landing {
        let dir = tempfile::Builder::new().prefix("sluis-crash-").tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("in")).expect("a folder");
        std::fs::create_dir_all(dir.path().join("pipelines")).expect("a folder");
        std::fs::write(dir.path().join("pipelines/shot.yaml"), pipeline).expect("the pipeline");
        std::fs::write(dir.path().join("sluis.yaml"), project).expect("the project");
        Landing { dir, files: 0 }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new file arrives, whole at once.
    pub fn arrive(&mut self) {
        let n = self.files;
        self.files += 1;
        let mut text = String::from("id,word\n");
        for row in 0..ROWS {
            text.push_str(&format!("{},w{n}\n", n * ROWS + row));
        }
        if n.is_multiple_of(3) {
            text.push_str("bad,row\n");
        }
        let (hidden, name) = (self.path().join(format!("in/.{n}.tmp")), self.path().join(format!("in/{n:05}.csv")));
        std::fs::write(&hidden, text).expect("a file");
        std::fs::rename(hidden, name).expect("a file");
    }

    pub fn run(&self) {
        sluis().run(self.path(), &["run", "--quiet"], &[]).good();
    }

    fn wanted(&self) -> Vec<u64> {
        (0..self.files * ROWS).collect()
    }

    /// Every reject is on record once, and the ledger is in order.
    pub fn check_books(&self) {
        sluis().run(self.path(), &["ledger", "fsck"], &[]).good();
        let rejects = sluis().run(self.path(), &["rejects", "show", "--json"], &[]).good();
        let mut files: Vec<String> = rejects
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).expect("a reject as JSON");
                row["file"].as_str().and_then(|f| f.rsplit('/').next()).unwrap_or_default().to_owned()
            })
            .collect();
        files.sort();
        let want: Vec<String> = (0..self.files).filter(|n| n % 3 == 0).map(|n| format!("{n:05}.csv")).collect();
        assert_eq!(files, want, "rejects");
        let staged = staged_below(&self.path().join(".sluis/rejects"));
        assert!(staged.is_empty(), "left behind by rejects: {staged:?}");
    }

    /// Every row is once in the table.
    pub fn check_table(&self, name: &str) {
        let text = sluis().run(self.path(), &["sql", "--csv", &format!("select id from {name} order by id")], &[]).good();
        let ids: Vec<u64> = text.lines().skip(1).map(|l| l.parse().expect("an id")).collect();
        assert_conserved("the table", ids, self.wanted());
    }

    /// Every row is once in the CSV files below `out/`, and nothing else is there.
    pub fn check_files(&self) {
        let mut ids: Vec<u64> = Vec::new();
        assert!(!self.path().join("out/_sluis").exists(), "an empty folder is left behind");
        for file in files_below(&self.path().join("out")) {
            assert!(file.extension().is_some_and(|e| e == "csv"), "left behind: {}", file.display());
            let text = std::fs::read_to_string(&file).expect("a file");
            ids.extend(text.lines().skip(1).map(|l| l.split(',').next().and_then(|id| id.parse::<u64>().ok()).expect("an id")));
        }
        assert_conserved("the files", ids, self.wanted());
    }

    /// In the lake's folder is nothing but the catalog and the files that tables name: data, manifests and metadata, of all snapshots that are kept.
    pub fn check_lake(&self) {
        let (dir, state) = (self.path().to_owned(), self.path().join(".sluis"));
        let named: BTreeSet<String> = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            let lake = Lake::open(&json!({}), &serde_json::Map::new(), &dir, &state).expect("the lake");
            let mut named = BTreeSet::new();
            for table in lake.tables().await.expect("tables") {
                named.extend(lake.named_files(&table).await.expect("files"));
            }
            named
        });
        let named: BTreeSet<PathBuf> = named.iter().filter_map(|n| std::fs::canonicalize(n).ok()).collect();
        let lake = std::fs::canonicalize(state.join("lake")).expect("the lake");
        // The catalog, and what SQLite keeps beside it.
        let catalog = |f: &PathBuf| f.parent() == Some(&lake) && f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("catalog.db"));
        let stray: Vec<PathBuf> = files_below(&lake).into_iter().filter(|f| !catalog(f) && !named.contains(f)).collect();
        assert!(stray.is_empty(), "no table names {} files of the lake: {stray:?}", stray.len());
    }
}

/// What is staged below a folder.
fn staged_below(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|f| f.components().any(|c| c.as_os_str() == "_sluis")).collect()
}

fn assert_conserved(where_: &str, mut got: Vec<u64>, want: Vec<u64>) {
    got.sort_unstable();
    let twice: Vec<u64> = got.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    let there: BTreeSet<u64> = got.iter().copied().collect();
    let lost: Vec<u64> = want.iter().copied().filter(|id| !there.contains(id)).collect();
    assert!(twice.is_empty() && lost.is_empty(), "{where_}: lost {lost:?}, there twice {twice:?}");
    assert_eq!(got, want, "{where_}");
}
