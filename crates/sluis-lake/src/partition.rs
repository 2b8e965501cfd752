//! Partition transforms: as written (`day(started_at)`), as a spec, and rows divided by them.
//!
//! Deliberately not here: files. Guarantees: every row is in one part; rows of a part keep their order; a batch of one part is not copied.

use std::fmt;
use std::str::FromStr;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::spec::{Literal, PartitionSpec, PrimitiveType, Schema, Struct, Transform, Type, UnboundPartitionField, UnboundPartitionSpec};
use iceberg::transform::create_transform_function;
use sluis_core::divide::Groups;
use sluis_core::{Error, ErrorKind, Result};

use crate::schema::sql_name;
use crate::work::{broken, unfit};

/// One partition column: a transform of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    pub transform: Transform,
    pub column: String,
}

impl FromStr for Term {
    type Err = String;
    fn from_str(text: &str) -> Result<Term, String> {
        let wrong = || {
            format!(
                "`{text}` is no partition column: write a column, or `year(c)`, `month(c)`, `day(c)`, `hour(c)`, `bucket(16, c)`, `truncate(4, c)`"
            )
        };
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            return if text.is_empty() || text.contains([')', ',']) {
                Err(wrong())
            } else {
                Ok(Term { transform: Transform::Identity, column: text.into() })
            };
        };
        let inner = rest.strip_suffix(')').ok_or_else(wrong)?;
        let (number, column) = match inner.split_once(',') {
            Some((n, column)) => (Some(n.trim().parse::<u32>().ok().filter(|n| (1..=i32::MAX as u32).contains(n)).ok_or_else(wrong)?), column.trim()),
            None => (None, inner.trim()),
        };
        let transform = match (name.trim().to_ascii_lowercase().as_str(), number) {
            ("year" | "years", None) => Transform::Year,
            ("month" | "months", None) => Transform::Month,
            ("day" | "days" | "date", None) => Transform::Day,
            ("hour" | "hours", None) => Transform::Hour,
            ("bucket", Some(n)) => Transform::Bucket(n),
            ("truncate", Some(n)) => Transform::Truncate(n),
            ("identity", None) => Transform::Identity,
            _ => return Err(wrong()),
        };
        if column.is_empty() || column.contains(['(', ')', ',']) {
            return Err(wrong());
        }
        Ok(Term { transform, column: column.into() })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.column;
        match self.transform {
            Transform::Identity => f.write_str(c),
            Transform::Bucket(n) => write!(f, "bucket({n}, {c})"),
            Transform::Truncate(n) => write!(f, "truncate({n}, {c})"),
            ref other => write!(f, "{other}({c})"),
        }
    }
}

/// The terms as people write them, for messages.
pub fn listed(terms: &[Term]) -> String {
    format!("[{}]", terms.iter().map(Term::to_string).collect::<Vec<_>>().join(", "))
}

/// The spec of a new table.
///
/// # Errors
/// `ErrorKind::Config`: no such column, or a transform that its type has not.
pub fn spec(terms: &[Term], schema: &Schema) -> Result<UnboundPartitionSpec> {
    let mut taken: Vec<String> = schema.as_struct().fields().iter().map(|f| f.name.to_lowercase()).collect();
    let mut fields = Vec::new();
    for term in terms {
        let Some(source) = schema.as_struct().fields().iter().find(|f| f.name == term.column) else {
            let have: Vec<&str> = schema.as_struct().fields().iter().map(|f| f.name.as_str()).collect();
            return Err(
                Error::config(format!("partition_by: there is no column `{}`", term.column)).hint(format!("the columns are {}", have.join(", ")))
            );
        };
        let inexact = matches!(&*source.field_type, Type::Primitive(PrimitiveType::Float | PrimitiveType::Double));
        if inexact || term.transform.result_type(&source.field_type).is_err() {
            return Err(Error::config(format!("partition_by: `{term}` cannot be made of {}", sql_name(&source.field_type)))
                .hint("year, month and day take dates and timestamps, hour takes timestamps, truncate whole numbers, decimals and text"));
        }
        let mut name = match term.transform {
            Transform::Identity => term.column.clone(),
            Transform::Bucket(_) => format!("{}_bucket", term.column),
            Transform::Truncate(_) => format!("{}_trunc", term.column),
            ref other => format!("{}_{other}", term.column),
        };
        while term.transform != Transform::Identity && taken.contains(&name.to_lowercase()) {
            name.push_str("_part");
        }
        taken.push(name.to_lowercase());
        fields.push(UnboundPartitionField { source_id: source.id, field_id: None, name, transform: term.transform });
    }
    UnboundPartitionSpec::builder()
        .add_partition_fields(fields)
        .map(|b| b.build())
        .map_err(|e| Error::config(format!("partition_by: {}", e.message())).hint("list each column once"))
}

