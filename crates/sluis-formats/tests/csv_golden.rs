//! Golden files: one folder below `tests/csv/` for each thing that a reader of CSV files must do. `options.json` is what stands below `csv:`,
//! `input…` are the files, read in order of their names, and `expected.txt` is what comes out: columns, rows, rejects, errors.
//!
//! `SLUIS_BLESS=1` writes what comes out; look at the difference.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use serde_json::Value;
use sluis_core::columns::type_name;
use sluis_core::{FileFormat, RawFile, ReadOptions};
use sluis_formats::CSV;
use sluis_formats::cell::Cells;
use sluis_formats::memory::memory_file_in_pieces;

/// What the reader says of the files of a folder.
async fn told(folder: &Path, piece: usize) -> String {
    let options: Value = serde_json::from_slice(&std::fs::read(folder.join("options.json")).expect("options")).expect("JSON");
    let problems = (CSV.validate)(&options);
    assert!(problems.is_empty(), "{}: {problems:?}", folder.display());
    let reader: Arc<dyn FileFormat> = CSV.reader.expect("a reader")(&options).expect("valid options");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("input")));
    paths.sort();
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let files: Vec<Arc<dyn RawFile>> =
        paths.iter().map(|p| memory_file_in_pieces(format!("/{}", name(p)), std::fs::read(p).expect("an input"), piece)).collect();
    let schema = reader.infer(&files, None).await.expect("a schema");
    let mut out = String::new();
    for field in schema.fields() {
        out.push_str(&format!("column {}: {}\n", field.name(), type_name(field.data_type())));
    }
    for file in files {
        out.push_str(&format!("\n== {}\n", &file.version().path[1..]));
        let read = ReadOptions { schema: schema.clone(), batch_rows: 64, threads: 2, keep_origins: false, misfits: Default::default() };
        let mut stream = reader.read(file, &read).await.expect("a stream");
        let mut first = true;
        while let Some(item) = stream.next().await {
            match item {
                Err(e) => out.push_str(&format!("error {:?}: {}\n", e.kind(), e.message())),
                Ok(d) => {
                    if std::mem::take(&mut first) {
                        let names: Vec<&str> = d.batch.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
                        out.push_str(&format!("names {}\n", names.join(" | ")));
                    }
                    rows(&d.batch, &mut out);
                    d.surplus.iter().for_each(|s| out.push_str(&format!("surplus of row {}: {}\n", s.row, s.members)));
                    for r in &d.rejects {
                        let column = r.column.as_deref().map(|c| format!(" in {c}")).unwrap_or_default();
                        out.push_str(&format!(
                            "reject line {}: {}{column}: {}\n  {:?}\n",
                            r.line,
                            r.reason.code(),
                            r.message,
                            String::from_utf8_lossy(&r.raw)
                        ));
                    }
                }
            }
        }
    }
    out
}

fn rows(batch: &arrow_array::RecordBatch, out: &mut String) {
    let columns: Vec<Cells> = batch.columns().iter().map(|c| Cells::new(c).expect("cells")).collect();
    for row in 0..batch.num_rows() {
        let cell = |c: &Cells| {
            let mut text = Vec::new();
            if c.is_null(row) {
                return "null".to_owned();
            }
            c.text(row, &mut text);
            String::from_utf8(text).expect("UTF-8").escape_debug().to_string()
        };
        out.push_str(&format!("row {}\n", columns.iter().map(cell).collect::<Vec<_>>().join(" | ")));
    }
}

#[tokio::test]
async fn every_folder_reads_as_expected() {
    let bless = std::env::var_os("SLUIS_BLESS").is_some();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/csv"))
        .expect("the golden files")
        .map(|e| e.expect("an entry").path())
        .collect();
    folders.sort();
    let mut wrong = Vec::new();
    for folder in &folders {
        let got = told(folder, 1 << 20).await;
        assert_eq!(got, told(folder, 3).await, "{}: in pieces", folder.display());
        let path = folder.join("expected.txt");
        if bless {
            std::fs::write(&path, &got).expect("a place for what is expected");
        } else if std::fs::read_to_string(&path).unwrap_or_default() != got {
            wrong.push(format!("{}:\n{got}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(folders.len() >= 30, "golden files are missing: {}", folders.len());
}
