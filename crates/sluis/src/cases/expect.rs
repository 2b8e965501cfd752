//! Expected rows, read: CSV with a header, JSON (lines or an array), or a table as `sluis sql` prints it.

use futures::StreamExt;
use serde_json::json;
use sluis_core::{Error, ReadOptions, Result};

use super::case::Text;
use crate::drawn::text_rows;

/// Rows as text under their columns' names; `None` is null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// Reads them.
///
/// # Errors
/// `ErrorKind::Config`: a row that cannot be read.
pub async fn read(text: &Text) -> Result<Rows> {
    let content = String::from_utf8_lossy(&text.bytes);
    let start = content.trim_start().chars().next();
    let ending = text.file.as_deref().and_then(|f| f.rsplit_once('.')).map(|(_, e)| e);
    match (ending, start) {
        (_, None) => Ok(Rows::default()),
        (Some("csv"), _) => parsed("csv", &text.bytes).await,
        (Some("json" | "jsonl" | "ndjson"), _) | (_, Some('{' | '[')) => parsed("json", &text.bytes).await,
        (_, Some('|' | '+')) => Ok(table(&content)),
        _ => parsed("csv", &text.bytes).await,
    }
}

async fn parsed(format: &str, bytes: &[u8]) -> Result<Rows> {
    let def = sluis_formats::all().into_iter().find(|d| d.name == format).and_then(|d| d.reader);
    let reader = def.ok_or_else(|| Error::internal("a format is not in this build"))?(&json!({ "columns": "string" }))?;
    let file = sluis_formats::memory_file("the expected rows", bytes.to_vec());
    let schema = reader.infer(std::slice::from_ref(&file), None).await?;
    let mut out = Rows { columns: schema.fields().iter().map(|f| f.name().clone()).collect(), rows: Vec::new() };
    let options = ReadOptions { schema, batch_rows: 8192, threads: 1, keep_origins: false, misfits: Default::default() };
    let mut decoded = reader.read(file, &options).await?;
    while let Some(d) = decoded.next().await {
        let d = d?;
        if let Some(reject) = d.rejects.first() {
            return Err(Error::config(format!("the expected rows cannot be read: line {}: {}", reject.line, reject.message)));
        }
        let index: Vec<Option<usize>> = out.columns.iter().map(|c| d.batch.schema_ref().index_of(c).ok()).collect();
        for row in text_rows(&d.batch)? {
            out.rows.push(index.iter().map(|i| i.and_then(|i| row[i].clone())).collect());
        }
    }
    Ok(out)
}

/// `| a | b |` under a header, with or without rules between.
fn table(text: &str) -> Rows {
    let lines = text.lines().map(str::trim).filter(|l| l.starts_with('|') && !l.chars().all(|c| "|-+=: ".contains(c)));
    let mut cells = lines.map(|l| l.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>());
    let columns = cells.next().unwrap_or_default();
    let rows = cells.map(|row| (0..columns.len()).map(|i| row.get(i).filter(|c| !c.is_empty()).cloned()).collect()).collect();
    Rows { columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Text {
        Text { file: None, bytes: content.as_bytes().to_vec() }
    }

    #[tokio::test]
    async fn every_form_means_the_same() {
        let expected =
            Rows { columns: vec!["a".into(), "b".into()], rows: vec![vec![Some("1".into()), Some("x y".into())], vec![Some("2".into()), None]] };
        for form in ["a,b\n1,x y\n2,\n", "{\"a\":1,\"b\":\"x y\"}\n{\"a\":2,\"b\":null}\n", "| a | b   |\n|---|-----|\n| 1 | x y |\n| 2 |     |\n"] {
            assert_eq!(read(&text(form)).await.unwrap(), expected, "{form}");
        }
        assert_eq!(read(&text("")).await.unwrap(), Rows::default());
        assert!(read(&text("a,b\n1,2,3\n")).await.is_err());
    }
}
