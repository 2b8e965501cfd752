//! Data files as batches of the table's present columns, by field id.
//!
//! Deliberately not here: pruning, SQL. Guarantees: columns that a file lacks are null, narrower types are widened; bounded memory.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, Schema as ArrowSchema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use futures::{FutureExt, TryStreamExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use sluis_core::{Error, ErrorKind, Result};
use sluis_storage::StorageRef;

use crate::lake::Lake;
use crate::schema::{cast, convert};
use crate::work::unfit;

/// Files up to this size are read whole.
const WHOLE: u64 = 1 << 20;
/// Bytes of a file's end that are read first.
const TAIL: usize = 64 << 10;
/// Rows of a batch.
const BATCH: usize = 8192;

/// A data file to read.
#[derive(Debug, Clone)]
pub struct FileToRead {
    pub location: String,
    pub size: u64,
}

struct Reader {
    storage: StorageRef,
    path: String,
    size: u64,
    whole: Option<Bytes>,
}

impl Reader {
    async fn range(&mut self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        let own = |e: Error| ParquetError::External(Box::new(e));
        if self.size <= WHOLE && self.whole.is_none() {
            self.whole = Some(self.storage.read_range(&self.path, 0..self.size, None).await.map_err(own)?);
        }
        match &self.whole {
            Some(whole) if range.end <= whole.len() as u64 => Ok(whole.slice(range.start as usize..range.end as usize)),
            Some(whole) => Err(ParquetError::EOF(format!("byte {} of a file of {}", range.end, whole.len()))),
            None => self.storage.read_range(&self.path, range, None).await.map_err(own),
        }
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.range(range).boxed()
    }

    fn get_metadata<'a>(&'a mut self, _: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(TAIL));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

/// What a wanted field's metadata say of the ids that its column had before, with `,` between them.
const FORMERLY: &str = "sluis.formerly";

fn id(field: &Field) -> Option<&String> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)
}

/// A field to read that, where a file does not have it, is found by one of these ids, whose values are converted.
pub fn formerly(field: &Field, ids: &[i32]) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(FORMERLY.to_owned(), ids.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    field.clone().with_metadata(metadata)
}

/// Where the values of a wanted field are, and whether under an id of before.
fn place(have: &ArrowSchema, wanted: &Field) -> Option<(usize, bool)> {
    let by = |wanted: &str| have.fields().iter().position(|f| id(f).is_some_and(|id| id == wanted));
    let formers = wanted.metadata().get(FORMERLY);
    id(wanted).and_then(|own| by(own)).map(|i| (i, false)).or_else(|| formers.and_then(|ids| ids.split(',').find_map(by)).map(|i| (i, true)))
}

/// The field ids of a data file's columns.
pub async fn column_ids(lake: &Lake, file: &FileToRead) -> Result<Vec<i32>> {
    let reader = Reader { storage: lake.storage().clone(), path: lake.path(&file.location)?, size: file.size, whole: None };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|e| damaged(e).context("file", &file.location))?;
    Ok(builder.schema().fields().iter().filter_map(|f| id(f)?.parse().ok()).collect())
}

/// Reads columns of a data file. `wanted`: fields with ids.
pub async fn open(lake: &Lake, file: &FileToRead, wanted: &SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let failed = {
        let location = file.location.clone();
        move |e: ParquetError| damaged(e).context("file", &location)
    };
    let reader = Reader { storage: lake.storage().clone(), path: lake.path(&file.location)?, size: file.size, whole: None };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(&failed)?;
    let have = builder.schema().clone();
    if !have.fields().is_empty() && have.fields().iter().all(|f| id(f).is_none()) {
        return Err(Error::config("a data file of the table has no field ids")
            .context("file", &file.location)
            .hint("it was added to the table as it was, by name; let an engine rewrite the table's data files"));
    }
    let roots: Vec<usize> = wanted.fields().iter().filter_map(|w| place(&have, w)).map(|(i, _)| i).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let stream = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(&failed)?;
    let wanted = wanted.clone();
    Ok(stream.map_err(failed).map(move |batch| fit(&batch?, &wanted)).boxed())
}

/// By field id; nulls for what the file lacks.
fn fit(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let columns = wanted.fields().iter().map(|w| match place(batch.schema_ref(), w) {
        Some((i, false)) => cast(batch.column(i), w.data_type()).map_err(|e| e.context("column", w.name())),
        Some((i, true)) => convert(batch.column(i), w.data_type()).map_err(|e| e.context("column", w.name())),
        None => Ok(new_null_array(w.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    // A column that was made NOT NULL later is still read from older files.
    let fields: Vec<Field> = wanted.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options).map_err(unfit)
}

fn damaged(e: ParquetError) -> Error {
    let e = match e {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => return *own,
            Err(other) => ParquetError::External(other),
        },
        other => other,
    };
    Error::new(ErrorKind::CorruptInput, "a data file of the table cannot be read")
        .source(e)
        .hint("restore it from a copy, or remove its rows with another engine")
}
