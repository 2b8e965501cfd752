//! Parquet files as an encoder of the formats, by the crate `sluis-parquet`.
//!
//! Deliberately not here: how batches become columns, pages and row groups.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use sluis_core::{Encoder, EncoderFactory, Error, Result};
use sluis_parquet::{FileEncoder, Layout};

use super::config::{PageCompression, ParquetWrite};

/// Makes Parquet encoders.
#[derive(Clone)]
pub struct ParquetFactory {
    config: ParquetWrite,
}

impl ParquetFactory {
    /// With options that have been checked.
    pub fn new(config: ParquetWrite) -> Self {
        Self { config }
    }

    fn layout(&self) -> Result<Layout> {
        let ParquetWrite { compression, level, dictionary, row_group_rows, row_group_size } = &self.config;
        let zstd = || level.map_or(Ok(ZstdLevel::default()), |l| ZstdLevel::try_new(l as i32)).map_err(failed);
        let gzip = || level.map_or(Ok(GzipLevel::default()), GzipLevel::try_new).map_err(failed);
        let compression = match compression {
            PageCompression::Snappy => Compression::SNAPPY,
            PageCompression::Zstd => Compression::ZSTD(zstd()?),
            PageCompression::Lz4 => Compression::LZ4_RAW,
            PageCompression::Gzip => Compression::GZIP(gzip()?),
            PageCompression::None => Compression::UNCOMPRESSED,
        };
        let created_by = format!("sluis {}", env!("CARGO_PKG_VERSION"));
        let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(*dictionary).set_created_by(created_by);
        Ok(Layout { properties: properties.build(), group_rows: *row_group_rows, group_bytes: row_group_size.0 as usize })
    }
}

impl EncoderFactory for ParquetFactory {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extension(&self) -> String {
        "parquet".into()
    }

    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(ParquetEncoder(FileEncoder::new(schema, self.layout()?)?)))
    }
}

struct ParquetEncoder(FileEncoder);

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.0.write(batch, out)
    }

    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        self.0.finish(out).map(drop)
    }

    fn buffered_bytes(&self) -> usize {
        self.0.buffered()
    }
}

fn failed(e: ParquetError) -> Error {
    Error::internal("a level of compression was checked and is refused").source(e)
}
