//! Batches to Avro: an object container with a record per row.
//!
//! Deliberately not here: reading. Guarantees: what is written reads back as the same rows; a column that may be null is a union of null and
//! its type; the same rows make the same bytes (the mark between blocks is made from the first of them); a name that Avro does not allow is
//! an error, never another name.

use std::collections::HashSet;
use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, SchemaRef};
use serde_json::{Value, json};
use sluis_core::columns::map_parts;
use sluis_core::{Encoder, EncoderFactory, Error, Result};

use super::config::{AvroWrite, Codec};
use super::container::MAGIC;
use crate::cast::normal_fields;
use crate::cell::Cells;

/// Makes Avro encoders.
pub struct AvroFactory(AvroWrite);

impl AvroFactory {
    /// With options that have been checked.
    pub fn new(config: AvroWrite) -> Self {
        Self(config)
    }
}

impl EncoderFactory for AvroFactory {
    fn name(&self) -> &'static str {
        "avro"
    }
    fn extension(&self) -> String {
        "avro".into()
    }
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
        let config = &self.0;
        let mut names = Names { taken: HashSet::from([config.record.clone()]) };
        let mut record = names.record(&config.record, &normal_fields_of(schema))?;
        if !config.namespace.is_empty() {
            record["namespace"] = config.namespace.clone().into();
        }
        Ok(Box::new(AvroEncoder {
            schema: record.to_string(),
            nullable: schema.fields().iter().map(|f| f.is_nullable()).collect(),
            codec: config.codec,
            block_size: config.block_size.0 as usize,
            block: Vec::new(),
            rows: 0,
            mark: None,
        }))
    }
}

/// The columns in the types of pipelines, null or not as given.
fn normal_fields_of(schema: &SchemaRef) -> Fields {
    let normal = normal_fields(schema.fields());
    normal.iter().zip(schema.fields()).map(|(n, f)| n.as_ref().clone().with_nullable(f.is_nullable())).collect()
}

/// The entries of a map, every part of which may be null.
fn normal_nested(entries: &Field) -> DataType {
    match entries.data_type() {
        DataType::Struct(fields) => DataType::Struct(normal_fields(fields)),
        other => other.clone(),
    }
}

/// Whether Avro allows it as a name.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Names of records, each once.
struct Names {
    taken: HashSet<String>,
}

