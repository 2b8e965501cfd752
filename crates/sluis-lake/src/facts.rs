//! What is known of a data file: the handle that the ledger keeps, and Iceberg's form of it.
//!
//! The ledger's form is our own (values as the Iceberg specification serialises single values, in hexadecimal), so that ledgers stay
//! readable whatever library reads manifests. Deliberately not here: files.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType as P, Schema, Struct,
    Type,
};
use parquet::basic::Type as Physical;
use parquet::data_type::AsBytes;
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};
use sluis_core::{Committable, Error, ErrorKind, Result};

use crate::encode::Finished;
use crate::work::broken;

/// A staged data file: what a committable of a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The table's uuid: a table made anew under the same name is another one.
    pub table: String,
    /// The full address.
    pub path: String,
    pub rows: u64,
    /// Bytes.
    pub size: u64,
    /// Number of the task and of the file within it: the order in which rows came.
    pub order: (u32, u32),
    /// Id of the partition spec.
    pub spec: i32,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub partition: Vec<Option<String>>,
    /// By field id.
    pub columns: BTreeMap<i32, Column>,
    /// Where row groups begin.
    pub splits: Vec<i64>,
}

/// Statistics of a column of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Bytes.
    pub size: u64,
    /// Values, nulls included.
    pub values: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nulls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nans: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lower: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upper: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let wrong = || Error::new(ErrorKind::Ledger, "a value in a table's handle is not hexadecimal");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(wrong());
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(|_| wrong())).collect()
}

fn value(text: &str, t: &P) -> Result<Datum> {
    Datum::try_from_bytes(&unhex(text)?, t.clone())
        .map_err(|e| Error::new(ErrorKind::Ledger, "a value in a table's handle does not have its column's type").source(e))
}

impl Facts {
    /// The facts of a finished file.
    pub fn gather(identity: Facts, file: &Finished, schema: &Schema) -> Facts {
        let mut columns: BTreeMap<i32, Column> = BTreeMap::new();
        let mut bounds: BTreeMap<i32, (Option<Vec<u8>>, Option<Vec<u8>>)> = BTreeMap::new();
        for chunk in file.metadata.row_groups().iter().flat_map(|g| g.columns()) {
            let info = chunk.column_descr().self_type().get_basic_info().clone();
            if !info.has_id() {
                continue;
            }
            let column = columns.entry(info.id()).or_default();
            column.size += chunk.compressed_size().unsigned_abs();
            column.values += chunk.num_values().unsigned_abs();
            let Some(statistics) = chunk.statistics() else { continue };
            if let Some(nulls) = statistics.null_count_opt() {
                *column.nulls.get_or_insert(0) += nulls;
            }
            let t = schema.field_by_id(info.id()).and_then(|f| f.field_type.as_primitive_type().cloned());
            if let Some(t) = t.filter(|_| chunk.column_descr().max_rep_level() == 0) {
                let (lower, upper) = bounds.entry(info.id()).or_default();
                extend(lower, bound(&t, chunk.column_descr().physical_type(), statistics, false), &t, std::cmp::Ordering::Less);
                extend(upper, bound(&t, chunk.column_descr().physical_type(), statistics, true), &t, std::cmp::Ordering::Greater);
            }
        }
        for (id, (lower, upper)) in bounds {
            let column = columns.entry(id).or_default();
            column.lower = lower.map(|b| hex(&b));
            column.upper = upper.map(|b| hex(&b));
        }
        for (id, nans) in &file.nans {
            columns.entry(*id).or_default().nans = Some(*nans);
        }
        let splits = file.metadata.row_groups().iter().filter_map(|g| g.file_offset()).collect();
        Facts { rows: file.metadata.file_metadata().num_rows().unsigned_abs(), columns, splits, ..identity }
    }

