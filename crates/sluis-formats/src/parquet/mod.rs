//! Parquet, by the `parquet` crate: a reader over ranges of bytes; written by the crate `sluis-parquet`.
//!
//! Deliberately not here: the format itself. Guarantees: types are normalised (`cast.rs`) and then cast to the pinned schema without loss;
//! a damaged file is `CorruptInput`, also where its metadata lie; memory is bounded by windows of bytes and by
//! pages (`max_page`), not by row groups.

pub mod config;
pub mod encode;
pub mod pages;
pub mod read;
pub mod window;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use self::config::{ParquetRead, ParquetWrite};
use crate::def::{config_of, lenient, merged_schema, sniff_magic};
use crate::sample::united;

/// `parquet:`.
pub static PARQUET: FormatDef = FormatDef {
    name: "parquet",
    summary: "Apache Parquet, columnar and compressed",
    schema: || merged_schema(&schemars::schema_for!(ParquetRead), &schemars::schema_for!(ParquetWrite)),
    validate: |v| {
        let Ok(config) = lenient::<ParquetRead>(v) else { return Vec::new() };
        let mistake = config.checked().err();
        mistake.into_iter().map(|message| Problem { at: vec!["max_page".into()], message, hint: None }).collect()
    },
    reader: Some(|v| {
        let config = config_of::<ParquetRead>("parquet", v)?.checked().map_err(|e| Error::config(format!("parquet: max_page: {e}")))?;
        Ok(Arc::new(Parquet { max_page: config.max_page.0 }))
    }),
    writer: Some(|v| Ok(Arc::new(encode::ParquetFactory::new(config_of::<ParquetWrite>("parquet", v)?.checked()?)))),
    declared_columns: |_| None,
    sniff: Some(|heads| sniff_magic(heads, b"PAR1")),
};

struct Parquet {
    max_page: u64,
}

#[async_trait]
impl FileFormat for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let files: Vec<_> = sample.iter().cloned().map(read::columns).collect();
        united(files, known).await
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        Ok(read::rows(file, options.clone(), self.max_page).boxed())
    }
}

#[cfg(test)]
mod tests;
