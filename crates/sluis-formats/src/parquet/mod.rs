//! Parquet, by the `parquet` crate: a reader over ranges of bytes, and an encoder that works on several columns at once.
//!
//! Deliberately not here: the format itself. Guarantees: types are normalised (`cast.rs`) and then cast to the pinned schema without loss;
//! a damaged file is `CorruptInput`, also where its metadata lie; memory is bounded by windows of bytes and by
//! pages (`max_page`), not by row groups.

pub mod config;
pub mod encode;
pub mod pages;
pub mod read;
pub mod repeats;
pub mod window;

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::columns::unite;
use sluis_core::registry::Problem;
use sluis_core::{Decoded, Error, ErrorKind, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use self::config::{ParquetRead, ParquetWrite};
use crate::def::{config_of, lenient, merged_schema, sniff_magic};

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

/// Footers read at once.
const AT_ONCE: usize = 16;

#[async_trait]
impl FileFormat for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let files: Vec<_> = sample.iter().cloned().map(read::columns).collect();
        let mut found = stream::iter(files).buffered(AT_ONCE);
        let mut all: SchemaRef = known.cloned().unwrap_or_else(|| Arc::new(Schema::empty()));
        while let Some(columns) = found.next().await {
            match columns {
                Ok(Some(columns)) => all = unite(&all, &columns),
                Ok(None) => {}
                // Reading will say what is wrong with it.
                Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        Ok(read::rows(file, options.clone(), self.max_page).boxed())
    }
}

#[cfg(test)]
mod tests;