    /// A partition in the ledger's form.
    pub fn partition_text(partition: &Struct, spec: &PartitionSpec, schema: &Schema) -> Result<Vec<Option<String>>> {
        let t = spec.partition_type(schema).map_err(broken("a partition spec does not fit its schema"))?;
        let one = |(literal, field): (Option<&Literal>, &iceberg::spec::NestedFieldRef)| -> Result<Option<String>> {
            let (Some(Literal::Primitive(literal)), Type::Primitive(p)) = (literal, &*field.field_type) else { return Ok(None) };
            Ok(Some(hex(&single_value(literal, p)?)))
        };
        partition.iter().zip(t.fields()).map(one).collect()
    }

    /// The partition, by the table's spec of that id.
    pub fn partition(&self, spec: &PartitionSpec, schema: &Schema) -> Result<Struct> {
        let t = spec.partition_type(schema).map_err(broken("a partition spec does not fit its schema"))?;
        if t.fields().len() != self.partition.len() {
            return Err(Error::new(ErrorKind::Ledger, "a table's handle has another number of partition values than the table"));
        }
        let one = |(text, field): (&Option<String>, &iceberg::spec::NestedFieldRef)| match (text, &*field.field_type) {
            (Some(text), Type::Primitive(p)) => Ok(Some(Literal::from(value(text, p)?))),
            _ => Ok(None),
        };
        self.partition.iter().zip(t.fields()).map(one).collect::<Result<Vec<_>>>().map(|values| values.into_iter().collect())
    }

    /// Iceberg's form.
    pub fn data_file(&self, spec: &PartitionSpec, schema: &Schema) -> Result<DataFile> {
        let counts = |f: fn(&Column) -> Option<u64>| -> HashMap<i32, u64> { self.columns.iter().filter_map(|(id, c)| Some((*id, f(c)?))).collect() };
        let bounds = |f: fn(&Column) -> Option<&String>| -> Result<HashMap<i32, Datum>> {
            let known = self.columns.iter().filter_map(|(id, c)| Some((*id, schema.field_by_id(*id)?.field_type.as_primitive_type()?, f(c)?)));
            known.map(|(id, t, text)| Ok((id, value(text, t)?))).collect()
        };
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(self.path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition(spec, schema)?)
            .partition_spec_id(self.spec)
            .record_count(self.rows)
            .file_size_in_bytes(self.size)
            .column_sizes(counts(|c| Some(c.size)))
            .value_counts(counts(|c| Some(c.values)))
            .null_value_counts(counts(|c| c.nulls))
            .nan_value_counts(counts(|c| c.nans))
            .lower_bounds(bounds(|c| c.lower.as_ref())?)
            .upper_bounds(bounds(|c| c.upper.as_ref())?)
            .split_offsets((!self.splits.is_empty()).then(|| self.splits.clone()))
            .build()
            .map_err(|e| Error::internal("a data file lacks a fact").source(e))
    }

    pub fn of(committable: &Committable) -> Result<Facts> {
        Facts::deserialize(&committable.handle).map_err(|e| {
            Error::new(ErrorKind::Ledger, format!("the ledger's handle of a data file for `{}` cannot be read", committable.sink)).source(e)
        })
    }
}

/// A value as the Iceberg specification serialises it.
fn single_value(literal: &PrimitiveLiteral, t: &P) -> Result<Vec<u8>> {
    Ok(match (literal, t) {
        (PrimitiveLiteral::Boolean(v), _) => vec![u8::from(*v)],
        (PrimitiveLiteral::Int(v), _) => v.to_le_bytes().to_vec(),
        (PrimitiveLiteral::Long(v), _) => v.to_le_bytes().to_vec(),
        (PrimitiveLiteral::Float(v), _) => v.to_le_bytes().to_vec(),
        (PrimitiveLiteral::Double(v), _) => v.to_le_bytes().to_vec(),
        (PrimitiveLiteral::String(v), _) => v.clone().into_bytes(),
        (PrimitiveLiteral::Binary(v), _) => v.clone(),
        (PrimitiveLiteral::UInt128(v), _) => v.to_be_bytes().to_vec(),
        (PrimitiveLiteral::Int128(v), _) => shortest(*v),
        (PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin, _) => return Err(Error::internal("a partition value is no value")),
    })
}

