//! Schemas: SQL type names, uniting by name, widening, aligning a batch to a schema, JSON form for the ledger.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Parses a column type as written in pipelines: `bool`, `tinyint`, `smallint`, `int`, `bigint`, `float`, `double`, `decimal(p,s)`,
/// `string`, `binary`, `date`, `timestamp`, `timestamptz`, with an optional pattern for the last three: `timestamp(%Y%m%d%H%M%S)`; and of
/// those (without patterns) `list<int>`, `map<string, int>`, `struct<a: int, b: list<string>>`. Returns the Arrow type and the pattern.
///
/// # Errors
/// A sentence that lists what can be written.
pub fn parse_type(text: &str) -> Result<(DataType, Option<String>), String> {
    let t = text.trim();
    if let Some((name, parts)) = t.split_once('<').filter(|(name, _)| !name.contains('(')) {
        return parse_nested(text, name.trim(), parts.trim_end().strip_suffix('>')).map(|t| (t, None));
    }
    let (name, argument) = match t.split_once('(') {
        Some((name, rest)) => {
            (name.trim(), Some(rest.strip_suffix(')').ok_or_else(|| format!("`{text}`: the closing parenthesis is missing"))?.trim()))
        }
        None => (t, None),
    };
    let name = name.to_ascii_lowercase();
    let plain = match name.as_str() {
        "bool" | "boolean" => Some(DataType::Boolean),
        "tinyint" | "int8" => Some(DataType::Int8),
        "smallint" | "int16" => Some(DataType::Int16),
        "int" | "integer" | "int32" => Some(DataType::Int32),
        "bigint" | "long" | "int64" => Some(DataType::Int64),
        "float" | "real" | "float32" => Some(DataType::Float32),
        "double" | "float64" => Some(DataType::Float64),
        "string" | "text" | "varchar" => Some(DataType::Utf8),
        "binary" | "bytes" => Some(DataType::Binary),
        _ => None,
    };
    if let Some(plain) = plain {
        // varchar(20) is accepted as string: a length is a matter of the target.
        return if argument.is_none() || name == "varchar" { Ok((plain, None)) } else { Err(format!("`{name}` takes no argument")) };
    }
    let pattern = argument.map(|a| a.trim_matches(['"', '\'']).to_owned());
    match name.as_str() {
        "date" => Ok((DataType::Date32, pattern)),
        "timestamp" | "datetime" => Ok((DataType::Timestamp(TimeUnit::Microsecond, None), pattern)),
        "timestamptz" => Ok((DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), pattern)),
        "decimal" | "numeric" => {
            let (p, s) = match argument {
                None => (38, 9),
                Some(a) => {
                    let mut parts = a.split(',').map(|n| n.trim().parse::<i16>());
                    match (parts.next(), parts.next(), parts.next()) {
                        (Some(Ok(p)), None, None) => (p, 0),
                        (Some(Ok(p)), Some(Ok(s)), None) => (p, s),
                        _ => return Err(format!("`{text}`: write `decimal(precision, scale)`")),
                    }
                }
            };
            if !(1..=38).contains(&p) || s < 0 || s > p {
                return Err(format!("`{text}`: precision is 1 to 38 and scale 0 to precision"));
            }
            Ok((DataType::Decimal128(p as u8, s as i8), None))
        }
        _ => Err(format!(
            "unknown type `{text}`: one of bool, tinyint, smallint, int, bigint, float, double, decimal(p,s), string, binary, date, timestamp, timestamptz; the last three take a pattern, as in timestamp(%Y-%m-%d %H:%M:%S)"
        )),
    }
}

/// `list<…>`, `map<…, …>`, `struct<name: …, …>`; `parts` is what stands in the brackets.
fn parse_nested(text: &str, name: &str, parts: Option<&str>) -> Result<DataType, String> {
    let wrong = || format!("`{text}`: write `list<type>`, `map<type, type>` or `struct<name: type, …>`");
    let of = |part: &str| match parse_type(part)? {
        (t, None) => Ok(t),
        (_, Some(_)) => Err(format!("`{text}`: a pattern can stand only at a column of its own")),
    };
    let parts = split_parts(parts.ok_or_else(wrong)?);
    Ok(match (name.to_ascii_lowercase().as_str(), parts.as_slice()) {
        ("list" | "array", [item]) => DataType::List(Arc::new(Field::new("item", of(item)?, true))),
        ("map", [key, value]) => map_of(of(key)?, of(value)?),
        ("struct" | "row", fields) => {
            let mut out: Vec<Field> = Vec::with_capacity(fields.len());
            for field in fields {
                let (name, t) = field.split_once(':').filter(|(name, _)| !name.trim().is_empty()).ok_or_else(wrong)?;
                let name = name.trim();
                if out.iter().any(|f| f.name() == name) {
                    return Err(format!("`{text}`: `{name}` is there twice"));
                }
                out.push(Field::new(name, of(t)?, true));
            }
            DataType::Struct(out.into())
        }
        _ => return Err(wrong()),
    })
}