/// The terms of a table's spec (void ones left out).
pub fn terms(spec: &PartitionSpec, schema: &Schema) -> Vec<Term> {
    let named = |f: &iceberg::spec::PartitionField| {
        let column = schema.name_by_field_id(f.source_id).unwrap_or("?").to_owned();
        (f.transform != Transform::Void).then_some(Term { transform: f.transform, column })
    };
    spec.fields().iter().filter_map(named).collect()
}

/// Rows of one partition.
pub struct Portion {
    pub partition: Struct,
    pub rows: RecordBatch,
}

/// Divides a batch that has the table's types.
///
/// # Errors
/// `ErrorKind::Data`: a value that the transform does not take.
pub fn divide(batch: &RecordBatch, spec: &PartitionSpec, schema: &Schema) -> Result<Vec<Portion>> {
    if spec.fields().is_empty() {
        return Ok(vec![Portion { partition: Struct::empty(), rows: batch.clone() }]);
    }
    let mut groups = Groups::one(batch.num_rows());
    let mut values: Vec<(ArrayRef, Type)> = Vec::new();
    for field in spec.fields() {
        let source = schema.field_by_id(field.source_id).ok_or_else(|| Error::internal("a partition column is not in the schema"))?;
        let t = field.transform.result_type(&source.field_type).map_err(broken("a partition transform does not fit its column"))?;
        let array = match batch.column_by_name(&source.name) {
            Some(column) => create_transform_function(&field.transform)
                .and_then(|f| f.transform(column.clone()))
                .map_err(|e| Error::new(ErrorKind::Data, format!("partition `{}` cannot be computed", field.name)).source(e))?,
            None => arrow_array::new_null_array(&arrow_of(&t), batch.num_rows()),
        };
        groups.split(&array)?;
        values.push((array, t));
    }
    let partitions = groups.firsts().iter().map(|row| partition(&values, *row)).collect::<Result<Vec<_>>>()?;
    if let [only] = partitions.as_slice() {
        return Ok(vec![Portion { partition: only.clone(), rows: batch.clone() }]);
    }
    let portions = partitions.into_iter().zip(groups.rows()).map(|(partition, rows)| {
        let rows = arrow_select::take::take_record_batch(batch, &rows).map_err(unfit)?;
        Ok(Portion { partition, rows })
    });
    portions.collect()
}

fn arrow_of(t: &Type) -> DataType {
    iceberg::arrow::type_to_arrow_type(t).unwrap_or(DataType::Int32)
}

fn partition(values: &[(ArrayRef, Type)], row: usize) -> Result<Struct> {
    let one = |(array, t): &(ArrayRef, Type)| -> Result<Option<Literal>> {
        if array.is_null(row) {
            return Ok(None);
        }
        let literals = arrow_primitive_to_literal(&array.slice(row, 1), t).map_err(broken("a partition value cannot be read"))?;
        Ok(literals.into_iter().next().flatten())
    };
    values.iter().map(one).collect::<Result<Vec<_>>>().map(|values| values.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_written() {
        for text in ["day(started_at)", "bucket(16, msisdn)", "truncate(4, x)", "month(d)", "year(d)", "hour(t)", "region"] {
            assert_eq!(text.parse::<Term>().unwrap().to_string(), text);
        }
        for bad in ["", "day()", "bucket(x)", "bucket(0, x)", "bucket(-1, x)", "week(x)", "day(a, b)", "truncate(4 x)", "day(a", "a,b"] {
            assert!(bad.parse::<Term>().is_err(), "{bad}");
        }
    }
}
