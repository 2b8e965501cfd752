//! The data files of tables: Parquet with field ids, by the crate `sluis-parquet`, and what Parquet does not say of them.
//!
//! Deliberately not here: how batches become columns, pages and row groups; where bytes go.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use sluis_core::Result;
use sluis_parquet::{FileEncoder, Layout};

/// One file being encoded.
pub struct DataEncoder {
    file: FileEncoder,
    nans: BTreeMap<i32, u64>,
}

/// What a finished file says of itself.
pub struct Finished {
    pub metadata: ParquetMetaData,
    /// By field id, of the columns that can have any.
    pub nans: BTreeMap<i32, u64>,
}

impl DataEncoder {
    /// For batches of `schema`, whose fields carry their ids.
    pub fn new(schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        Ok(Self { file: FileEncoder::new(schema, Layout::new(properties))?, nans: BTreeMap::new() })
    }

    /// Takes rows; what can leave memory is appended to `out`.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.count_nans(batch);
        self.file.write(batch, out)
    }

    /// Ends the file.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Finished> {
        Ok(Finished { metadata: self.file.finish(out)?, nans: self.nans })
    }

    /// Bytes held, about as they will be written.
    pub fn buffered(&self) -> usize {
        self.file.buffered()
    }

    fn count_nans(&mut self, batch: &RecordBatch) {
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let count = match array.data_type() {
                DataType::Float32 => array.as_primitive::<Float32Type>().iter().flatten().filter(|v| v.is_nan()).count(),
                DataType::Float64 => array.as_primitive::<Float64Type>().iter().flatten().filter(|v| v.is_nan()).count(),
                _ => continue,
            };
            let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok());
            if let Some(id) = id {
                *self.nans.entry(id).or_default() += count as u64;
            }
        }
    }
}
