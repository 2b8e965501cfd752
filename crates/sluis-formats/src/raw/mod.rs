//! Raw: bytes pass through. A file is rows of one binary column `content`, piece by piece; written back to back they are the file again,
//! byte for byte.
//!
//! Deliberately not here: decompression, lines, any meaning. Guarantees: no byte is added, lost or changed.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use sluis_core::{Decoded, Encoder, EncoderFactory, Error, FileFormat, FormatDef, RawFile, ReadOptions, Result, RowOrigins};

use crate::def::config_of;

/// The column's name.
pub const CONTENT: &str = "content";

/// `raw:`.
pub static RAW: FormatDef = FormatDef {
    name: "raw",
    summary: "bytes as they are: one binary column, piece by piece",
    schema: || schemars::schema_for!(RawRead),
    validate: |_| Vec::new(),
    reader: Some(|v| {
        config_of::<RawRead>("raw", v)?;
        Ok(Arc::new(Raw))
    }),
    writer: Some(|v| Ok(Arc::new(RawFactory { extension: config_of::<RawWrite>("raw", v)?.extension }))),
    declared_columns: |_| Some(schema()),
    sniff: None,
};

/// Bytes as they are. Nothing to set for reading.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawRead {
    /// Writing: the ending of the files' names. Default `bin`.
    pub extension: Option<String>,
}

/// How raw files are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawWrite {
    /// Writing: the ending of the files' names. Default `bin`.
    pub extension: String,
}

impl Default for RawWrite {
    fn default() -> Self {
        Self { extension: "bin".into() }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(CONTENT, DataType::Binary, true)]))
}

struct Raw;

#[async_trait]
impl FileFormat for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }
    async fn infer(&self, _: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        Ok(known.map_or_else(schema, |k| sluis_core::columns::unite(&schema(), k)))
    }
    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        let keep = options.keep_origins;
        let input = file.stream().await?;
        let pieces = input.enumerate().map(move |(n, piece)| decoded(piece?, n as u64 + 1, keep));
        let last = futures::stream::once(async move { file.verify().await }).filter_map(|r| std::future::ready(r.err().map(Err)));
        Ok(pieces.chain(last).boxed())
    }
}

fn decoded(piece: Bytes, number: u64, keep_origins: bool) -> Result<Decoded> {
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values([&piece]));
    let batch = RecordBatch::try_new(schema(), vec![column]).map_err(|e| Error::internal("a piece of bytes is no batch").source(e))?;
    let origins = keep_origins.then(|| RowOrigins { lines: vec![number], raw: None });
    Ok(Decoded { batch, origins, rejects: Vec::new(), misfits: Vec::new(), surplus: Vec::new() })
}

struct RawFactory {
    extension: String,
}

impl EncoderFactory for RawFactory {
    fn name(&self) -> &'static str {
        "raw"
    }
    fn extension(&self) -> String {
        self.extension.clone()
    }
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
        let fields = schema.fields();
        if fields.len() != 1 || !matches!(fields[0].data_type(), DataType::Binary | DataType::Utf8) {
            let have: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
            return Err(Error::config(format!("raw files are written from one binary or string column, not from {}", have.join(", ")))
                .hint("select one column, or choose another format"));
        }
        Ok(Box::new(RawEncoder))
    }
}

struct RawEncoder;

impl Encoder for RawEncoder {
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let column = batch.column(0);
        match column.data_type() {
            DataType::Binary => column.as_binary::<i32>().iter().flatten().for_each(|v| out.extend_from_slice(v)),
            DataType::Utf8 => column.as_string::<i32>().iter().flatten().for_each(|v| out.extend_from_slice(v.as_bytes())),
            other => return Err(Error::internal(format!("a raw encoder was given {other}"))),
        }
        Ok(())
    }
    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
    fn buffered_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::memory_file_in_pieces;

    #[tokio::test]
    async fn bytes_pass_through() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let reader = (RAW.reader.unwrap())(&serde_json::Value::Null).unwrap();
        let options = ReadOptions { schema: schema(), batch_rows: 100, threads: 1, keep_origins: true, misfits: Default::default() };
        let mut rows = reader.read(memory_file_in_pieces("/a.bin", bytes.clone(), 999), &options).await.unwrap();
        let mut encoder = crate::writer_from_value(&"raw".into()).unwrap().encoder(&schema()).unwrap();
        let mut out = Vec::new();
        while let Some(d) = rows.next().await {
            encoder.write(&d.unwrap().batch, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        assert!(out == bytes);
    }
}