/// Big-endian two's complement in as few bytes as hold it.
fn shortest(v: i128) -> Vec<u8> {
    let bytes = v.to_be_bytes();
    let sign = if v < 0 { 0xff } else { 0 };
    let skip = (0..15).take_while(|i| bytes[*i] == sign && (bytes[*i + 1] ^ sign) < 0x80).count();
    bytes[skip..].to_vec()
}

/// The least or greatest value of a column chunk, serialised.
fn bound(t: &P, physical: Physical, statistics: &Statistics, upper: bool) -> Option<Vec<u8>> {
    macro_rules! pick {
        ($s:expr) => {
            if upper { $s.max_opt() } else { $s.min_opt() }
        };
    }
    let decimal = matches!(t, P::Decimal { .. });
    match statistics {
        Statistics::Boolean(s) => pick!(s).map(|v| vec![u8::from(*v)]),
        Statistics::Int32(s) if decimal => pick!(s).map(|v| shortest(i128::from(*v))),
        Statistics::Int64(s) if decimal => pick!(s).map(|v| shortest(i128::from(*v))),
        Statistics::Int32(s) if *t == P::Long => pick!(s).map(|v| i64::from(*v).to_le_bytes().to_vec()),
        Statistics::Int32(s) => pick!(s).map(|v| v.to_le_bytes().to_vec()),
        Statistics::Int64(s) => pick!(s).map(|v| v.to_le_bytes().to_vec()),
        Statistics::Float(s) => pick!(s).filter(|v| !v.is_nan()).map(|v| v.to_le_bytes().to_vec()),
        Statistics::Double(s) => pick!(s).filter(|v| !v.is_nan()).map(|v| v.to_le_bytes().to_vec()),
        Statistics::ByteArray(s) => pick!(s).map(|v| v.as_bytes().to_vec()).filter(|v| *t != P::String || std::str::from_utf8(v).is_ok()),
        Statistics::FixedLenByteArray(s) if decimal && physical == Physical::FIXED_LEN_BYTE_ARRAY => {
            let v = pick!(s)?.as_bytes();
            let sign = if v.first().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
            let mut wide = [sign; 16];
            let from = 16_usize.checked_sub(v.len())?;
            wide[from..].copy_from_slice(v);
            Some(shortest(i128::from_be_bytes(wide)))
        }
        Statistics::FixedLenByteArray(s) => pick!(s).map(|v| v.as_bytes().to_vec()),
        Statistics::Int96(_) => None,
    }
}

/// Keeps the lesser (or greater) of two bounds.
fn extend(have: &mut Option<Vec<u8>>, come: Option<Vec<u8>>, t: &P, wanted: std::cmp::Ordering) {
    let Some(come) = come else { return };
    let better = match have.as_ref() {
        None => true,
        Some(have) => {
            let read = |bytes: &[u8]| Datum::try_from_bytes(bytes, t.clone()).ok();
            matches!((read(&come), read(have)), (Some(a), Some(b)) if a.partial_cmp(&b) == Some(wanted))
        }
    };
    if better {
        *have = Some(come);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_take_as_few_bytes_as_hold_them() {
        for (v, bytes) in [(0, vec![0]), (127, vec![0x7f]), (128, vec![0, 0x80]), (-1, vec![0xff]), (-128, vec![0x80]), (-129, vec![0xff, 0x7f])] {
            assert_eq!(shortest(v), bytes, "{v}");
        }
        assert_eq!(shortest(i128::MIN).len(), 16);
        assert_eq!(unhex(&hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
        assert!(unhex("abc").is_err() && unhex("zz").is_err());
    }
}
