//! Rejected rows, read back from wherever a pipeline's `rejects` go: files of any format, or a table of the lake.
//!
//! Deliberately not here: showing them (`faults`), trying them again (`replay`).

use std::sync::Arc;

use arrow_array::RecordBatch;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use sluis_config::Target;
use sluis_core::{Error, ErrorKind, Result, TableResolver, TableSource};
use sluis_formats::cell::Cells;

use crate::assemble::{Parts, rejects_target};
use crate::session::Session;
use crate::tables::{FileTable, LazyLake, reader};

/// One rejected row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rejected {
    pub lane: String,
    pub epoch: u64,
    pub file: String,
    pub line: u64,
    pub column: Option<String>,
    pub reason: String,
    pub message: String,
    pub raw: Vec<u8>,
    /// As text.
    pub at: String,
}

/// Which of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub reason: Option<String>,
    /// A part of the file's address.
    pub file: Option<String>,
    pub epoch: Option<u64>,
    /// The column, or the check.
    pub column: Option<String>,
    /// Of this moment or later; a row whose time cannot be read is none.
    pub since: Option<DateTime<Utc>>,
}

impl Filter {
    fn takes(&self, row: &Rejected) -> bool {
        self.reason.as_ref().is_none_or(|r| *r == row.reason)
            && self.column.as_ref().is_none_or(|c| row.column.as_ref() == Some(c))
            && self.since.is_none_or(|since| row.at.parse::<DateTime<Utc>>().is_ok_and(|at| at >= since))
            && self.file.as_ref().is_none_or(|f| row.file.contains(f.as_str()))
            && self.epoch.is_none_or(|e| e == row.epoch)
    }
}

/// Gives every rejected row of the pipeline to `each`.
///
/// # Errors
/// Those of the place they are in; those of `each`.
pub async fn read(session: &Session, parts: &Parts, filter: &Filter, each: &mut dyn FnMut(Rejected) -> Result<()>) -> Result<()> {
    let target = rejects_target(session, &parts.project, &parts.pipeline);
    let hex = target.config["format"].as_str() == Some("json") || target.config["format"].get("json").is_some();
    let Some(table) = table(session, parts, &target).await? else { return Ok(()) };
    let mut batches = table.scan(None).await?;
    while let Some(batch) = batches.next().await {
        for row in rows(&batch?, parts.pipeline.name.as_str(), hex)? {
            if filter.takes(&row) {
                each(row)?;
            }
        }
    }
    Ok(())
}