impl Names {
    fn record(&mut self, name: &str, fields: &Fields) -> Result<Value> {
        let fields = fields.iter().map(|f| {
            if !is_name(f.name()) {
                let message =
                    format!("the column `{}` cannot be written as Avro: names are letters, digits and `_`, and begin with no digit", f.name());
                return Err(Error::config(message).hint("give it another name in `select`"));
            }
            let kind = self.of_field(name, f)?;
            Ok(if f.is_nullable() { json!({ "name": f.name(), "type": kind, "default": null }) } else { json!({ "name": f.name(), "type": kind }) })
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        Ok(json!({ "type": "record", "name": name, "fields": fields }))
    }

    fn of_field(&mut self, parent: &str, field: &Field) -> Result<Value> {
        let kind = self.of_type(&format!("{parent}_{}", field.name()), field.data_type())?;
        Ok(if field.is_nullable() { json!(["null", kind]) } else { kind })
    }

    fn of_type(&mut self, name: &str, data_type: &DataType) -> Result<Value> {
        let logical = |plain: &str, logical: &str| json!({ "type": plain, "logicalType": logical });
        Ok(match data_type {
            DataType::Boolean => "boolean".into(),
            DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
            DataType::Int64 => "long".into(),
            DataType::Float32 => "float".into(),
            DataType::Float64 => "double".into(),
            DataType::Utf8 | DataType::Null => "string".into(),
            DataType::Binary => "bytes".into(),
            DataType::Date32 => logical("int", "date"),
            DataType::Timestamp(_, None) => logical("long", "local-timestamp-micros"),
            DataType::Timestamp(_, Some(_)) => logical("long", "timestamp-micros"),
            DataType::Decimal128(p, s) => json!({ "type": "bytes", "logicalType": "decimal", "precision": p, "scale": s }),
            DataType::List(item) => json!({ "type": "array", "items": self.of_field(name, item)? }),
            DataType::Map(entries, _) => match map_parts(data_type) {
                Some((DataType::Utf8, value)) => json!({ "type": "map", "values": ["null", self.of_type(name, value)?] }),
                // Avro's own maps have texts as keys.
                _ => json!({ "type": "array", "items": self.of_type(name, &normal_nested(entries))? }),
            },
            DataType::Struct(fields) => {
                let fresh = (2..).map(|n| format!("{name}_{n}"));
                let name = std::iter::once(name.to_owned()).chain(fresh).find(|n| !self.taken.contains(n)).unwrap_or_default();
                self.taken.insert(name.clone());
                self.record(&name, fields)?
            }
            other => return Err(Error::config(format!("a column of the type {other} cannot be written as Avro"))),
        })
    }
}

struct AvroEncoder {
    schema: String,
    nullable: Vec<bool>,
    codec: Codec,
    block_size: usize,
    /// Rows that are in no block yet.
    block: Vec<u8>,
    rows: i64,
    /// What stands behind every block; `None`: the header is not written.
    mark: Option<[u8; 16]>,
}

impl Encoder for AvroEncoder {
    fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            for (column, nullable) in columns.iter().zip(&self.nullable) {
                field(column, row, *nullable, &mut self.block)?;
            }
            self.rows += 1;
            if self.block.len() >= self.block_size {
                self.end_block(out)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, out: &mut Vec<u8>) -> Result<()> {
        if self.rows > 0 {
            self.end_block(out)?;
        }
        self.header(out);
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        self.block.len()
    }
}

impl AvroEncoder {
    fn end_block(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let mark = self.header(out);
        put_long(self.rows, out);
        put_bytes(&packed(&self.block, self.codec)?, out);
        out.extend_from_slice(&mark);
        self.block.clear();
        self.rows = 0;
        Ok(())
    }

    /// Writes the header, once.
    fn header(&mut self, out: &mut Vec<u8>) -> [u8; 16] {
        if let Some(mark) = self.mark {
            return mark;
        }
        out.extend_from_slice(MAGIC);
        put_long(2, out);
        put_bytes(b"avro.schema", out);
        put_bytes(self.schema.as_bytes(), out);
        put_bytes(b"avro.codec", out);
        put_bytes(self.codec.name().as_bytes(), out);
        put_long(0, out);
        let mark = mark(self.schema.as_bytes(), &self.block);
        out.extend_from_slice(&mark);
        self.mark = Some(mark);
        mark
    }
}

/// Sixteen bytes that are unlikely to stand in the file by chance: a hash of its beginning.
fn mark(schema: &[u8], block: &[u8]) -> [u8; 16] {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for &b in schema.iter().chain(block) {
        hash = (hash ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash.to_be_bytes()
}

fn packed(plain: &[u8], codec: Codec) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Error::internal("compressing failed").source(e);
    Ok(match codec {
        Codec::Deflate => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(plain).and_then(|()| encoder.finish()).map_err(failed)?
        }
        Codec::Zstd => zstd::bulk::compress(plain, 3).map_err(failed)?,
        Codec::Snappy => {
            let mut out = snap::raw::Encoder::new().compress_vec(plain).map_err(|e| Error::internal("compressing failed").source(e))?;
            out.extend_from_slice(&crc32fast::hash(plain).to_be_bytes());
            out
        }
        Codec::Null => plain.to_vec(),
        Codec::Bzip2 | Codec::Xz => return Err(Error::internal("a codec that is only read")),
    })
}

/// A whole number: zigzag, seven bits a byte.
#[inline]
pub fn put_long(v: i64, out: &mut Vec<u8>) {
    let mut rest = ((v << 1) ^ (v >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes behind their length.
#[inline]
fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// A value, with its branch where it may be null.
#[inline]
fn field(cells: &Cells, row: usize, nullable: bool, out: &mut Vec<u8>) -> Result<()> {
    match (cells.is_null(row), nullable) {
        (true, true) => {
            out.push(0);
            Ok(())
        }
        (true, false) => Err(Error::new(sluis_core::ErrorKind::Data, "a column that allows no null holds one")),
        (false, true) => {
            out.push(2);
            value(cells, row, out)
        }
        (false, false) => value(cells, row, out),
    }
}

fn value(cells: &Cells, row: usize, out: &mut Vec<u8>) -> Result<()> {
    match cells {
        Cells::Bool(a) => out.push(u8::from(a.value(row))),
        Cells::I8(a) => put_long(a.value(row).into(), out),
        Cells::I16(a) => put_long(a.value(row).into(), out),
        Cells::I32(a) => put_long(a.value(row).into(), out),
        Cells::I64(a) => put_long(a.value(row), out),
        Cells::F32(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
        Cells::F64(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
        Cells::Text(a) => put_bytes(a.value(row).as_bytes(), out),
        Cells::Binary(a) => put_bytes(a.value(row), out),
        Cells::Date(a) => put_long(a.value(row).into(), out),
        Cells::Timestamp(a, _) => put_long(a.value(row), out),
        Cells::Decimal(a, _) => {
            let bytes = a.value(row).to_be_bytes();
            // As few bytes as keep the sign.
            let surplus = bytes.windows(2).take_while(|w| (w[0] == 0 && w[1] < 0x80) || (w[0] == 0xff && w[1] >= 0x80)).count();
            put_bytes(&bytes[surplus..], out);
        }
        Cells::Struct(_, children) => {
            for (_, child) in children {
                field(child, row, true, out)?;
            }
        }
        Cells::List(a, items) => {
            let offsets = a.value_offsets();
            let range = offsets[row]..offsets[row + 1];
            if !range.is_empty() {
                put_long(i64::from(range.end - range.start), out);
                for item in range {
                    field(items, item as usize, true, out)?;
                }
            }
            put_long(0, out);
        }
        Cells::Map(a, keys, values) => {
            let offsets = a.value_offsets();
            let range = offsets[row]..offsets[row + 1];
            if !range.is_empty() {
                put_long(i64::from(range.end - range.start), out);
                let plain = matches!(keys.as_ref(), Cells::Text(_));
                for entry in range {
                    field(keys, entry as usize, !plain, out)?;
                    field(values, entry as usize, true, out)?;
                }
            }
            put_long(0, out);
        }
        Cells::Null => {}
    }
    Ok(())
}
