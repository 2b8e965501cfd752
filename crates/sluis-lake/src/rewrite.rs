//! Data files written again by a commit: all of their rows or some, with the table's present columns.
//!
//! Deliberately not here: which files and rows (`upsert`, `retype`). Guarantees: a file stays of one partition and of the source file that
//! its name tells; memory is bounded by a row group as it will be written.

use arrow_array::BooleanArray;
use arrow_schema::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::DataFile;
use sluis_core::{CommitKey, Error, Result, crash};

use crate::facts::Facts;
use crate::ids::Owner;
use crate::lake::Version;
use crate::read::{self, FileToRead};
use crate::remove::mark;
use crate::table::Table;
use crate::work::unfit;
use crate::writer::Output;

/// Writes data files again for one try of a commit.
pub struct Rewriter<'a> {
    table: &'a Table,
    version: &'a Version,
    /// What is read of each file, and what it is written as: the same columns.
    reading: SchemaRef,
    writing: SchemaRef,
    prefix: String,
    /// The addresses so far.
    pub written: Vec<String>,
}

impl<'a> Rewriter<'a> {
    pub fn new(table: &'a Table, version: &'a Version, key: &CommitKey, reading: SchemaRef, writing: SchemaRef) -> Self {
        let folder = table.data_folder(version, &key.lane.lane, key.epoch.0);
        let id = Owner::of(key, version.metadata.uuid()).id(key.epoch.0);
        let prefix = format!("{folder}/{:010}-k{}-00000", key.epoch.0, id.simple());
        Self { table, version, reading, writing, prefix, written: Vec::new() }
    }

    /// Writes a file again; of its rows those that stay, if it is said which.
    pub async fn again(&mut self, file: &DataFile, spec: i32, stays: Option<&[bool]>) -> Result<DataFile> {
        let metadata = &self.version.metadata;
        let schema = metadata.current_schema();
        let spec = metadata.partition_spec_by_id(spec).ok_or_else(|| Error::internal("a data file's partition spec is gone"))?;
        let number = self.written.len() as u32;
        let origin = mark(file.file_path()).map(|m| format!("-{m}")).unwrap_or_default();
        let path = format!("{}-{number:05}{origin}.parquet", self.prefix);
        let identity = Facts {
            table: metadata.uuid().to_string(),
            path: path.clone(),
            rows: 0,
            size: 0,
            order: (0, number),
            spec: spec.spec_id(),
            partition: Facts::partition_text(file.partition(), spec, schema)?,
            columns: Default::default(),
            splits: Vec::new(),
        };
        self.written.push(path);
        let mut output = Output::begin(self.table, &self.writing, identity).await?;
        let mut batches = read::open(&self.table.lake, &to_read(file), &self.reading).await?;
        let mut at = 0;
        while let Some(batch) = batches.try_next().await? {
            let rows = at..at + batch.num_rows();
            at = rows.end;
            let kept = match stays {
                None => batch,
                Some(stays) => {
                    let mask = stays.get(rows).ok_or_else(|| Error::internal("a data file has more rows than its keys"))?;
                    arrow_select::filter::filter_record_batch(&batch, &BooleanArray::from(mask.to_vec())).map_err(unfit)?
                }
            };
            if kept.num_rows() > 0 {
                output = output.write(kept).await?;
            }
        }
        let facts = output.finish(schema).await?;
        crash::point("sink.mid_rewrite")?;
        facts.data_file(spec, schema)
    }
}

/// A data file of the table, to be read.
pub fn to_read(file: &DataFile) -> FileToRead {
    FileToRead { location: file.file_path().to_owned(), size: file.file_size_in_bytes() }
}
