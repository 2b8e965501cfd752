//! Columns: Arrow types to Iceberg's and back, tables that grow, batches that fit them.
//!
//! Tables only widen: columns are added (optional), `int` becomes `bigint`, `float` becomes `double`, decimals get more digits. Field ids stay.
//! Deliberately not here: metadata, columns that get another type with another id (`retype`). Guarantees: a cast loses nothing, but for digits beyond the microsecond; what does not fit is an error
//! that names column and types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType as P, Schema, StructType, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use sluis_core::columns::{map_parts, type_name};
use sluis_core::{Error, ErrorKind, Result};

use crate::work::{broken, unfit};

/// The Iceberg type of an Arrow type without parts; `None`: there is none.
fn primitive(t: &DataType) -> Option<P> {
    Some(match t {
        DataType::Boolean => P::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => P::Int,
        DataType::Int64 | DataType::UInt32 => P::Long,
        DataType::UInt64 => P::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => P::Float,
        DataType::Float64 => P::Double,
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) | DataType::Decimal64(p, s) | DataType::Decimal32(p, s) if *s >= 0 && *p <= 38 => {
            P::Decimal { precision: u32::from(*p), scale: *s as u32 }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => P::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => P::Binary,
        DataType::Date32 => P::Date,
        DataType::Date64 | DataType::Timestamp(_, None) => P::Timestamp,
        DataType::Timestamp(_, Some(_)) => P::Timestamptz,
        DataType::Time32(_) | DataType::Time64(_) => P::Time,
        DataType::Dictionary(_, value) => return primitive(value),
        _ => return None,
    })
}

fn list_item(t: &DataType) -> Option<&FieldRef> {
    match t {
        DataType::List(f) | DataType::LargeList(f) | DataType::ListView(f) | DataType::LargeListView(f) | DataType::FixedSizeList(f, _) => Some(f),
        _ => None,
    }
}

/// A new type, with fresh ids for its parts.
pub fn fresh(t: &DataType, last: &mut i32) -> Result<Type, String> {
    if let Some(p) = primitive(t) {
        return Ok(Type::Primitive(p));
    }
    let mut id = || {
        *last += 1;
        *last
    };
    if let Some(item) = list_item(t) {
        let id = id();
        return Ok(Type::List(ListType::new(NestedField::list_element(id, fresh(item.data_type(), last)?, false).into())));
    }
    if let Some((key, value)) = map_parts(t) {
        let (key_id, value_id) = (id(), id());
        let key = NestedField::map_key_element(key_id, fresh(key, last)?);
        let value = NestedField::map_value_element(value_id, fresh(value, last)?, false);
        return Ok(Type::Map(MapType::new(key.into(), value.into())));
    }
    match t {
        DataType::Struct(fields) if !fields.is_empty() => {
            let ids: Vec<i32> = fields.iter().map(|_| id()).collect();
            let fields = fields.iter().zip(ids).map(|(f, id)| Ok(NestedField::optional(id, f.name(), fresh(f.data_type(), last)?).into()));
            Ok(Type::Struct(StructType::new(fields.collect::<Result<_, String>>()?)))
        }
        other => Err(format!("a table cannot hold the type {}", type_name(other))),
    }
}

/// The type that holds both what is there and what comes, if `have` may become it.
fn widened(have: &Type, come: &DataType, last: &mut i32) -> Result<Type, String> {
    let misfit = || format!("it is {} in the table, and {} in the new rows", sql_name(have), type_name(come));
    if *come == DataType::Null {
        return Ok(have.clone());
    }
    match have {
        Type::Primitive(have) => widened_primitive(have, &primitive(come).ok_or_else(misfit)?).map(Type::Primitive).ok_or_else(misfit),
        Type::List(list) => {
            let item = list_item(come).ok_or_else(misfit)?;
            let mut element = list.element_field.as_ref().clone();
            element.field_type = Box::new(widened(&element.field_type, item.data_type(), last)?);
            Ok(Type::List(ListType::new(element.into())))
        }
        Type::Struct(parts) => {
            let DataType::Struct(fields) = come else { return Err(misfit()) };
            let grown = grown(parts.fields(), fields, last).map_err(|(name, why)| format!("its field `{name}`: {why}"))?;
            Ok(Type::Struct(StructType::new(grown)))
        }
        Type::Map(map) => {
            let (key, come) = map_parts(come).ok_or_else(misfit)?;
            // A key that changes its type would be another key.
            if widened(&map.key_field.field_type, key, last)? != *map.key_field.field_type {
                return Err(misfit());
            }
            let mut value = map.value_field.as_ref().clone();
            value.field_type = Box::new(widened(&value.field_type, come, last)?);
            Ok(Type::Map(MapType::new(map.key_field.clone(), value.into())))
        }
    }
}