/// What stands between commas that are in no brackets.
fn split_parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The map type of pipelines: keys are never null.
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = DataType::Struct(vec![Field::new("key", key, false), Field::new("value", value, true)].into());
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// The types of a map's keys and values.
pub fn map_parts(t: &DataType) -> Option<(&DataType, &DataType)> {
    let DataType::Map(entries, _) = t else { return None };
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Some((fields[0].data_type(), fields[1].data_type())),
        _ => None,
    }
}

/// The name of a type as pipelines write it; Arrow's own name for what pipelines cannot write.
pub fn type_name(t: &DataType) -> String {
    match t {
        DataType::Boolean => "bool".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Decimal128(p, s) => format!("decimal({p},{s})"),
        DataType::List(f) => format!("list<{}>", type_name(f.data_type())),
        DataType::Struct(fields) => {
            format!("struct<{}>", fields.iter().map(|f| format!("{}: {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", "))
        }
        other => match map_parts(other) {
            Some((key, value)) => format!("map<{}, {}>", type_name(key), type_name(value)),
            None => other.to_string(),
        },
    }
}

/// The narrowest type that holds every value of both; text if nothing else does.
pub fn widen(a: &DataType, b: &DataType) -> DataType {
    use DataType::{Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, List, Null, Struct, Timestamp, Utf8};
    let rank = |t: &DataType| match t {
        Int8 => Some(1),
        Int16 => Some(2),
        Int32 => Some(3),
        Int64 => Some(4),
        _ => None,
    };
    let digits = |t: &DataType| match t {
        Int8 => Some((3, 0)),
        Int16 => Some((5, 0)),
        Int32 => Some((10, 0)),
        Int64 => Some((19, 0)),
        Decimal128(p, s) => Some((i16::from(*p), i16::from(*s))),
        _ => None,
    };
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (Null, t) | (t, Null) => t.clone(),
        (Float32, Float64) | (Float64, Float32) => Float64,
        (Date32, t @ Timestamp(..)) | (t @ Timestamp(..), Date32) => t.clone(),
        (Timestamp(u, None), Timestamp(_, None)) => Timestamp(*u, None),
        (Timestamp(u, tz @ Some(_)), Timestamp(_, Some(_))) => Timestamp(*u, tz.clone()),
        (List(x), List(y)) => List(Arc::new(Field::new(x.name(), widen(x.data_type(), y.data_type()), true))),
        (Struct(x), Struct(y)) => Struct(unite_fields(x.iter(), y.iter()).into()),
        (DataType::Map(..), DataType::Map(..)) => match (map_parts(a), map_parts(b)) {
            (Some((k1, v1)), Some((k2, v2))) => map_of(widen(k1, k2), widen(v1, v2)),
            _ => Utf8,
        },
        (a, b) => match (rank(a), rank(b)) {
            (Some(x), Some(y)) => {
                if x >= y {
                    a.clone()
                } else {
                    b.clone()
                }
            }
            _ => match (digits(a), digits(b)) {
                (Some((p1, s1)), Some((p2, s2))) => {
                    let s = s1.max(s2);
                    let p = (p1 - s1).max(p2 - s2) + s;
                    if p <= 38 { Decimal128(p as u8, s as i8) } else { Utf8 }
                }
                (Some(_), None) if matches!(b, Float32 | Float64) => Float64,
                (None, Some(_)) if matches!(a, Float32 | Float64) => Float64,
                _ => Utf8,
            },
        },
    }
}

fn unite_fields<'a>(first: impl Iterator<Item = &'a Arc<Field>>, second: impl Iterator<Item = &'a Arc<Field>>) -> Vec<Arc<Field>> {
    let mut out: Vec<Arc<Field>> = first.cloned().collect();
    for field in second {
        match out.iter_mut().find(|f| f.name() == field.name()) {
            Some(have) => {
                let t = widen(have.data_type(), field.data_type());
                if t != *have.data_type() || (field.is_nullable() && !have.is_nullable()) {
                    *have = Arc::new(Field::new(have.name(), t, have.is_nullable() || field.is_nullable()).with_metadata(have.metadata().clone()));
                }
            }
            None => out.push(Arc::new(field.as_ref().clone().with_nullable(true))),
        }
    }
    out
}

/// Both schemas' columns by name: `first`'s order, then what only `second` has; types widened.
pub fn unite(first: &Schema, second: &Schema) -> SchemaRef {
    Arc::new(Schema::new(unite_fields(first.fields().iter(), second.fields().iter())))
}

/// `batch` with exactly the columns of `schema`: by name, in its order, nulls for what is missing, cast where types differ.
///
/// # Errors
/// A column of `batch` that `schema` lacks (bug of the caller), or a cast that cannot be done without loss.
pub fn align(
    batch: &RecordBatch,
    schema: &SchemaRef,
    cast: fn(&arrow_array::ArrayRef, &DataType) -> Result<arrow_array::ArrayRef>,
) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let have = batch.schema_ref();
    if let Some(extra) = have.fields().iter().find(|f| schema.index_of(f.name()).is_err()) {
        return Err(Error::internal(format!("column `{}` is not in the schema to align to", extra.name())));
    }
    let columns = schema
        .fields()
        .iter()
        .map(|f| match have.index_of(f.name()) {
            Err(_) => Ok(new_null_array(f.data_type(), batch.num_rows())),
            Ok(i) if have.field(i).data_type() == f.data_type() => Ok(batch.column(i).clone()),
            Ok(i) => cast(batch.column(i), f.data_type()).map_err(|e| e.context("column", f.name())),
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| Error::internal("columns do not fit their schema").source(e))
}

/// The ledger's form of a schema: `[{"name","type"(Arrow's text form),"nullable"}]`, with `"children"` for nested types.
pub fn schema_to_json(schema: &Schema) -> Value {
    fn field(f: &Field) -> Value {
        let mut v = json!({ "name": f.name(), "type": type_name(f.data_type()), "nullable": f.is_nullable() });
        match f.data_type() {
            DataType::Struct(fields) => {
                v["type"] = "struct".into();
                v["children"] = fields.iter().map(|f| field(f)).collect();
            }
            DataType::List(item) => {
                v["type"] = "list".into();
                v["children"] = Value::Array(vec![field(item)]);
            }
            DataType::Map(entries, _) => {
                v["type"] = "map".into();
                if let DataType::Struct(parts) = entries.data_type() {
                    v["children"] = parts.iter().map(|f| field(f)).collect();
                }
            }
            _ => {}
        }
        v
    }
    schema.fields().iter().map(|f| field(f)).collect()
}

/// Reads what [`schema_to_json`] wrote.
///
/// # Errors
/// `ErrorKind::Ledger` if it is not such a value.
pub fn schema_from_json(value: &Value) -> Result<SchemaRef> {
    fn field(v: &Value) -> Option<Field> {
        let children = || v["children"].as_array()?.iter().map(field).collect::<Option<Vec<_>>>();
        let t = match v["type"].as_str()? {
            "struct" => DataType::Struct(children()?.into()),
            "list" => DataType::List(Arc::new(children()?.into_iter().next()?)),
            "map" => match children()?.as_slice() {
                [key, value] => map_of(key.data_type().clone(), value.data_type().clone()),
                _ => return None,
            },
            name => parse_type(name).ok()?.0,
        };
        Some(Field::new(v["name"].as_str()?, t, v["nullable"].as_bool()?))
    }
    value
        .as_array()
        .and_then(|a| a.iter().map(field).collect::<Option<Vec<_>>>())
        .map(|fields| Arc::new(Schema::new(fields)) as SchemaRef)
        .ok_or_else(|| Error::new(crate::ErrorKind::Ledger, "a schema in the ledger cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_written() {
        assert_eq!(parse_type("decimal(10,4)").unwrap().0, DataType::Decimal128(10, 4));
        assert_eq!(parse_type("timestamp(%Y%m%d)").unwrap(), (DataType::Timestamp(TimeUnit::Microsecond, None), Some("%Y%m%d".into())));
        for bad in ["", "integr", "decimal(39,2)", "decimal(3,4)", "int(4)", "timestamp(%Y"] {
            assert!(parse_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nested_types_are_printed_as_they_are_read() {
        for text in [
            "list<int>",
            "map<string, decimal(10,2)>",
            "struct<a: int, b: list<struct<c: map<int, list<string>>, d: timestamptz>>>",
            "list<list<bigint>>",
        ] {
            assert_eq!(type_name(&parse_type(text).unwrap().0), text);
        }
        assert_eq!(type_name(&parse_type(" ARRAY< int >").unwrap().0), "list<int>");
        for bad in ["list<", "list<int", "list<>", "map<int>", "struct<int>", "struct<a: int, a: int>", "list<date(%Y)>", "set<int>", "list<int>>"] {
            assert!(parse_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn widening_loses_nothing() {
        assert_eq!(widen(&DataType::Int32, &DataType::Int64), DataType::Int64);
        assert_eq!(widen(&DataType::Int64, &DataType::Decimal128(5, 2)), DataType::Decimal128(21, 2));
        assert_eq!(widen(&DataType::Boolean, &DataType::Int32), DataType::Utf8);
        assert_eq!(widen(&DataType::Null, &DataType::Date32), DataType::Date32);
    }

    #[test]
    fn schemas_survive_json() {
        let s = Schema::new(vec![
            Field::new("a", DataType::Decimal128(10, 4), true),
            Field::new(
                "b",
                DataType::Struct(vec![Field::new("c", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))), true)].into()),
                false,
            ),
            Field::new("m", map_of(DataType::Utf8, DataType::Date32), true),
        ]);
        assert_eq!(schema_from_json(&schema_to_json(&s)).unwrap().as_ref(), &s);
    }
}
