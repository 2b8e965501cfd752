//! The columns of an epoch: the pinned ones, then what the source and the contract add (captures, metadata, `_rescued`), then what files
//! bring beyond, in the order seen.
//!
//! Deliberately not here: choosing the pinned ones; what becomes of columns that the contract keeps out (`contract`). Guarantees: every batch
//! gets all columns so far, by name; no name stands twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use chrono::{DateTime, SecondsFormat, Utc};
use sluis_core::columns::{type_name, widen};
use sluis_core::contract::RESCUED;
use sluis_core::{Error, ErrorKind, Result};

/// When the epoch was planned.
const LOADED: &str = "_loaded";
/// The row's line in its file.
pub const LINE: &str = "_line";

/// The columns that transforms and targets get when files have just the pinned ones.
///
/// # Errors
/// `ErrorKind::Config`: files have a column with the name of one that the source adds.
pub fn input_schema(pinned: &SchemaRef, constants: &SchemaRef) -> Result<SchemaRef> {
    Ok(Columns::new(pinned, constants, true)?.schema)
}

/// The constants of a split: one value each, `None` for `_line`.
pub type Constants = Vec<Option<ArrayRef>>;

/// Reads the constants of a split, or of a member of it: `values`, of the file `name`.
///
/// # Errors
/// `ErrorKind::CorruptInput`: a capture whose text is no value of its type. It is a mistake of the whole file.
pub fn constants(columns: &SchemaRef, values: &BTreeMap<String, String>, name: &str, planned_at: DateTime<Utc>) -> Result<Constants> {
    let one = |field: &FieldRef| {
        let (column, to) = (field.name(), field.data_type());
        let text = match column.as_str() {
            LINE => return Ok(None),
            LOADED => Some(planned_at.to_rfc3339_opts(SecondsFormat::Micros, true)),
            _ => values.get(column).cloned(),
        };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_deref()]));
        cast_with_options(&array, to, &strict).map(Some).map_err(|e| {
            let message = format!("`{}` is no {}: the value of `{column}`", text.unwrap_or_default(), type_name(to));
            Error::new(ErrorKind::CorruptInput, message).context("file", name).source(e)
        })
    };
    columns.fields().iter().map(one).collect()
}

/// Where a column of the epoch comes from, in batches of one shape.
#[derive(Clone, Copy)]
enum From {
    /// A column of the batch.
    File(usize),
    /// A constant of the split.
    Constant(usize),
    Nothing,
}

/// The columns so far, and how batches get them.
pub struct Columns {
    /// Of files: their names and types, in order; first the pinned ones.
    file: Vec<FieldRef>,
    pinned: usize,
    constants: Vec<FieldRef>,
    schema: SchemaRef,
    by_name: HashMap<String, usize>,
    /// Whether columns beyond the pinned ones are taken in.
    open: bool,
    /// How batches of the last one's shape are mapped.
    last: Option<Mapping>,
}

/// How batches of one shape are mapped.
struct Mapping {
    batch: SchemaRef,
    /// Per column of the epoch.
    from: Vec<From>,
    /// Columns of the batch that are kept out.
    strange: Vec<usize>,
    /// Columns of files that the batch has, in ascending order.
    present: Vec<usize>,
}

impl Columns {
    /// Starts with the pinned ones. `open`: columns beyond them are taken in.
    ///
    /// # Errors
    /// As [`input_schema`].
    pub fn new(pinned: &SchemaRef, constants: &SchemaRef, open: bool) -> Result<Self> {
        let file: Vec<FieldRef> = pinned.fields().iter().map(nullable).collect();
        let constants = constants.fields().iter().map(nullable).collect();
        let (pinned, schema) = (file.len(), Arc::new(Schema::empty()));
        let mut columns = Self { pinned, file, constants, schema, by_name: HashMap::new(), open, last: None };
        if let Some(twice) = columns.file.iter().find(|f| columns.is_constant(f.name())) {
            return Err(columns.clash(twice.name(), ErrorKind::Config));
        }
        columns.rebuild();
        Ok(columns)
    }

    /// All columns so far.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The columns of files so far.
    pub fn of_files(&self) -> SchemaRef {
        Arc::new(Schema::new(self.file.clone()))
    }

    /// Whether files have more columns, or wider ones, than were pinned.
    pub fn grew(&self, pinned: &SchemaRef) -> bool {
        self.file.len() != pinned.fields().len() || self.file.iter().zip(pinned.fields()).any(|(a, b)| a.data_type() != b.data_type())
    }