/// Whether a column takes values of a type as it is, or widened in place.
pub fn accepts(have: &NestedField, come: &DataType) -> bool {
    widened(&have.field_type, come, &mut 0).is_ok()
}

fn widened_primitive(have: &P, come: &P) -> Option<P> {
    let digits = |t: &P| match t {
        P::Int => Some((10, 0)),
        P::Long => Some((19, 0)),
        P::Decimal { precision, scale } => Some((*precision - *scale, *scale)),
        _ => None,
    };
    Some(match (have, come) {
        (have, come) if have == come => have.clone(),
        (P::Int, P::Long) | (P::Long, P::Int) => P::Long,
        (P::Float, P::Double) | (P::Double, P::Float | P::Int) => P::Double,
        (P::Timestamp, P::Date) => P::Timestamp,
        (P::Decimal { precision, scale }, come) => {
            let (whole, fraction) = digits(come)?;
            let precision = (*precision).max(whole + scale);
            if fraction > *scale || precision > 38 {
                return None;
            }
            P::Decimal { precision, scale: *scale }
        }
        _ => return None,
    })
}

/// The fields of `have`, widened for and followed by those of `come`. The error has the column's name.
fn grown(have: &[NestedFieldRef], come: &Fields, last: &mut i32) -> Result<Vec<NestedFieldRef>, (String, String)> {
    let mut out: Vec<NestedFieldRef> = have.to_vec();
    for field in come {
        let at = |why: String| (field.name().clone(), why);
        if let Some(have) = out.iter_mut().find(|f| f.name == *field.name()) {
            let t = widened(&have.field_type, field.data_type(), last).map_err(at)?;
            if t != *have.field_type {
                let mut changed = have.as_ref().clone();
                changed.field_type = Box::new(t);
                *have = changed.into();
            }
            continue;
        }
        if let Some(near) = out.iter().find(|f| f.name.to_lowercase() == field.name().to_lowercase()) {
            return Err(at(format!(
                "the table has `{}`, which differs in upper and lower case only; Hive, Impala and Spark see one name",
                near.name
            )));
        }
        if *field.data_type() == DataType::Null {
            // Nothing says what it will hold: it becomes a column with its first value.
            continue;
        }
        *last += 1;
        let id = *last;
        out.push(NestedField::optional(id, field.name(), fresh(field.data_type(), last).map_err(at)?).into());
    }
    Ok(out)
}

fn refused(table: &str) -> impl Fn((String, String)) -> Error + '_ {
    move |(column, why)| {
        let hint = if why.contains("upper and lower case") {
            format!("rename it in `select`, as in `\"{column}\" as {column}_2`")
        } else if why.contains("cannot hold") {
            format!("make something else of it in `select`, as in `cast({column} as string) as {column}`")
        } else {
            format!("`select` can make it fit, as in `cast({column} as …) as {column}`, or give it another name, or write to a new table")
        };
        Error::config(format!("column `{column}` does not fit table `{table}`: {why}")).context("column", &column).hint(hint)
    }
}

/// The columns of a new table.
///
/// # Errors
/// `ErrorKind::Config`, naming the column.
pub fn new_schema(table: &str, columns: &ArrowSchema) -> Result<Schema> {
    let fields = grown(&[], columns.fields(), &mut 0).map_err(refused(table))?;
    if fields.is_empty() {
        return Err(Error::config(format!("table `{table}` would have no column")).hint("the rows have no column whose type is known"));
    }
    Schema::builder().with_fields(fields).build().map_err(broken("columns make no schema"))
}

/// The table's columns, grown for `columns`; `None`: they fit as they are. `last` is the table's last column id.
///
/// # Errors
/// `ErrorKind::Config`, naming the column, both types, and what to do.
pub fn evolved(table: &str, have: &Schema, last: i32, columns: &ArrowSchema) -> Result<Option<Schema>> {
    let fields = grown(have.as_struct().fields(), columns.fields(), &mut last.clone()).map_err(refused(table))?;
    let lacks = have.as_struct().fields().iter().find(|f| f.required && columns.field_with_name(&f.name).is_err());
    if let Some(required) = lacks {
        return Err(Error::config(format!("column `{}` of table `{table}` is NOT NULL, and the rows do not have it", required.name))
            .hint("add it in `select`, or drop the constraint with the engine that made the table"));
    }
    if fields == have.as_struct().fields() {
        return Ok(None);
    }
    let grown = Schema::builder().with_fields(fields).with_identifier_field_ids(have.identifier_field_ids()).build();
    grown.map(Some).map_err(broken("columns make no schema"))
}

