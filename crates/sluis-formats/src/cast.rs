//! Types: what pipelines can hold of what files have, and casts that lose nothing.
//!
//! Deliberately not here: uniting schemas (`sluis_core::columns`). Guarantees: a cast is exact or fails, naming a value.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StringArray, StructArray, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use sluis_core::columns::{map_of, map_parts, type_name};
use sluis_core::{Error, ErrorKind, Result};

use crate::cell::Cells;
use crate::values::{BoolWords, Kind};

/// The type a pipeline holds a file's values in: text for every kind of text, microseconds for every kind of timestamp, lists, maps and
/// structs of such. Types without a counterpart (times of day, intervals) become text.
pub fn normal_type(t: &DataType) -> DataType {
    use DataType as T;
    match t {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Utf8 | T::Binary | T::Date32 => t.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date64 => T::Timestamp(TimeUnit::Microsecond, None),
        // Zones other than UTC say how to show a moment, not which one it is.
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        T::Decimal128(p, s) | T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal256(p, s) if *s >= 0 && *p <= 38 => T::Decimal128(*p, *s),
        T::Dictionary(_, value) => normal_type(value),
        T::RunEndEncoded(_, values) => normal_type(values.data_type()),
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => T::List(item_field(item)),
        T::Struct(fields) => T::Struct(normal_fields(fields)),
        T::Map(..) => map_parts(t).map_or(T::Utf8, |(key, value)| map_of(normal_type(key), normal_type(value))),
        _ => T::Utf8,
    }
}

fn item_field(item: &Field) -> FieldRef {
    Arc::new(Field::new("item", normal_type(item.data_type()), true))
}

/// Fields with their normal types, all of them nullable.
pub fn normal_fields(fields: &Fields) -> Fields {
    fields.iter().map(|f| Field::new(f.name(), normal_type(f.data_type()), true)).collect()
}

/// An array in its normal type.
///
/// # Errors
/// A value that does not fit (a decimal of more than 38 digits is text, so that none is left).
pub fn normalize(array: &ArrayRef) -> Result<ArrayRef> {
    let to = normal_type(array.data_type());
    if *array.data_type() == to {
        return Ok(array.clone());
    }
    match (array.data_type(), &to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let a = array.as_struct();
            let children = a.columns().iter().map(normalize).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, a.nulls().cloned(), a.len()).map_err(unfit)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let a = array.as_list::<i32>();
            let values = normalize(a.values())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), a.offsets().clone(), values, a.nulls().cloned()).map_err(unfit)?))
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let a = array.as_map();
            map_array(a, normalize(a.keys())?, normalize(a.values())?)
        }
        (DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::ListView(item) | DataType::LargeListView(item), _) => {
            normalize(&arrow(array, &DataType::List(item.clone()))?)
        }
        (DataType::Dictionary(_, value), _) => normalize(&arrow(array, value)?),
        (DataType::RunEndEncoded(_, values), _) => normalize(&arrow(array, values.data_type())?),
        _ => arrow(array, &to),
    }
}

/// Casts a column without loss: every value that comes out stands for exactly the one that went in. Text is parsed as CSV text is.
/// It is what [`sluis_core::columns::align`] wants as its `cast`.
///
/// # Errors
/// `ErrorKind::Data`: a value that the type cannot hold, named; or types with no way between them.
pub fn cast_column(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    if array.null_count() == array.len() {
        return Ok(new_null_array(to, array.len()));
    }
    match (from, to) {
        (_, DataType::Utf8) if normal_type(from) != DataType::Utf8 => text(array),
        (DataType::Utf8, _) if Kind::of(to, None, &BoolWords::default()).is_some() => parse(array.as_string::<i32>(), to),
        (DataType::Struct(_), DataType::Struct(fields)) => structs(array.as_struct(), fields),
        (DataType::List(_), DataType::List(item)) => {
            let a = array.as_list::<i32>();
            let values = cast_column(a.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), a.offsets().clone(), values, a.nulls().cloned()).map_err(unfit)?))
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let (key, value) = map_parts(to).ok_or_else(|| no_way(from, to))?;
            let a = array.as_map();
            map_array(a, cast_column(a.keys(), key)?, cast_column(a.values(), value)?)
        }
        _ => exact(array, to),
    }
}