    fn is_constant(&self, name: &str) -> bool {
        self.constants.iter().any(|c| c.name() == name)
    }

    fn clash(&self, name: &str, kind: ErrorKind) -> Error {
        let who = if name == RESCUED { "`rescue`" } else { "the source" };
        Error::new(kind, format!("the files have a column `{name}`, and {who} adds one of that name")).hint(if name == RESCUED {
            "give that column of the files another name with the format's `names`, or choose another `contract` (or another `ragged`) than `rescue`"
        } else if name.starts_with('_') {
            "leave that name out of `metadata`, or rename the files' column in the format's `columns`"
        } else {
            "give the capture in `match` another name"
        })
    }

    fn rebuild(&mut self) {
        let (pinned, beyond) = self.file.split_at(self.pinned);
        let fields: Vec<FieldRef> = pinned.iter().chain(&self.constants).chain(beyond).cloned().collect();
        self.by_name = self.file.iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
        self.schema = Arc::new(Schema::new(fields));
        self.last = None;
    }

    /// Takes in the columns of a batch. `widens`: whether types grow too (rows that no reader decoded to the pinned types).
    fn admit(&mut self, batch: &SchemaRef, widens: bool) -> Result<()> {
        let mut changed = false;
        for field in batch.fields() {
            match self.by_name.get(field.name()) {
                None if self.is_constant(field.name()) => return Err(self.clash(field.name(), ErrorKind::Data)),
                None if !self.open => {}
                None => {
                    self.by_name.insert(field.name().clone(), self.file.len());
                    self.file.push(nullable(field));
                    changed = true;
                }
                Some(&i) if widens && self.file[i].data_type() != field.data_type() => {
                    let wide = widen(self.file[i].data_type(), field.data_type());
                    if wide != *self.file[i].data_type() {
                        self.file[i] = Arc::new(self.file[i].as_ref().clone().with_data_type(wide));
                        changed = true;
                    }
                }
                Some(_) => {}
            }
        }
        if changed {
            self.rebuild();
        }
        Ok(())
    }

    /// Takes in the columns of a batch, as far as they are to be. `widens`: whether types grow, too (rows that no reader decoded).
    ///
    /// # Errors
    /// `ErrorKind::Data`: a name that the source adds.
    pub fn meet(&mut self, batch: &SchemaRef, widens: bool) -> Result<Met<'_>> {
        let same = |last: &Mapping| Arc::ptr_eq(&last.batch, batch) || last.batch == *batch;
        let again = self.last.as_ref().is_some_and(same);
        if !again {
            self.admit(batch, widens)?;
            let from = |field: &FieldRef| match self.constants.iter().position(|c| c.name() == field.name()) {
                Some(i) => From::Constant(i),
                None => batch.index_of(field.name()).map_or(From::Nothing, From::File),
            };
            let from = self.schema.fields().iter().map(from).collect();
            let places: Vec<Option<usize>> = batch.fields().iter().map(|f| self.by_name.get(f.name()).copied()).collect();
            let strange = (0..places.len()).filter(|i| places[*i].is_none()).collect();
            let mut present: Vec<usize> = places.into_iter().flatten().collect();
            present.sort_unstable();
            self.last = Some(Mapping { batch: batch.clone(), from, strange, present });
        }
        let Some(Mapping { strange, present, .. }) = &self.last else { return Err(Error::internal("columns have no mapping")) };
        Ok(Met { strange, present, again })
    }

    /// The batch with all columns so far, without those that are kept out; [`Columns::meet`] has met it. `rescued`: the values of `_rescued`.
    ///
    /// # Errors
    /// `ErrorKind::Data`: a value that does not fit its column.
    pub fn complete(&self, batch: &RecordBatch, constants: &mut Expanded, lines: Option<&[u64]>, rescued: Option<ArrayRef>) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let Some(Mapping { from, .. }) = &self.last else { return Err(Error::internal("columns have no mapping")) };
        let mut columns = Vec::with_capacity(from.len());
        for (field, from) in self.schema.fields().iter().zip(from) {
            columns.push(match *from {
                From::Nothing => new_null_array(field.data_type(), rows),
                From::File(i) if batch.column(i).data_type() == field.data_type() => batch.column(i).clone(),
                From::File(i) => cast(batch.column(i), field)?,
                From::Constant(i) => match (constants.get(i, rows)?, lines) {
                    (Some(array), _) => rescued.clone().filter(|_| field.name() == RESCUED).unwrap_or(array),
                    (None, Some(lines)) => as_type(Arc::new(Int64Array::from_iter_values(lines.iter().map(|n| *n as i64))), field)?,
                    (None, None) => new_null_array(field.data_type(), rows),
                },
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal("columns do not fit their schema").source(e))
    }
}