/// A type as pipelines write it.
pub fn sql_name(t: &Type) -> String {
    type_name(&arrow_type(t, false))
}

/// The Arrow type, as SQL sees it or (`ids`) as data files hold it.
pub fn arrow_type(t: &Type, ids: bool) -> DataType {
    match t {
        Type::Primitive(p) => match p {
            P::Boolean => DataType::Boolean,
            P::Int => DataType::Int32,
            P::Long => DataType::Int64,
            P::Float => DataType::Float32,
            P::Double => DataType::Float64,
            P::Decimal { precision, scale } => DataType::Decimal128(*precision as u8, *scale as i8),
            P::Date => DataType::Date32,
            P::Time => DataType::Time64(TimeUnit::Microsecond),
            P::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            P::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            P::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
            P::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            P::String => DataType::Utf8,
            P::Uuid => DataType::FixedSizeBinary(16),
            P::Fixed(n) => DataType::FixedSizeBinary(*n as i32),
            P::Binary => DataType::Binary,
        },
        Type::Struct(parts) => DataType::Struct(parts.fields().iter().map(|f| arrow_field(f, &f.name, ids)).collect()),
        Type::List(list) => DataType::List(arrow_field(&list.element_field, if ids { "element" } else { "item" }, ids)),
        Type::Map(map) => {
            let entries = DataType::Struct(vec![arrow_field(&map.key_field, "key", ids), arrow_field(&map.value_field, "value", ids)].into());
            DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
        }
    }
}

fn arrow_field(field: &NestedField, name: &str, ids: bool) -> FieldRef {
    let out = Field::new(name, arrow_type(&field.field_type, ids), !field.required);
    Arc::new(if ids { out.with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())])) } else { out })
}

/// The columns of a file that holds rows of `columns`: in the table's order, with field ids.
pub fn file_columns(table: &Schema, columns: &ArrowSchema) -> SchemaRef {
    let held = table.as_struct().fields().iter().filter(|f| columns.field_with_name(&f.name).is_ok());
    Arc::new(ArrowSchema::new(held.map(|f| arrow_field(f, &f.name, true)).collect::<Vec<_>>()))
}

/// The table's columns with field ids.
pub fn table_columns(table: &Schema) -> SchemaRef {
    Arc::new(ArrowSchema::new(table.as_struct().fields().iter().map(|f| arrow_field(f, &f.name, true)).collect::<Vec<_>>()))
}

/// The table's columns as SQL sees them.
pub fn sql_columns(table: &Schema) -> SchemaRef {
    Arc::new(ArrowSchema::new(table.as_struct().fields().iter().map(|f| arrow_field(f, &f.name, false)).collect::<Vec<_>>()))
}

/// `batch` with exactly `columns`: by name, nulls for what is missing.
///
/// # Errors
/// `ErrorKind::Data`: a value that does not fit, or none where the table wants one.
pub fn fit(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
    let have = batch.schema_ref();
    let fitted = columns.fields().iter().map(|f| match have.index_of(f.name()) {
        Ok(i) => cast(batch.column(i), f.data_type()).map_err(|e| e.context("column", f.name())),
        Err(_) => Ok(new_null_array(f.data_type(), batch.num_rows())),
    });
    let fitted = fitted.collect::<Result<Vec<_>>>()?;
    if let Some((f, _)) = columns.fields().iter().zip(&fitted).find(|(f, array)| !f.is_nullable() && array.null_count() > 0) {
        return Err(Error::new(ErrorKind::Data, format!("column `{}` is NOT NULL in the table, and a row has no value for it", f.name()))
            .hint("reject such rows with a `check`, or give them a value in `select`"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(columns.clone(), fitted, &options).map_err(unfit)
}

/// An array as another type, which was found to hold its values; nested parts by name, or by field id where both sides have them.
pub fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let a = array.as_struct();
            let children = fields.iter().map(|f| match position(a.fields(), f) {
                Some(i) => cast(a.column(i), f.data_type()),
                None => Ok(new_null_array(f.data_type(), a.len())),
            });
            let children = children.collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, a.nulls().cloned(), a.len()).map_err(unfit)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let a = array.as_list::<i32>();
            let values = cast(a.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), a.offsets().clone(), values, a.nulls().cloned()).map_err(unfit)?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(parts) = entries.data_type() else { return Err(Error::internal("a map's entries are no structs")) };
            let a = array.as_map();
            let columns = vec![cast(a.keys(), parts[0].data_type())?, cast(a.values(), parts[1].data_type())?];
            let rows = StructArray::try_new_with_length(parts.clone(), columns, None, a.entries().len()).map_err(unfit)?;
            Ok(Arc::new(MapArray::try_new(entries.clone(), a.offsets().clone(), rows, a.nulls().cloned(), *sorted).map_err(unfit)?))
        }
        (from, DataType::List(_)) if list_item(from).is_some() => {
            let item = list_item(from).cloned().ok_or_else(|| Error::internal("a list has no item"))?;
            cast(&plain(array, &DataType::List(item))?, to)
        }
        _ => plain(array, to),
    }
}

