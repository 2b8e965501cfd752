//! The columns of a sample of files that say themselves what they hold: Parquet, Avro, ORC.
//!
//! Deliberately not here: how one file is asked.

use std::future::Future;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::stream::{self, StreamExt};
use sluis_core::columns::unite;
use sluis_core::{ErrorKind, Result};

/// Files asked at once.
const AT_ONCE: usize = 16;

/// All columns that are `known` or that a file has; `None` from a file: it has no rows.
///
/// # Errors
/// Those of the files, but for damage and change: reading will say what is wrong with such a file.
pub async fn united(files: Vec<impl Future<Output = Result<Option<SchemaRef>>> + Send>, known: Option<&SchemaRef>) -> Result<SchemaRef> {
    let mut found = stream::iter(files).buffered(AT_ONCE);
    let mut all: SchemaRef = known.cloned().unwrap_or_else(|| Arc::new(Schema::empty()));
    while let Some(columns) = found.next().await {
        match columns {
            Ok(Some(columns)) => all = unite(&all, &columns),
            Ok(None) => {}
            Err(e) if matches!(e.kind(), ErrorKind::CorruptInput | ErrorKind::SourceChanged) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}