/// How a batch meets the columns so far.
pub struct Met<'a> {
    /// Columns of the batch that are kept out.
    pub strange: &'a [usize],
    /// Columns of files ([`Columns::of_files`]) that it has, in ascending order.
    pub present: &'a [usize],
    /// The batch before had the same shape.
    pub again: bool,
}

fn nullable(field: &FieldRef) -> FieldRef {
    if field.is_nullable() { field.clone() } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}

fn cast(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &strict).map_err(|e| {
        let message = format!("values of `{}` ({}) do not fit {}", field.name(), type_name(array.data_type()), type_name(field.data_type()));
        Error::new(ErrorKind::Data, message).source(e)
    })
}

fn as_type(array: ArrayRef, field: &Field) -> Result<ArrayRef> {
    if *field.data_type() == DataType::Int64 { Ok(array) } else { cast(&array, field) }
}

/// The constants of a split, repeated for as many rows as a batch has.
#[derive(Default)]
pub struct Expanded {
    one: Constants,
    many: Vec<Option<ArrayRef>>,
    rows: usize,
}

impl Expanded {
    pub fn new(one: Constants) -> Self {
        Self { many: vec![None; one.len()], one, rows: 0 }
    }

    fn get(&mut self, i: usize, rows: usize) -> Result<Option<ArrayRef>> {
        if rows > self.rows {
            self.many.fill(None);
            self.rows = rows;
        }
        let Some(Some(one)) = self.one.get(i) else { return Ok(None) };
        let many = match &self.many[i] {
            Some(many) => many,
            None => {
                let first = UInt32Array::from_value(0, self.rows);
                let many = take(one, &first, None).map_err(|e| Error::internal("a constant cannot be repeated").source(e))?;
                self.many[i].insert(many)
            }
        };
        Ok(Some(many.slice(0, rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
    use sluis_core::columns::parse_type;

    fn schema(columns: &[(&str, &str)]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, parse_type(t).unwrap().0, true)).collect::<Vec<_>>()))
    }

