//! The simulator's own file format, `ID,VALUE` a line: anything else on a line is a reject. Values are whole numbers if all of the sample are, else
//! text; in a column of numbers another value is told, or its line a reject.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_core::{Decoded, FileFormat, Misfit, RawFile, ReadOptions, Reject, RejectReason, Result, RowOrigins};

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

/// `id bigint, value …`.
fn schema(value: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("value", value, true)]))
}

/// The type of values in a schema.
fn value_type(schema: &Schema) -> DataType {
    schema.field_with_name("value").map_or(DataType::Utf8, |f| f.data_type().clone())
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

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let mut numbers = known.is_none_or(|k| value_type(k) == DataType::Int64);
        for file in sample {
            let text = whole(file).await?;
            numbers = numbers && text.lines().filter_map(parse).all(|(_, value)| value.parse::<i64>().is_ok());
        }
        Ok(schema(if numbers { DataType::Int64 } else { DataType::Utf8 }))
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let text = whole(&file).await?;
        let lines: Vec<(u64, &str)> = (1..).zip(text.lines()).collect();
        let parts: Vec<Result<Decoded>> = lines.chunks(options.batch_rows.max(1)).map(|lines| Ok(decode(lines, options))).collect();
        let end = async move { file.verify().await.err() };
        let end = stream::once(end).filter_map(|e| async { e.map(Err) });
        Ok(stream::iter(parts).chain(end).boxed())
    }
}

async fn whole(file: &Arc<dyn RawFile>) -> Result<String> {
    let chunks: Vec<Bytes> = file.stream().await?.try_collect().await?;
    Ok(String::from_utf8_lossy(&chunks.concat()).into_owned())
}

fn decode(lines: &[(u64, &str)], options: &ReadOptions) -> Decoded {
    let numbers = value_type(&options.schema) == DataType::Int64;
    let fits = |value: &str| !numbers || options.misfits.told("value") || value.parse::<i64>().is_ok();
    let (mut ids, mut values, mut at, mut rejects, mut misfits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, line) in lines {
        match parse(line).filter(|(_, value)| fits(value)) {
            Some((id, value)) => {
                if numbers && value.parse::<i64>().is_err() {
                    misfits.push(Misfit { row: ids.len(), column: 1, text: value.to_owned(), fits: DataType::Utf8 });
                }
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
    let values: ArrayRef = match numbers {
        true => Arc::new(Int64Array::from_iter(values.iter().map(|v| v.parse::<i64>().ok()))),
        false => Arc::new(StringArray::from(values)),
    };
    let batch = RecordBatch::try_new(schema(value_type(&options.schema)), vec![Arc::new(Int64Array::from(ids)), values]);
    Decoded {
        batch: batch.expect("two columns of one length"),
        origins: options.keep_origins.then_some(RowOrigins { lines: at, raw: None }),
        rejects,
        misfits,
        surplus: Vec::new(),
    }
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
