//! The simulator's own file format, `ID,VALUE` a line: anything else on a line is a reject.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_core::{Decoded, FileFormat, RawFile, ReadOptions, Reject, RejectReason, Result, RowOrigins};

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

/// `id bigint, value string`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("value", DataType::Utf8, true)]))
}

/// What a line is.
pub fn parse(line: &str) -> Option<(i64, &str)> {
    let (id, value) = line.split_once(',')?;
    Some((id.parse().ok()?, value))
}

#[async_trait]
impl FileFormat for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    async fn infer(&self, _: &[Arc<dyn RawFile>], _: Option<&SchemaRef>) -> Result<SchemaRef> {
        Ok(schema())
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let chunks: Vec<Bytes> = file.stream().await?.try_collect().await?;
        let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
        let lines: Vec<(u64, &str)> = (1..).zip(text.lines()).collect();
        let parts: Vec<Result<Decoded>> = lines.chunks(options.batch_rows.max(1)).map(|lines| Ok(decode(lines, options.keep_origins))).collect();
        let end = async move { file.verify().await.err() };
        let end = stream::once(end).filter_map(|e| async { e.map(Err) });
        Ok(stream::iter(parts).chain(end).boxed())
    }
}

fn decode(lines: &[(u64, &str)], keep_origins: bool) -> Decoded {
    let (mut ids, mut values, mut at, mut rejects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, line) in lines {
        match parse(line) {
            Some((id, value)) => {
                ids.push(id);
                values.push(value);
                at.push(*n);
            }
            None => rejects.push(Reject {
                reason: RejectReason::BadValue,
                line: *n,
                column: None,
                message: "it is not ID,VALUE".into(),
                raw: Bytes::copy_from_slice(line.as_bytes()),
            }),
        }
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(values))];
    let batch = RecordBatch::try_new(schema(), columns).expect("two columns of one length");
    Decoded { batch, origins: keep_origins.then_some(RowOrigins { lines: at, raw: None }), rejects, misfits: Vec::new() }
}

/// Rows as text, the named columns with `,` between them: `7,seven`.
///
/// # Panics
/// If a column is missing or neither bigint nor string.
pub fn text(batch: &RecordBatch, columns: &[&str]) -> Vec<String> {
    let columns: Vec<&ArrayRef> = columns.iter().map(|c| batch.column_by_name(c).unwrap_or_else(|| panic!("no column {c}"))).collect();
    let cell = |array: &ArrayRef, row: usize| match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        other => panic!("a column of {other}"),
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|c| cell(c, row)).collect::<Vec<_>>().join(",")).collect()
}
