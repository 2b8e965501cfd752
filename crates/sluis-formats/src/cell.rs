//! One column of a batch, cell by cell, as text: what the CSV and JSON encoders and casts to text share.
//!
//! Deliberately not here: quoting, separators. Guarantees: no allocation per cell but for nested values.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use sluis_core::Result;

use crate::values::format;

/// A column's cells, by type. Types beyond those of pipelines are cast to them first.
pub enum Cells {
    Bool(BooleanArray),
    I8(Int8Array),
    I16(Int16Array),
    I32(Int32Array),
    I64(Int64Array),
    F32(Float32Array),
    F64(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringArray),
    Binary(BinaryArray),
    Date(Date32Array),
    /// And whether it has a zone.
    Timestamp(TimestampMicrosecondArray, bool),
    /// Names as JSON text with the colon, and the children.
    Struct(StructArray, Vec<(Vec<u8>, Cells)>),
    List(ListArray, Box<Cells>),
    /// Keys and values.
    Map(MapArray, Box<Cells>, Box<Cells>),
    Null,
}

impl Cells {
    /// The cells of a column.
    ///
    /// # Errors
    /// A type that pipelines cannot hold.
    pub fn new(array: &ArrayRef) -> Result<Cells> {
        Ok(match array.data_type() {
            DataType::Boolean => Cells::Bool(array.as_boolean().clone()),
            DataType::Int8 => Cells::I8(array.as_primitive::<Int8Type>().clone()),
            DataType::Int16 => Cells::I16(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Cells::I32(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Cells::I64(array.as_primitive::<Int64Type>().clone()),
            DataType::Float32 => Cells::F32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Cells::F64(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, s) if *s >= 0 => Cells::Decimal(array.as_primitive::<Decimal128Type>().clone(), *s),
            DataType::Utf8 => Cells::Text(array.as_string::<i32>().clone()),
            DataType::Binary => Cells::Binary(array.as_binary::<i32>().clone()),
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone(), zone.is_some())
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let children = fields.iter().zip(array.columns()).map(|(f, c)| {
                    let mut name = Vec::new();
                    json_text(f.name(), &mut name);
                    name.push(b':');
                    Ok((name, Cells::new(c)?))
                });
                Cells::Struct(array.clone(), children.collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                Cells::List(array.clone(), Box::new(Cells::new(array.values())?))
            }
            DataType::Map(..) => {
                let array = array.as_map();
                Cells::Map(array.clone(), Box::new(Cells::new(array.keys())?), Box::new(Cells::new(array.values())?))
            }
            DataType::Null => Cells::Null,
            _ => return Cells::new(&crate::cast::normalize(array)?),
        })
    }

    /// Whether the cell is null.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Bool(a) => a.is_null(row),
            Cells::I8(a) => a.is_null(row),
            Cells::I16(a) => a.is_null(row),
            Cells::I32(a) => a.is_null(row),
            Cells::I64(a) => a.is_null(row),
            Cells::F32(a) => a.is_null(row),
            Cells::F64(a) => a.is_null(row),
            Cells::Decimal(a, _) => a.is_null(row),
            Cells::Text(a) => a.is_null(row),
            Cells::Binary(a) => a.is_null(row),
            Cells::Date(a) => a.is_null(row),
            Cells::Timestamp(a, _) => a.is_null(row),
            Cells::Struct(a, _) => a.is_null(row),
            Cells::List(a, _) => a.is_null(row),
            Cells::Map(a, ..) => a.is_null(row),
            Cells::Null => true,
        }
    }

    /// The cell's own bytes, for text and binary.
    #[inline]
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match self {
            Cells::Text(a) => Some(a.value(row).as_bytes()),
            Cells::Binary(a) => Some(a.value(row)),
            _ => None,
        }
    }

    /// Whether its texts are made of letters, digits and `+-.: ` only.
    pub fn is_plain(&self) -> bool {
        !matches!(self, Cells::Text(_) | Cells::Binary(_) | Cells::Struct(..) | Cells::List(..) | Cells::Map(..) | Cells::Timestamp(..))
    }

    /// The cell as plain text; nested ones as JSON. Must not be null.
    #[inline]
    pub fn text(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Bool(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Cells::I8(a) => format::int(a.value(row).into(), out),
            Cells::I16(a) => format::int(a.value(row).into(), out),
            Cells::I32(a) => format::int(a.value(row).into(), out),
            Cells::I64(a) => format::int(a.value(row), out),
            Cells::F32(a) => format::float32(a.value(row), out),
            Cells::F64(a) => format::float64(a.value(row), out),
            Cells::Decimal(a, scale) => format::decimal(a.value(row), *scale, out),
            Cells::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Cells::Binary(a) => out.extend_from_slice(a.value(row)),
            Cells::Date(a) => format::date(a.value(row), out),
            Cells::Timestamp(a, zone) => {
                format::timestamp(a.value(row), b' ', out);
                if *zone {
                    out.push(b'Z');
                }
            }
            Cells::Struct(..) | Cells::List(..) | Cells::Map(..) | Cells::Null => self.json(row, true, out),
        }
    }

    /// The cell as JSON. `nulls`: whether struct fields that are null are written.
    pub fn json(&self, row: usize, nulls: bool, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self {
            // JSON has no such numbers.
            Cells::F32(a) if !a.value(row).is_finite() => out.extend_from_slice(b"null"),
            Cells::F64(a) if !a.value(row).is_finite() => out.extend_from_slice(b"null"),
            Cells::Bool(_) | Cells::I8(_) | Cells::I16(_) | Cells::I32(_) | Cells::I64(_) | Cells::F32(_) | Cells::F64(_) | Cells::Decimal(..) => {
                self.text(row, out);
            }
            Cells::Text(a) => json_text(a.value(row), out),
            Cells::Binary(a) => {
                out.push(b'"');
                hex(a.value(row), out);
                out.push(b'"');
            }
            Cells::Date(_) => {
                out.push(b'"');
                self.text(row, out);
                out.push(b'"');
            }
            Cells::Timestamp(a, zone) => {
                out.push(b'"');
                format::timestamp(a.value(row), b'T', out);
                out.extend_from_slice(if *zone { b"Z\"" } else { b"\"" });
            }
            Cells::Struct(_, children) => {
                out.push(b'{');
                json_fields(children, row, nulls, out);
                out.push(b'}');
            }
            Cells::List(a, items) => {
                out.push(b'[');
                let offsets = a.value_offsets();
                for (n, item) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    items.json(item as usize, nulls, out);
                }
                out.push(b']');
            }
            Cells::Map(a, keys, values) => {
                out.push(b'{');
                let offsets = a.value_offsets();
                let mut plain = Vec::new();
                for (n, entry) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    // A name in JSON is text.
                    plain.clear();
                    keys.text(entry as usize, &mut plain);
                    json_text(&String::from_utf8_lossy(&plain), out);
                    out.push(b':');
                    values.json(entry as usize, nulls, out);
                }
                out.push(b'}');
            }
            Cells::Null => {}
        }
    }
}

/// `"a":1,"b":null`: the fields of an object.
pub fn json_fields(fields: &[(Vec<u8>, Cells)], row: usize, nulls: bool, out: &mut Vec<u8>) {
    let mut first = true;
    for (name, cells) in fields {
        if !nulls && cells.is_null(row) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(name);
        cells.json(row, nulls, out);
    }
}

/// Bytes as hexadecimal text.
pub fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().for_each(|b| out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]));
}

/// A JSON string.
pub fn json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(n) = rest.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..n]);
        match rest[n] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = &rest[n + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