/// What the target holds, as a table. `None`: nothing was written to it yet.
async fn table(session: &Session, parts: &Parts, target: &Target) -> Result<Option<Arc<dyn TableSource>>> {
    let config = &target.config;
    match target.def.name {
        "files" => {
            let Some(source) = session.registry().source("files") else { return Err(Error::internal("this build reads no files")) };
            let mut from = json!({ "url": config["url"] });
            if !config["connection"].is_null() {
                from["connection"] = config["connection"].clone();
            }
            let source = (source.build)(&parts.context, &from)?;
            let (name, options) = read_options(&config["format"]);
            let format = session.registry().format(name).ok_or_else(|| Error::config(format!("rejects written as `{name}` cannot be read back")))?;
            match FileTable::new(source, Some(reader(format, &options)?), parts.pipeline.settings.batch_rows.get()).await {
                Ok(table) => Ok(Some(Arc::new(table))),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        }
        "table" => {
            let path: Vec<String> = config["name"].as_str().unwrap_or_default().split('.').map(str::to_owned).collect();
            LazyLake::new(&parts.project).resolve(&path).await
        }
        other => Err(Error::config(format!("rejects that went to `{other}` cannot be read back")).hint("look at them where they are")),
    }
}

/// How files that a target wrote are read: its format's name and options.
fn read_options(format: &Value) -> (&str, Value) {
    let (name, options) = match format {
        Value::String(name) => (name.as_str(), json!({})),
        Value::Object(map) => map.iter().next().map_or(("parquet", json!({})), |(k, v)| (k.as_str(), v.clone())),
        _ => ("parquet", json!({})),
    };
    let mut read = json!({});
    if name == "csv" {
        // Everything as the text it is.
        read["columns"] = "string".into();
        for key in ["delimiter", "quote", "header"] {
            if !options[key].is_null() {
                read[key] = options[key].clone();
            }
        }
    }
    (name, read)
}

fn rows(batch: &RecordBatch, pipeline: &str, hex: bool) -> Result<Vec<Rejected>> {
    let cells = |name: &str| batch.column_by_name(name).map(Cells::new).transpose();
    let (pipelines, lane, epoch, file, line) = (cells("pipeline")?, cells("lane")?, cells("epoch")?, cells("file")?, cells("line")?);
    let (column, reason, message, raw, at) = (cells("column")?, cells("reason")?, cells("message")?, cells("raw")?, cells("rejected_at")?);
    let bytes = |cells: &Option<Cells>, row: usize| {
        cells.as_ref().filter(|c| !c.is_null(row)).map(|c| {
            let mut out = Vec::new();
            c.text(row, &mut out);
            out
        })
    };
    let text = |cells: &Option<Cells>, row: usize| bytes(cells, row).map(|b| String::from_utf8_lossy(&b).into_owned());
    let number = |cells: &Option<Cells>, row: usize| text(cells, row).and_then(|t| t.parse().ok()).unwrap_or(0);
    let one = |row: usize| {
        let raw = bytes(&raw, row).unwrap_or_default();
        Rejected {
            lane: text(&lane, row).unwrap_or_else(|| "main".into()),
            epoch: number(&epoch, row),
            file: text(&file, row).unwrap_or_default(),
            line: number(&line, row),
            column: text(&column, row),
            reason: text(&reason, row).unwrap_or_default(),
            message: text(&message, row).unwrap_or_default(),
            raw: if hex { unhex(&raw).unwrap_or(raw) } else { raw },
            at: text(&at, row).unwrap_or_default(),
        }
    };
    // Several pipelines may share a target.
    let ours = |row: &usize| text(&pipelines, *row).is_none_or(|p| p == pipeline);
    Ok((0..batch.num_rows()).filter(ours).map(one).collect())
}

/// JSON files hold bytes as hexadecimal digits.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    digits.chunks(2).map(|pair| Some(value(pair[0])? << 4 | value(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_hexadecimal_digits() {
        assert_eq!(unhex(b"61ff"), Some(vec![0x61, 0xff]));
        assert_eq!((unhex(b"6"), unhex(b"zz")), (None, None));
    }

    #[test]
    fn files_are_read_as_they_were_written() {
        assert_eq!(read_options(&json!("parquet")), ("parquet", json!({})));
        assert_eq!(read_options(&json!({ "csv": { "delimiter": ";", "null": "-" } })), ("csv", json!({ "columns": "string", "delimiter": ";" })));
    }

    #[test]
    fn filters_narrow() {
        let row = Rejected { reason: "bad_value".into(), file: "/in/a.csv".into(), epoch: 3, ..Rejected::default() };
        assert!(Filter::default().takes(&row));
        let row = Rejected { at: "2026-01-31 12:00:00.5Z".into(), column: Some("price".into()), ..row };
        let since = |text: &str| Some(text.parse().unwrap());
        let all = Filter {
            reason: Some("bad_value".into()),
            file: Some("a.csv".into()),
            epoch: Some(3),
            column: Some("price".into()),
            since: since("2026-01-31T12:00:00Z"),
        };
        assert!(all.takes(&row));
        assert!(!Filter { epoch: Some(4), ..all.clone() }.takes(&row));
        assert!(!Filter { column: Some("pric".into()), ..all.clone() }.takes(&row));
        assert!(!Filter { since: since("2026-01-31T12:00:01Z"), ..all.clone() }.takes(&row));
        assert!(!Filter { reason: Some("bad_quote".into()), ..all }.takes(&row));
    }
}