/// An array of a column that had another field id, as the type of the one that takes its place: nested parts by name.
///
/// # Errors
/// `ErrorKind::Data`: a value that the type cannot hold exactly.
pub fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast(&cast(array, &without_ids(array.data_type()))?, to)
}

fn without_ids(t: &DataType) -> DataType {
    let plain = |f: &FieldRef| Arc::new(Field::new(f.name(), without_ids(f.data_type()), f.is_nullable()));
    match t {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}

/// Where a field is among others: by field id if both have one, else by name.
fn position(fields: &Fields, wanted: &Field) -> Option<usize> {
    let id = |f: &Field| f.metadata().get(PARQUET_FIELD_ID_META_KEY).cloned();
    let by_id = id(wanted).and_then(|wanted| fields.iter().position(|f| id(f).as_ref() == Some(&wanted)));
    by_id.or_else(|| fields.iter().position(|f| f.name() == wanted.name() && (id(f).is_none() || id(wanted).is_none())))
}

fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let unfit = || Error::new(ErrorKind::Data, format!("a value of type {} does not fit {}", type_name(array.data_type()), type_name(to)));
    let out = cast_with_options(array, to, &options).map_err(|e| unfit().source(e))?;
    if let (DataType::Int64, DataType::Float64) = (array.data_type(), to) {
        // Beyond 2^53 a double has not every whole number.
        let exact = |(i, f): (Option<i64>, Option<f64>)| i.zip(f).is_none_or(|(i, f)| f as i128 == i128::from(i));
        if !array.as_primitive::<Int64Type>().iter().zip(out.as_primitive::<Float64Type>().iter()).all(exact) {
            return Err(unfit());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(fields: &[(&str, DataType)]) -> ArrowSchema {
        ArrowSchema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    fn ids(s: &Schema) -> Vec<(String, i32, String)> {
        s.as_struct().fields().iter().map(|f| (f.name.clone(), f.id, sql_name(&f.field_type))).collect()
    }

    #[test]
    fn tables_grow_and_ids_stay() {
        use DataType as T;
        let nested = T::Struct(vec![Field::new("x", T::Int32, true)].into());
        let a = new_schema("t", &columns(&[("i", T::Int16), ("s", nested), ("d", T::Decimal128(6, 2)), ("n", T::Null)])).unwrap();
        assert_eq!(ids(&a), [("i".into(), 1, "int".into()), ("s".into(), 2, "struct<x: int>".into()), ("d".into(), 4, "decimal(6,2)".into())]);
        assert!(evolved("t", &a, 4, &columns(&[("d", T::Decimal128(5, 1)), ("i", T::Int8)])).unwrap().is_none());
        let nested = T::Struct(vec![Field::new("y", T::Utf8, true), Field::new("x", T::Int64, true)].into());
        let b = evolved("t", &a, 4, &columns(&[("n", T::Date32), ("s", nested), ("i", T::Int64), ("d", T::Int32)])).unwrap().unwrap();
        assert_eq!(
            ids(&b),
            [
                ("i".into(), 1, "bigint".into()),
                ("s".into(), 2, "struct<x: bigint, y: string>".into()),
                ("d".into(), 4, "decimal(12,2)".into()),
                ("n".into(), 5, "date".into())
            ]
        );
        assert_eq!(b.field_id_by_name("s.y"), Some(6));
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_types() {
        use DataType as T;
        let t = new_schema("t", &columns(&[("a", T::Int32), ("b", T::Utf8), ("d", T::Decimal128(6, 2))])).unwrap();
        for (column, come, says) in [
            ("a", T::Float64, "int in the table, and double"),
            ("a", T::Utf8, "int in the table, and string"),
            ("b", T::Int32, "string in the table, and int"),
            ("d", T::Decimal128(6, 3), "decimal(6,2) in the table, and decimal(6,3)"),
            ("A", T::Int32, "upper and lower case"),
            ("z", T::Duration(TimeUnit::Second), "cannot hold"),
        ] {
            let e = evolved("ns.t", &t, 3, &columns(&[(column, come)])).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config);
            assert!(e.message().contains(says) && e.message().contains(column) && e.hint_text().is_some(), "{e:?}");
        }
    }
}