/// A map of the pipelines' type with the entries of another.
fn map_array(of: &MapArray, keys: ArrayRef, values: ArrayRef) -> Result<ArrayRef> {
    let DataType::Map(field, _) = map_of(keys.data_type().clone(), values.data_type().clone()) else {
        return Err(Error::internal("a map's type is none"));
    };
    let DataType::Struct(parts) = field.data_type() else { return Err(Error::internal("a map's entries are no structs")) };
    let length = keys.len();
    // Keys that are null: a file that breaks its own format's rules.
    let no_key = |e: arrow_schema::ArrowError| Error::new(ErrorKind::Data, "a map has a key that is null").source(e);
    let entries = StructArray::try_new_with_length(parts.clone(), vec![keys, values], None, length).map_err(no_key)?;
    Ok(Arc::new(MapArray::try_new(field.clone(), of.offsets().clone(), entries, of.nulls().cloned(), false).map_err(unfit)?))
}

/// By name; what is missing is null.
fn structs(array: &StructArray, to: &Fields) -> Result<ArrayRef> {
    if let Some(lost) = array.fields().iter().find(|f| to.find(f.name()).is_none()) {
        return Err(Error::new(ErrorKind::Data, format!("the field `{}` has no place in {}", lost.name(), type_name(&DataType::Struct(to.clone())))));
    }
    let children = to
        .iter()
        .map(|f| match array.column_by_name(f.name()) {
            Some(child) => cast_column(child, f.data_type()).map_err(|e| e.context("field", f.name())),
            None => Ok(new_null_array(f.data_type(), array.len())),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(to.clone(), children, array.nulls().cloned(), array.len()).map_err(unfit)?))
}

/// Through Arrow's cast, and back to compare where the way there may lose something.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    let out = arrow(array, to)?;
    if !widens(from, to) {
        let back = cast_with_options(&out, from, &CastOptions { safe: true, ..CastOptions::default() }).map_err(|e| no_way(from, to).source(e))?;
        if back.to_data() != array.to_data() {
            let row = (0..array.len()).find(|i| array.slice(*i, 1).to_data() != back.slice(*i, 1).to_data()).unwrap_or(0);
            return Err(loses(array, row, to));
        }
    }
    Ok(out)
}

/// Whether every value of `from` has its place in `to`.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Null, Timestamp, Utf8, Utf8View,
    };
    matches!(
        (from, to),
        (Null, _)
            | (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
            | (Int16, Int32 | Int64 | Float32 | Float64)
            | (Int32, Int64 | Float64)
            | (Float32, Float64)
            | (Date32, Timestamp(_, None))
            | (LargeUtf8 | Utf8View, Utf8)
            | (Utf8 | Utf8View, LargeUtf8)
            | (LargeBinary | BinaryView | Utf8, Binary)
    )
}

fn arrow(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &strict).map_err(|e| {
        let lenient = CastOptions { safe: true, ..CastOptions::default() };
        match cast_with_options(array, to, &lenient) {
            Ok(out) => {
                let row = (0..array.len()).find(|i| array.is_valid(*i) && out.is_null(*i)).unwrap_or(0);
                loses(array, row, to)
            }
            Err(_) => no_way(array.data_type(), to).source(e),
        }
    })
}

fn text(array: &ArrayRef) -> Result<ArrayRef> {
    let cells = Cells::new(array)?;
    let mut offsets = Vec::with_capacity(array.len() + 1);
    let mut bytes = Vec::new();
    offsets.push(0_i32);
    for row in 0..array.len() {
        if !cells.is_null(row) {
            cells.text(row, &mut bytes);
        }
        offsets.push(i32::try_from(bytes.len()).map_err(|e| Error::new(ErrorKind::Capacity, "a batch of text is larger than 2 GiB").source(e))?);
    }
    let made = StringArray::try_new(arrow_buffer::OffsetBuffer::new(offsets.into()), bytes.into(), array.logical_nulls());
    Ok(Arc::new(made.map_err(|e| Error::new(ErrorKind::Data, "binary values that are no UTF-8 cannot become text").source(e))?))
}

