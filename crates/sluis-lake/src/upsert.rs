//! `mode: upsert`: rows with the keys of new rows leave (copy-on-write), and of new rows with one key the last one stays.
//!
//! Deliberately not here: the commit around it. Guarantees: memory is bounded by the keys of one epoch and a batch; files that cannot hold a
//! key (by their statistics or partition) are not read; files that hold none are not written again. Keys that are null equal each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use futures::TryStreamExt;
use iceberg::spec::{DataFile, Datum, PrimitiveType, Struct, Type};
use sluis_core::{CommitKey, Error, Result};

use crate::commit::Plan;
use crate::facts::Facts;
use crate::lake::Version;
use crate::manifest;
use crate::read::{self, FileToRead};
use crate::remove::Gone;
use crate::rewrite::{Rewriter, to_read};
use crate::schema::table_columns;
use crate::table::Table;
use crate::work::unfit;

/// Whether equality of values of a type is not what people think.
pub fn inexact(t: &Type) -> bool {
    matches!(t, Type::Primitive(PrimitiveType::Float | PrimitiveType::Double | PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs))
}

/// Keys of rows as bytes: equal bytes, equal keys.
pub struct Keys(Vec<ArrayRef>);

impl Keys {
    /// Of the columns `names` of a batch with the table's types.
    pub fn of(batch: &RecordBatch, names: &[String]) -> Result<Keys> {
        let column =
            |n: &String| batch.column_by_name(n).cloned().ok_or_else(|| Error::internal(format!("key column `{n}` was checked and is gone")));
        names.iter().map(column).collect::<Result<Vec<_>>>().map(Keys)
    }

    pub fn row(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        for array in &self.0 {
            if array.is_null(row) {
                out.push(0);
                continue;
            }
            out.push(1);
            let mut long = |bytes: &[u8]| {
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            };
            match array.data_type() {
                DataType::Utf8 => long(array.as_string::<i32>().value(row).as_bytes()),
                DataType::Binary => long(array.as_binary::<i32>().value(row)),
                DataType::FixedSizeBinary(_) => long(array.as_fixed_size_binary().value(row)),
                DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
                DataType::Int32 => out.extend_from_slice(&array.as_primitive::<Int32Type>().value(row).to_le_bytes()),
                DataType::Int64 => out.extend_from_slice(&array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
                DataType::Date32 => out.extend_from_slice(&array.as_primitive::<Date32Type>().value(row).to_le_bytes()),
                DataType::Decimal128(..) => out.extend_from_slice(&array.as_primitive::<Decimal128Type>().value(row).to_le_bytes()),
                DataType::Time64(_) => out.extend_from_slice(&array.as_primitive::<Time64MicrosecondType>().value(row).to_le_bytes()),
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    out.extend_from_slice(&array.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes());
                }
                other => return Err(Error::internal(format!("a key of {other} was checked to work"))),
            }
        }
        Ok(())
    }
}

/// For a writer whose partitions do not follow from the key: where rows must be cut, so that files keep the order of rows of one key.
#[derive(Default)]
pub struct Repeats(HashSet<Box<[u8]>>);

impl Repeats {
    /// The rows from `start` on that may go to open files together; if it ends before the batch does, files are to be closed there.
    pub fn take(&mut self, keys: &Keys, start: usize, rows: usize) -> Result<usize> {
        let mut key = Vec::new();
        for row in start..rows {
            keys.row(row, &mut key)?;
            if self.0.contains(key.as_slice()) {
                self.0.clear();
                return Ok(row - start);
            }
            self.0.insert(key.as_slice().into());
        }
        Ok(rows - start)
    }
}

/// Whether the partition of a row follows from its key.
pub fn partition_follows(version: &Version, key: &[String]) -> bool {
    let schema = version.metadata.current_schema();
    let in_key = |id: i32| schema.name_by_field_id(id).is_some_and(|name| key.iter().any(|k| k == name));
    version.metadata.default_partition_spec().fields().iter().all(|f| in_key(f.source_id))
}

/// The new keys, and where the last row of each is: number of the file, of the row in it.
type Last = HashMap<Box<[u8]>, (u32, u32)>;

struct Work<'a> {
    table: &'a Table,
    columns: &'a [String],
    key_fields: SchemaRef,
    rewriter: Rewriter<'a>,
}

/// What an upsert adds and removes. `reading`: the table's columns, as they are found in its files.
pub async fn plan(
    table: &Table,
    version: &Version,
    key: &CommitKey,
    columns: &[String],
    files: &[Facts],
    added: Vec<(i32, DataFile)>,
    reading: SchemaRef,
) -> Result<Plan> {
    let all = table_columns(version.metadata.current_schema());
    let indices = columns.iter().map(|c| all.index_of(c).map_err(unfit)).collect::<Result<Vec<_>>>()?;
    let key_fields = Arc::new(all.project(&indices).map_err(unfit)?);
    let mut work = Work { table, columns, key_fields, rewriter: Rewriter::new(table, version, key, reading, all) };
    let last = work.last_rows(files).await?;
    let mut out = work.without_earlier(files, &added, &last).await?;
    let mut gone: HashSet<String> = HashSet::new();
    let may_hold = MayHold::new(version, columns, &added);
    for m in manifest::current(&table.lake, version).await? {
        for e in manifest::entries(&table.lake, &version.metadata, m).await?.into_iter().filter(manifest::Entry::live) {
            if !may_hold.key(&e.file, m.partition_spec_id) {
                continue;
            }
            let Some(stays) = work.stays(&e.file, &last).await? else { continue };
            gone.insert(e.file.file_path().to_owned());
            if let Some(kept) = work.rewrite(&e.file, m.partition_spec_id, &stays).await? {
                out.push((m.partition_spec_id, kept));
            }
        }
    }
    Ok(Plan { added: out, gone: Gone::if_so(move |file, _| gone.contains(file.file_path())), written: work.rewriter.written })
}

