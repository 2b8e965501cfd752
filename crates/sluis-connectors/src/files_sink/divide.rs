//! Divides a batch by the values of columns: the folder of each part and its rows, without the columns.
//!
//! Deliberately not here: files. Guarantees: every row is in one part; rows of a part keep their order; a batch of one part is not
//! copied; no allocation per row (but for the few numbers that say where it goes).

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Schema};
use sluis_core::divide::Groups;
use sluis_core::{Error, Result};

use super::layout::folder;

/// Rows that go to one folder.
#[derive(Debug)]
pub struct Portion {
    /// `day=2024-01-01/region=eu`, or empty.
    pub folder: String,
    pub rows: RecordBatch,
}

/// Whether folders can be made of a type: those whose values have one short text.
pub fn fit(t: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View};
    matches!(
        t,
        Boolean
            | Date32
            | Decimal128(..)
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | LargeUtf8
            | Timestamp(..)
            | Utf8
            | Utf8View
    )
}

/// Checks that `by` are columns of `schema` that folders can be made of, and that something is left.
///
/// # Errors
/// `ErrorKind::Config`, naming the column.
pub fn check(schema: &Schema, by: &[String]) -> Result<()> {
    for name in by {
        let Ok(field) = schema.field_with_name(name) else {
            let have: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::config(format!("partition_by: there is no column `{name}`")).hint(format!("the columns are {}", have.join(", "))));
        };
        if !fit(field.data_type()) {
            let t = sluis_core::columns::type_name(field.data_type());
            return Err(Error::config(format!("partition_by: folders cannot be made of column `{name}` ({t})"))
                .hint("take a date, a text, a whole number, a decimal or a boolean; `select` can make one"));
        }
    }
    if schema.fields().iter().all(|f| by.contains(f.name())) {
        return Err(Error::config("partition_by: no column is left for the files").hint("leave at least one column out of `partition_by`"));
    }
    Ok(())
}

/// Divides `batch`.
///
/// # Errors
/// As [`check`].
pub fn divide(batch: &RecordBatch, by: &[String]) -> Result<Vec<Portion>> {
    if by.is_empty() {
        return Ok(vec![Portion { folder: String::new(), rows: batch.clone() }]);
    }
    check(batch.schema_ref(), by)?;
    let mut groups = Groups::one(batch.num_rows());
    for name in by {
        groups.split(column(batch, name)?)?;
    }
    let keep: Vec<usize> = (0..batch.num_columns()).filter(|i| !by.contains(batch.schema_ref().field(*i).name())).collect();
    let content = batch.project(&keep).map_err(broken)?;
    let folders = groups.firsts().iter().map(|row| folder_of(batch, by, *row)).collect::<Result<Vec<_>>>()?;
    if let [only] = folders.as_slice() {
        return Ok(vec![Portion { folder: only.clone(), rows: content }]);
    }
    let portions = folders.into_iter().zip(groups.rows()).map(|(folder, rows)| {
        let rows = arrow_select::take::take_record_batch(&content, &rows).map_err(broken)?;
        Ok(Portion { folder, rows })
    });
    // Values that differ may have one text (an empty text and none, for example): then they share the folder and are two portions of it.
    portions.collect()
}

fn broken(e: arrow_schema::ArrowError) -> Error {
    Error::internal("a batch cannot be divided").source(e)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::internal(format!("column `{name}` was checked and is gone")))
}

fn folder_of(batch: &RecordBatch, by: &[String], row: usize) -> Result<String> {
    let mut out = String::new();
    for name in by {
        let column = column(batch, name)?;
        if !out.is_empty() {
            out.push('/');
        }
        let value = if column.is_valid(row) { Some(text(column, row)?) } else { None };
        out.push_str(&folder(name, value.as_deref()));
    }
    Ok(out)
}

/// The text of a value as Hive and Spark write it: times as `2024-01-01 10:00:00`, in UTC where they have a zone, with a fraction only if
/// there is one.
fn text(column: &ArrayRef, row: usize) -> Result<String> {
    const TIME: &str = "%Y-%m-%d %H:%M:%S%.f";
    let options = FormatOptions::new().with_timestamp_format(Some(TIME)).with_timestamp_tz_format(Some(TIME));
    let one = column.slice(row, 1);
    let one = match one.data_type() {
        DataType::Timestamp(unit, Some(_)) => arrow_cast::cast(&one, &DataType::Timestamp(*unit, None)).map_err(broken)?,
        _ => one,
    };
    let formatter = ArrayFormatter::try_new(&one, &options).map_err(broken)?;
    Ok(formatter.value(0).to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow_schema::Field;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, a)| a).collect()).unwrap()
    }

    fn ids(rows: &RecordBatch) -> Vec<i64> {
        rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn rows_go_to_the_folder_of_their_values() {
        let b = batch(vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6]))),
            ("day", Arc::new(Date32Array::from(vec![Some(19723), Some(19723), None, Some(19724), Some(19723), None]))),
            ("who", Arc::new(StringArray::from(vec![Some("a"), Some("b/c"), Some("a"), Some("a"), Some("a"), None]))),
        ]);
        let parts = divide(&b, &["day".into(), "who".into()]).unwrap();
        let seen: Vec<(&str, Vec<i64>)> = parts.iter().map(|p| (p.folder.as_str(), ids(&p.rows))).collect();
        assert_eq!(
            seen,
            [
                ("day=2024-01-01/who=a", vec![1, 5]),
                ("day=2024-01-01/who=b%2Fc", vec![2]),
                ("day=__HIVE_DEFAULT_PARTITION__/who=a", vec![3]),
                ("day=2024-01-02/who=a", vec![4]),
                ("day=__HIVE_DEFAULT_PARTITION__/who=__HIVE_DEFAULT_PARTITION__", vec![6]),
            ]
        );
        assert!(parts.iter().all(|p| p.rows.num_columns() == 1));
    }

    #[test]
    fn times_are_written_as_hive_writes_them() {
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![1_704_103_200_000_000, 1_704_103_200_500_000]).with_timezone("Europe/Amsterdam"));
        let parts = divide(&batch(vec![("id", Arc::new(Int64Array::from(vec![1, 2]))), ("t", times)]), &["t".into()]).unwrap();
        assert_eq!(parts[0].folder, "t=2024-01-01 10%3A00%3A00");
        assert_eq!(parts[1].folder, "t=2024-01-01 10%3A00%3A00.500");
    }

    #[test]
    fn what_cannot_be_folders_is_said() {
        let b = batch(vec![("id", Arc::new(Int64Array::from(vec![1]))), ("x", Arc::new(arrow_array::Float64Array::from(vec![1.0])))]);
        for by in ["day", "x"] {
            assert!(divide(&b, &[by.into()]).unwrap_err().message().contains(by));
        }
        assert!(divide(&b.project(&[0]).unwrap(), &["id".into()]).is_err());
    }
}
