//! The lake's tables as SQL finds and reads them.
//!
//! Deliberately not here: SQL. Guarantees: a table is read as of one snapshot, the one that was current when its name was resolved.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use iceberg::spec::DataFileFormat;
use sluis_core::{Error, Result, TableResolver, TableSource};
use tokio::sync::mpsc;

use crate::catalog::TableName;
use crate::lake::{Lake, Version};
use crate::read::{self, FileToRead};
use crate::work::unfit;
use crate::{manifest, schema};

/// Files read side by side, in order.
const FILES_AHEAD: usize = 2;
/// Batches held of each.
const BATCHES_AHEAD: usize = 2;

/// Finds tables of the lake: `name`, `namespace.name`.
pub struct Resolver {
    lake: Lake,
}

impl Resolver {
    pub fn new(lake: Lake) -> Self {
        Self { lake }
    }
}

#[async_trait]
impl TableResolver for Resolver {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        let Ok(name) = TableName::parse(&path.join(".")) else { return Ok(None) };
        let version = match self.lake.load(&name).await? {
            Some(version) => version,
            None => {
                // SQL gives names that are not quoted in lower case.
                let all = self.lake.tables().await?;
                let mut alike = all.into_iter().filter(|t| t.to_string().eq_ignore_ascii_case(&name.to_string()));
                let (Some(only), None) = (alike.next(), alike.next()) else { return Ok(None) };
                match self.lake.load(&only).await? {
                    Some(version) => version,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Arc::new(Source { columns: schema::sql_columns(version.metadata.current_schema()), lake: self.lake.clone(), version })))
    }

    async fn names(&self) -> Result<Vec<Vec<String>>> {
        Ok(self.lake.tables().await?.iter().map(TableName::parts).collect())
    }
}

struct Source {
    lake: Lake,
    version: Arc<Version>,
    columns: SchemaRef,
}

/// The data files of a version.
pub async fn files(lake: &Lake, version: &Version) -> Result<Vec<FileToRead>> {
    let mut files = Vec::new();
    let manifests = manifest::current(lake, version).await?;
    if manifests.iter().any(manifest::lists_deletes) {
        return Err(Error::config(format!("table `{}` has delete files, which sluis does not read", version.name))
            .hint("let the engine that wrote them compact the table (rewrite its data files)"));
    }
    for m in manifests.iter().filter(|m| manifest::live_files(m) > 0) {
        for e in manifest::entries(lake, &version.metadata, m).await?.into_iter().filter(manifest::Entry::live) {
            if e.file.file_format() != DataFileFormat::Parquet {
                return Err(Error::config(format!("table `{}` has a data file that is not Parquet", version.name))
                    .context("file", e.file.file_path())
                    .hint("let an engine rewrite the table's data files as Parquet"));
            }
            files.push(FileToRead { location: e.file.file_path().to_owned(), size: e.file.file_size_in_bytes() });
        }
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(files)
}

#[async_trait]
impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        self.columns.clone()
    }

    async fn scan(&self, columns: Option<&[String]>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let held = schema::table_columns(self.version.metadata.current_schema());
        let chosen: Vec<usize> = match columns {
            None => (0..held.fields().len()).collect(),
            Some(names) => names
                .iter()
                .map(|n| held.index_of(n).map_err(|_| Error::not_found(format!("table `{}` has no column `{n}`", self.version.name))))
                .collect::<Result<_>>()?,
        };
        let wanted: SchemaRef = Arc::new(held.project(&chosen).map_err(unfit)?);
        let shown: SchemaRef = Arc::new(self.columns.project(&chosen).map_err(unfit)?);
        let files = files(&self.lake, &self.version).await?;
        let lake = self.lake.clone();
        let opened = stream::iter(files).map(move |file| std::future::ready(ahead(lake.clone(), file, wanted.clone()))).buffered(FILES_AHEAD);
        Ok(opened.flatten().map(move |batch| show(&batch?, &shown)).boxed())
    }
}

/// Reads a file on a task of its own.
fn ahead(lake: Lake, file: FileToRead, wanted: SchemaRef) -> BoxStream<'static, Result<RecordBatch>> {
    let (to, from) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        match read::open(&lake, &file, &wanted).await {
            Err(e) => {
                let _ = to.send(Err(e)).await;
            }
            Ok(mut batches) => {
                while let Some(batch) = batches.next().await {
                    if to.send(batch).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    stream::unfold(from, |mut from| async move { from.recv().await.map(|batch| (batch, from)) }).boxed()
}

/// Without the field ids.
fn show(batch: &RecordBatch, shown: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(shown.fields()).map(|(c, f)| schema::cast(c, f.data_type())).collect::<Result<Vec<_>>>()?;
    let fields = ArrowSchema::new(shown.fields().iter().cloned().collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(fields), columns, &options).map_err(unfit)
}
