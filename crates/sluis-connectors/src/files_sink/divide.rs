//! Divides a batch by the values of columns: the folder of each part and its rows, without the columns.
//!
//! Deliberately not here: files. Guarantees: every row is in one part; rows of a part keep their order; a batch of one part is not
//! copied; no allocation per row (but for the few numbers that say where it goes).

use std::collections::HashMap;
use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Schema};
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
    let (groups, firsts) = group(batch, by)?;
    let keep: Vec<usize> = (0..batch.num_columns()).filter(|i| !by.contains(batch.schema_ref().field(*i).name())).collect();
    let content = batch.project(&keep).map_err(broken)?;
    let folders = firsts.iter().map(|row| folder_of(batch, by, *row)).collect::<Result<Vec<_>>>()?;
    if let [only] = folders.as_slice() {
        return Ok(vec![Portion { folder: only.clone(), rows: content }]);
    }
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); folders.len()];
    groups.iter().enumerate().for_each(|(row, g)| rows[*g as usize].push(row as u32));
    let portions = folders.into_iter().zip(rows).map(|(folder, rows)| {
        let rows = arrow_select::take::take_record_batch(&content, &UInt32Array::from(rows)).map_err(broken)?;
        Ok(Portion { folder, rows })
    });
    // Values that differ may have one text (an empty text and none, for example): then they share the folder and are two portions of it.
    portions.collect()
}

fn broken(e: arrow_schema::ArrowError) -> Error {
    Error::internal("a batch cannot be divided").source(e)
}

/// Of each row the number of its group, and of each group the first row.
fn group(batch: &RecordBatch, by: &[String]) -> Result<(Vec<u32>, Vec<usize>)> {
    let mut groups = vec![0_u32; batch.num_rows()];
    let mut firsts = vec![0];
    for name in by {
        let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("column `{name}` was checked and is gone")))?;
        firsts = refine(column, &mut groups)?;
    }
    Ok((groups, firsts))
}

/// Splits groups by the values of one more column.
fn refine(column: &ArrayRef, groups: &mut [u32]) -> Result<Vec<usize>> {
    macro_rules! native {
        ($($t:ty),*) => {
            match column.data_type() {
                $(t if *t == <$t as arrow_array::types::ArrowPrimitiveType>::DATA_TYPE => {
                    let values = column.as_primitive::<$t>().values();
                    return Ok(split(column, groups, |i| values[i]));
                })*
                _ => {}
            }
        };
    }
    native!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
    Ok(match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            split(column, groups, |i| values.value(i))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            split(column, groups, |i| values.value(i))
        }
        DataType::LargeUtf8 => {
            let values = column.as_string::<i64>();
            split(column, groups, |i| values.value(i))
        }
        DataType::Utf8View => {
            let values = column.as_string_view();
            split(column, groups, |i| values.value(i))
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            split(column, groups, |i| values[i])
        }
        DataType::Date32 => {
            let values = column.as_primitive::<arrow_array::types::Date32Type>().values();
            split(column, groups, |i| values[i])
        }
        DataType::Timestamp(..) => {
            let values = arrow_cast::cast(column, &DataType::Int64).map_err(broken)?;
            let values = values.as_primitive::<Int64Type>().values();
            split(column, groups, |i| values[i])
        }
        other => return Err(Error::internal(format!("a column of {other} was checked to fit folders"))),
    })
}

fn split<K: Hash + Eq + Copy>(column: &ArrayRef, groups: &mut [u32], key: impl Fn(usize) -> K) -> Vec<usize> {
    let mut seen: HashMap<(u32, Option<K>), u32> = HashMap::new();
    let mut firsts = Vec::new();
    // Neighbours are mostly alike: then nothing is looked up.
    let mut last: Option<((u32, Option<K>), u32)> = None;
    for (row, group) in groups.iter_mut().enumerate() {
        let at = (*group, column.is_valid(row).then(|| key(row)));
        *group = match last {
            Some((before, number)) if before == at => number,
            _ => {
                let number = *seen.entry(at).or_insert_with(|| {
                    firsts.push(row);
                    firsts.len() as u32 - 1
                });
                last = Some((at, number));
                number
            }
        };
    }
    firsts
}

fn folder_of(batch: &RecordBatch, by: &[String], row: usize) -> Result<String> {
    let mut out = String::new();
    for name in by {
        let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("column `{name}` was checked and is gone")))?;
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