    fn values(constants: &[(&str, &str)]) -> BTreeMap<String, String> {
        constants.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn complete(columns: &mut Columns, batch: &RecordBatch, constants: &mut Expanded, lines: Option<&[u64]>, widens: bool) -> Result<RecordBatch> {
        columns.meet(batch.schema_ref(), widens)?;
        columns.complete(batch, constants, lines, None)
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema.fields().iter().map(|f| f.name().as_str()).collect()
    }

    #[test]
    fn constants_take_their_types() {
        let columns = schema(&[
            ("day", "date"),
            ("seq", "int"),
            ("cost", "decimal(10,2)"),
            ("at", "timestamp"),
            ("_modified", "timestamptz"),
            ("_loaded", "timestamptz"),
            ("_line", "bigint"),
            ("missing", "string"),
        ]);
        let good = values(&[
            ("day", "2024-02-29"),
            ("seq", "7"),
            ("cost", "1.5"),
            ("at", "2024-02-29T00:00:01Z"),
            ("_modified", "1970-01-01T00:00:00.000001Z"),
        ]);
        let read = constants(&columns, &good, "f", DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(read[0].as_ref().unwrap().data_type(), &DataType::Date32);
        assert_eq!(read[1].as_ref().unwrap().as_primitive::<Int32Type>().value(0), 7);
        assert_eq!(read[3].as_ref().unwrap().as_primitive::<TimestampMicrosecondType>().value(0), 1_709_164_801_000_000);
        assert_eq!(read[4].as_ref().unwrap().as_primitive::<TimestampMicrosecondType>().value(0), 1);
        assert!(read[6].is_none() && read[7].as_ref().unwrap().is_null(0));
        for (field, value) in read.iter().zip(columns.fields()) {
            assert!(field.as_ref().is_none_or(|a| a.data_type() == value.data_type()));
        }
        let e = constants(&columns, &values(&[("seq", "seven")]), "f", DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!((e.kind(), e.message()), (ErrorKind::CorruptInput, "`seven` is no int: the value of `seq`"));
    }

    #[test]
    fn columns_grow_in_the_order_seen_and_batches_get_all_of_them() {
        let mut columns = Columns::new(&schema(&[("a", "int"), ("b", "string")]), &schema(&[("seq", "int"), ("_line", "bigint")]), true).unwrap();
        assert_eq!(names(&columns.schema), ["a", "b", "seq", "_line"]);
        let mut expanded =
            Expanded::new(constants(&schema(&[("seq", "int"), ("_line", "bigint")]), &values(&[("seq", "3")]), "f", DateTime::UNIX_EPOCH).unwrap());
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let batch = RecordBatch::try_from_iter([("new", text.clone()), ("b", text)]).unwrap();
        let out = complete(&mut columns, &batch, &mut expanded, Some(&[2, 5]), false).unwrap();
        assert_eq!(names(out.schema_ref()), ["a", "b", "seq", "_line", "new"]);
        assert_eq!(out.column(0).null_count(), 2);
        assert_eq!(out.column(2).as_primitive::<Int32Type>().values(), &[3, 3]);
        assert_eq!(out.column(3).as_primitive::<Int64Type>().values(), &[2, 5]);
        let ints: ArrayRef = Arc::new(arrow_array::Int32Array::from(vec![1, 2, 3]));
        let out = complete(&mut columns, &RecordBatch::try_from_iter([("a", ints.clone())]).unwrap(), &mut expanded, None, false).unwrap();
        assert_eq!((names(out.schema_ref()), out.num_rows()), (vec!["a", "b", "seq", "_line", "new"], 3));
        assert_eq!(names(&columns.of_files()), ["a", "b", "new"]);
        let e = complete(&mut columns, &RecordBatch::try_from_iter([("seq", ints)]).unwrap(), &mut expanded, None, false).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Data);
        let e = input_schema(&schema(&[("seq", "int")]), &schema(&[("seq", "int")])).unwrap_err();
        assert_eq!((e.kind(), e.message()), (ErrorKind::Config, "the files have a column `seq`, and the source adds one of that name"));
    }

    #[test]
    fn columns_that_are_not_taken_in_are_named() {
        let mut columns = Columns::new(&schema(&[("a", "int")]), &schema(&[("_rescued", "string")]), false).unwrap();
        let ints: ArrayRef = Arc::new(arrow_array::Int32Array::from(vec![1]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let batch = RecordBatch::try_from_iter([("new", text.clone()), ("a", ints)]).unwrap();
        let met = columns.meet(batch.schema_ref(), false).unwrap();
        assert_eq!((met.strange, met.present, met.again), (&[0][..], &[0][..], false));
        assert!(columns.meet(batch.schema_ref(), false).unwrap().again);
        let constant = constants(&schema(&[("_rescued", "string")]), &values(&[]), "f", DateTime::UNIX_EPOCH).unwrap();
        let mut expanded = Expanded::new(constant);
        let out = columns.complete(&batch, &mut expanded, None, None).unwrap();
        assert_eq!((names(out.schema_ref()), out.column(1).null_count()), (vec!["a", "_rescued"], 1));
        let out = columns.complete(&batch, &mut expanded, None, Some(text.clone())).unwrap();
        assert_eq!(out.column(1).as_string::<i32>().value(0), "x");
        let e = columns.meet(RecordBatch::try_from_iter([("_rescued", text)]).unwrap().schema_ref(), false).err().unwrap();
        assert_eq!(e.message(), "the files have a column `_rescued`, and `rescue` adds one of that name");
    }

    #[test]
    fn rows_that_no_reader_decoded_widen_their_columns() {
        let mut columns = Columns::new(&schema(&[("a", "int")]), &schema(&[]), true).unwrap();
        let long: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let out = complete(&mut columns, &RecordBatch::try_from_iter([("a", long)]).unwrap(), &mut Expanded::default(), None, true).unwrap();
        assert_eq!(out.column(0).data_type(), &DataType::Int64);
        let int: ArrayRef = Arc::new(arrow_array::Int32Array::from(vec![2]));
        let out = complete(&mut columns, &RecordBatch::try_from_iter([("a", int)]).unwrap(), &mut Expanded::default(), None, true).unwrap();
        assert_eq!(out.column(0).as_primitive::<Int64Type>().values(), &[2]);
        assert!(columns.grew(&schema(&[("a", "int")])));
    }
}