/// Text to values, as CSV fields are read.
fn parse(array: &StringArray, to: &DataType) -> Result<ArrayRef> {
    let (out, bad) = crate::csv::column::parse_array(array, to);
    match bad {
        None => Ok(out?),
        Some(row) => {
            let kind = Kind::of(to, None, &BoolWords::default()).unwrap_or(Kind::Text);
            Err(Error::new(ErrorKind::Data, kind.complaint(array.value(row).as_bytes())))
        }
    }
}

fn loses(array: &ArrayRef, row: usize, to: &DataType) -> Error {
    let mut value = Vec::new();
    if let Ok(cells) = Cells::new(&array.slice(row, 1))
        && !cells.is_null(0)
    {
        cells.text(0, &mut value);
    }
    let mut shown = String::new();
    crate::values::push_excerpt(&mut shown, &value);
    Error::new(ErrorKind::Data, format!("`{shown}` ({}) does not fit {}", type_name(array.data_type()), type_name(to)))
}

fn no_way(from: &DataType, to: &DataType) -> Error {
    Error::new(ErrorKind::Data, format!("{} cannot become {}", type_name(from), type_name(to)))
}

fn unfit(e: arrow_schema::ArrowError) -> Error {
    Error::internal("a nested column does not fit its type").source(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array};
    use sluis_core::columns::parse_type;

    fn strings(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringArray>())
    }

    fn cast(array: ArrayRef, to: &str) -> Result<Vec<Option<String>>, String> {
        let out = cast_column(&array, &parse_type(to).unwrap().0).map_err(|e| e.message().to_owned())?;
        let text = cast_column(&out, &DataType::Utf8).unwrap();
        Ok(text.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect())
    }

    #[test]
    fn casts_are_exact_or_name_the_value() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(9_007_199_254_740_993)]));
        let own = |v: &[&str]| v.iter().map(|t| (*t != "∅").then(|| (*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(cast(ints.clone(), "string").unwrap(), own(&["1", "∅", "9007199254740993"]));
        assert_eq!(cast(ints.clone(), "decimal(20,2)").unwrap(), own(&["1.00", "∅", "9007199254740993.00"]));
        assert_eq!(cast(ints.clone(), "double").unwrap_err(), "`9007199254740993` (bigint) does not fit double");
        assert_eq!(cast(ints.clone(), "int").unwrap_err(), "`9007199254740993` (bigint) does not fit int");
        assert_eq!(cast(ints.slice(0, 2), "int").unwrap(), own(&["1", "∅"]));
        assert_eq!(cast(ints.slice(0, 2), "double").unwrap(), own(&["1.0", "∅"]));
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.5]));
        assert_eq!(cast(doubles.slice(0, 1), "bigint").unwrap(), own(&["1"]));
        assert_eq!(cast(doubles, "bigint").unwrap_err(), "`1.5` (double) does not fit bigint");
        let money: ArrayRef = Arc::new(Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap());
        assert_eq!(cast(money.clone(), "decimal(20,4)").unwrap(), own(&["123.4500"]));
        assert_eq!(cast(money, "decimal(10,1)").unwrap_err(), "`123.45` (decimal(10,2)) does not fit decimal(10,1)");
        let days: ArrayRef = Arc::new(Date32Array::from(vec![0]));
        assert_eq!(cast(days.clone(), "timestamp").unwrap(), own(&["1970-01-01 00:00:00"]));
        assert!(cast(days, "bool").is_err());
        assert_eq!(cast(strings(&[Some("007"), None]), "int").unwrap(), own(&["7", "∅"]));
        assert_eq!(cast(strings(&[Some("1"), Some("x")]), "int").unwrap_err(), "`x` is no int");
        assert_eq!(cast(strings(&[Some("2024-02-29T00:00:00Z")]), "timestamptz").unwrap(), own(&["2024-02-29 00:00:00Z"]));
    }

    #[test]
    fn nested_types_widen_by_name() {
        let child: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let array: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int32, true)), child)]));
        let wide = DataType::Struct(vec![Field::new("b", DataType::Utf8, true), Field::new("a", DataType::Int64, true)].into());
        let out = cast_column(&array, &wide).unwrap();
        assert_eq!(out.data_type(), &wide);
        assert!(cast_column(&out, array.data_type()).is_err(), "a field would be lost");
        let text = cast_column(&out, &DataType::Utf8).unwrap();
        assert_eq!(text.as_string::<i32>().value(1), r#"{"b":null,"a":2}"#);
    }
}