impl Work<'_> {
    async fn last_rows(&self, files: &[Facts]) -> Result<Last> {
        let mut last = Last::new();
        let mut key = Vec::new();
        for (number, f) in files.iter().enumerate() {
            let file = FileToRead { location: f.path.clone(), size: f.size };
            let mut batches = read::open(&self.table.lake, &file, &self.key_fields).await?;
            let mut row = 0_u32;
            while let Some(batch) = batches.try_next().await? {
                let keys = Keys::of(&batch, self.columns)?;
                for i in 0..batch.num_rows() {
                    keys.row(i, &mut key)?;
                    match last.get_mut(key.as_slice()) {
                        Some(at) => *at = (number as u32, row),
                        None => {
                            last.insert(key.as_slice().into(), (number as u32, row));
                        }
                    }
                    row += 1;
                }
            }
        }
        Ok(last)
    }

    /// The new files, those written again that hold a row whose key comes again later.
    async fn without_earlier(&mut self, files: &[Facts], added: &[(i32, DataFile)], last: &Last) -> Result<Vec<(i32, DataFile)>> {
        let mut rows_kept = vec![0_u64; files.len()];
        last.values().for_each(|(file, _)| rows_kept[*file as usize] += 1);
        let mut out = Vec::with_capacity(added.len());
        for (number, (spec, file)) in added.iter().enumerate() {
            if rows_kept[number] == file.record_count() {
                out.push((*spec, file.clone()));
            } else if rows_kept[number] > 0 {
                let mut stays = vec![false; file.record_count() as usize];
                last.values().filter(|(f, _)| *f as usize == number).for_each(|(_, row)| stays[*row as usize] = true);
                out.extend(self.rewrite(file, *spec, &stays).await?.map(|f| (*spec, f)));
            }
        }
        Ok(out)
    }

    /// Which rows of a file stay; `None`: all.
    async fn stays(&self, file: &DataFile, last: &Last) -> Result<Option<Vec<bool>>> {
        let mut stays = Vec::with_capacity(file.record_count() as usize);
        let mut batches = read::open(&self.table.lake, &to_read(file), &self.key_fields).await?;
        let mut key = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let keys = Keys::of(&batch, self.columns)?;
            for i in 0..batch.num_rows() {
                keys.row(i, &mut key)?;
                stays.push(!last.contains_key(key.as_slice()));
            }
        }
        Ok(if stays.iter().all(|s| *s) { None } else { Some(stays) })
    }

    /// Writes the rows that stay to a new file of the same partition; `None`: none does.
    async fn rewrite(&mut self, file: &DataFile, spec: i32, stays: &[bool]) -> Result<Option<DataFile>> {
        if !stays.contains(&true) {
            return Ok(None);
        }
        self.rewriter.again(file, spec, Some(stays)).await.map(Some)
    }
}

/// What is known of the new keys without reading: their bounds, and their partitions where these follow from the key.
struct MayHold {
    bounds: Vec<(i32, Option<(Datum, Datum)>)>,
    partitions: Option<(i32, HashSet<Struct>)>,
}

impl MayHold {
    fn new(version: &Version, columns: &[String], added: &[(i32, DataFile)]) -> MayHold {
        let schema = version.metadata.current_schema();
        let ids = columns.iter().filter_map(|c| schema.as_struct().fields().iter().find(|f| f.name == *c).map(|f| f.id));
        let bounds = ids.map(|id| (id, span(id, added))).collect();
        let spec = version.metadata.default_partition_spec();
        let follows = partition_follows(version, columns) && !spec.is_unpartitioned() && added.iter().all(|(s, _)| *s == spec.spec_id());
        let partitions = follows.then(|| (spec.spec_id(), added.iter().map(|(_, f)| f.partition().clone()).collect()));
        MayHold { bounds, partitions }
    }

    fn key(&self, file: &DataFile, spec: i32) -> bool {
        if self.partitions.as_ref().is_some_and(|(of, partitions)| *of == spec && !partitions.contains(file.partition())) {
            return false;
        }
        self.bounds.iter().all(|(id, span)| match (span, file.lower_bounds().get(id), file.upper_bounds().get(id)) {
            (Some((lowest, highest)), Some(lower), Some(upper)) => {
                let apart = |a: &Datum, b: &Datum| a.partial_cmp(b) == Some(std::cmp::Ordering::Greater);
                !apart(lowest, upper) && !apart(lower, highest)
            }
            _ => true,
        })
    }
}

/// The least and greatest value of a column in the new files; `None` if one does not say, or has nulls.
fn span(id: i32, added: &[(i32, DataFile)]) -> Option<(Datum, Datum)> {
    let mut span: Option<(Datum, Datum)> = None;
    for (_, f) in added {
        let (lower, upper) = (f.lower_bounds().get(&id)?, f.upper_bounds().get(&id)?);
        if f.null_value_counts().get(&id).is_none_or(|n| *n > 0) {
            return None;
        }
        span = Some(match span {
            None => (lower.clone(), upper.clone()),
            Some((a, b)) => (if *lower < a { lower.clone() } else { a }, if *upper > b { upper.clone() } else { b }),
        });
    }
    span
}
