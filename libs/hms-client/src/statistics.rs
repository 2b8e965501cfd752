//! Statistics of columns, of whole tables and of partitions. Basic ones (`numRows` …) are parameters of tables and partitions.

use std::collections::BTreeMap;

use crate::client::Repeat;
use crate::connection::Raises;
use crate::fields::Field;
use crate::wire::{Struct, Type, Value};
use crate::{Client, Error, Kind, Result};

const LISTED: Raises = &[(1, Kind::NoSuchObject), (2, Kind::Meta)];
const SET: Raises = &[(1, Kind::NoSuchObject), (2, Kind::InvalidObject), (3, Kind::Meta), (4, Kind::InvalidObject)];
/// Statistics are kept per engine from Hive 4 on; Impala has its own.
const ENGINE: &str = "hive";

/// What is known of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStatistics {
    /// The column.
    pub column: String,
    /// Hive's type of it, as in `bigint`.
    pub kind: String,
    /// How many values are NULL.
    pub nulls: i64,
    /// What depends on the type.
    pub values: Values,
}

/// The least and the greatest value, where known, and how many different ones there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds<T> {
    /// The least.
    pub low: Option<T>,
    /// The greatest.
    pub high: Option<T>,
    /// How many different ones, about.
    pub distinct: i64,
}

/// Statistics by type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// How many are true, and false.
    Boolean {
        /// How many are true.
        trues: i64,
        /// How many are false.
        falses: i64,
    },
    /// Whole numbers.
    Long(Bounds<i64>),
    /// `float` and `double`.
    Double(Bounds<f64>),
    /// Unscaled values with their scale.
    Decimal(Bounds<(i128, i16)>),
    /// Days since 1970.
    Date(Bounds<i64>),
    /// Seconds since 1970.
    Timestamp(Bounds<i64>),
    /// Text.
    Text {
        /// In bytes.
        longest: i64,
        /// In bytes.
        average: f64,
        /// How many different ones, about.
        distinct: i64,
    },
    /// Bytes.
    Binary {
        /// In bytes.
        longest: i64,
        /// In bytes.
        average: f64,
    },
}

/// Statistics of a table or of one of its partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsOf {
    /// The partition's name, as in `day=2026-01-31`; `None`: the table.
    pub partition: Option<String>,
    /// What is known.
    pub columns: Vec<ColumnStatistics>,
}

impl Client {
    /// What is known of columns of a table. Columns of which nothing is known are left out.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table is not there, and as every call.
    pub async fn table_statistics<S: AsRef<str>>(&self, database: &str, table: &str, columns: &[S]) -> Result<Vec<ColumnStatistics>> {
        let request = Struct::default().with(1, database).with(2, table).with(3, columns).with(6, ENGINE);
        let mut answer: Struct = self.get("get_table_statistics_req", Struct::default().with(1, request), LISTED, Repeat::Safe).await?;
        answer.take(1).map_or_else(|| Ok(Vec::new()), all)
    }

    /// What is known of columns of partitions, by the partitions' names.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table is not there, and as every call.
    pub async fn partition_statistics<S: AsRef<str>, P: AsRef<str>>(
        &self,
        database: &str,
        table: &str,
        columns: &[S],
        partitions: &[P],
    ) -> Result<BTreeMap<String, Vec<ColumnStatistics>>> {
        let request = Struct::default().with(1, database).with(2, table).with(3, columns).with(4, partitions).with(7, ENGINE);
        let mut answer: Struct = self.get("get_partitions_statistics_req", Struct::default().with(1, request), LISTED, Repeat::Safe).await?;
        let Some(Value::Map(_, _, found)) = answer.take(1) else { return Ok(BTreeMap::new()) };
        found.into_iter().map(|(name, columns)| Ok((String::of(name)?.unwrap_or_default(), all(columns)?))).collect()
    }

    /// Sets statistics of a table, or of partitions of one table. Those of columns that are not named stay.
    ///
    /// # Errors
    /// [`Kind::NoSuchObject`] if the table, a partition or a column is not there, and as every call.
    pub async fn set_statistics(&self, database: &str, table: &str, statistics: &[StatisticsOf]) -> Result<()> {
        let value = |one: &StatisticsOf| {
            let about = Struct::default().with(1, one.partition.is_none()).with(2, database).with(3, table);
            let about = about.with_some(4, one.partition.as_deref());
            let columns = Value::List(Type::Struct, one.columns.iter().map(|c| c.value().into()).collect());
            Struct::default().with(1, about).with(2, columns).with(4, ENGINE).into()
        };
        let all = Value::List(Type::Struct, statistics.iter().map(value).collect());
        let request = Struct::default().with(1, all).with(2, false).with(5, ENGINE);
        self.call("set_aggr_stats_for", Struct::default().with(1, request), SET, Repeat::Safe).await.map(drop)
    }
}

fn all(list: Value) -> Result<Vec<ColumnStatistics>> {
    let Value::List(_, list) = list else { return Err(Error::protocol("statistics are no list")) };
    list.into_iter().map(ColumnStatistics::of).collect()
}

impl ColumnStatistics {
    fn of(value: Value) -> Result<ColumnStatistics> {
        let missing = || Error::protocol("statistics of a column lack its name, its type or their data");
        let Value::Struct(mut fields) = value else { return Err(missing()) };
        let column = fields.take(1).map(String::of).transpose()?.flatten().ok_or_else(missing)?;
        let kind = fields.take(2).map(String::of).transpose()?.flatten().ok_or_else(missing)?;
        let Some(Value::Struct(mut union)) = fields.take(3) else { return Err(missing()) };
        let Some((id, Value::Struct(data))) = union.0.pop() else { return Err(missing()) };
        let mut data = Data(data);
        let nulls = data.long(3);
        let values = match id {
            1 => Values::Boolean { trues: data.long(1), falses: data.long(2) },
            2 => Values::Long(data.bounds(long)),
            3 => Values::Double(data.bounds(|v| if let Value::Double(v) = v { Some(v) } else { None })),
            4 => Values::Text { longest: data.long(1), average: data.double(2), distinct: data.long(4) },
            5 => Values::Binary { longest: data.long(1), average: data.double(2) },
            6 => Values::Decimal(data.bounds(decimal)),
            7 => Values::Date(data.bounds(inside)),
            8 => Values::Timestamp(data.bounds(inside)),
            other => return Err(Error::protocol(format!("statistics of the kind {other} of the column {column}"))),
        };
        Ok(ColumnStatistics { column, kind, nulls, values })
    }

    fn value(&self) -> Struct {
        fn bounds<T>(bounds: &Bounds<T>, nulls: i64, value: impl Fn(&T) -> Value) -> Struct {
            let data = Struct::default().with_some(1, bounds.low.as_ref().map(&value)).with_some(2, bounds.high.as_ref().map(&value));
            data.with(3, nulls).with(4, bounds.distinct)
        }
        let inside = |v: &i64| Struct::default().with(1, *v).into();
        let (id, data) = match &self.values {
            Values::Boolean { trues, falses } => (1, Struct::default().with(1, *trues).with(2, *falses).with(3, self.nulls)),
            Values::Long(found) => (2, bounds(found, self.nulls, |v| (*v).into())),
            Values::Double(found) => (3, bounds(found, self.nulls, |v| Value::Double(*v))),
            Values::Text { longest, average, distinct } => {
                (4, Struct::default().with(1, *longest).with(2, Value::Double(*average)).with(3, self.nulls).with(4, *distinct))
            }
            Values::Binary { longest, average } => (5, Struct::default().with(1, *longest).with(2, Value::Double(*average)).with(3, self.nulls)),
            Values::Decimal(found) => (
                6,
                bounds(found, self.nulls, |(unscaled, scale)| {
                    Struct::default().with(1, Value::Bytes(unscaled.to_be_bytes().to_vec())).with(3, *scale).into()
                }),
            ),
            Values::Date(found) => (7, bounds(found, self.nulls, inside)),
            Values::Timestamp(found) => (8, bounds(found, self.nulls, inside)),
        };
        Struct::default().with(1, self.column.as_str()).with(2, self.kind.as_str()).with(3, Struct::default().with(id, data))
    }
}

/// The data of one column; what is not there is 0.
struct Data(Struct);

impl Data {
    fn long(&mut self, id: i16) -> i64 {
        self.0.take(id).and_then(long).unwrap_or_default()
    }

    fn double(&mut self, id: i16) -> f64 {
        match self.0.take(id) {
            Some(Value::Double(v)) => v,
            _ => 0.0,
        }
    }

    fn bounds<T>(&mut self, of: impl Fn(Value) -> Option<T>) -> Bounds<T> {
        Bounds { low: self.0.take(1).and_then(&of), high: self.0.take(2).and_then(&of), distinct: self.long(4) }
    }
}

fn long(value: Value) -> Option<i64> {
    if let Value::I64(v) = value { Some(v) } else { None }
}

/// The number in a struct of one field.
fn inside(value: Value) -> Option<i64> {
    if let Value::Struct(mut fields) = value { fields.take(1).and_then(long) } else { None }
}

/// Two's complement, the highest byte first, of any length up to 16.
fn decimal(value: Value) -> Option<(i128, i16)> {
    let Value::Struct(mut fields) = value else { return None };
    let (Some(Value::Bytes(unscaled)), Some(Value::I16(scale))) = (fields.take(1), fields.take(3)) else { return None };
    let negative = unscaled.first()? & 0x80 != 0;
    let mut whole = [if negative { 0xff } else { 0 }; 16];
    let at = whole.len().checked_sub(unscaled.len())?;
    whole[at..].copy_from_slice(&unscaled);
    Some((i128::from_be_bytes(whole), scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bounds = || Bounds { low: Some(-5), high: Some(1 << 40), distinct: 9 };
        let all = [
            Values::Boolean { trues: 3, falses: 4 },
            Values::Long(bounds()),
            Values::Double(Bounds { low: Some(-0.5), high: None, distinct: 2 }),
            Values::Decimal(Bounds { low: Some((-12345, 2)), high: Some((i128::MAX, 0)), distinct: 1 }),
            Values::Date(bounds()),
            Values::Timestamp(bounds()),
            Values::Text { longest: 10, average: 2.5, distinct: 7 },
            Values::Binary { longest: 10, average: 2.5 },
        ];
        for values in all {
            let one = ColumnStatistics { column: "a".into(), kind: "x".into(), nulls: 8, values };
            assert_eq!(ColumnStatistics::of(one.value().into()).unwrap(), one);
        }
    }

    #[test]
    fn short_decimals_keep_their_sign() {
        let of = |bytes: &[u8]| decimal(Struct::default().with(1, Value::Bytes(bytes.to_vec())).with(3, 2_i16).into());
        assert_eq!(of(&[0xff]), Some((-1, 2)));
        assert_eq!(of(&[0, 0xff]), Some((255, 2)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1; 17]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_statistics_are_too_strange(fields in crate::wire::tests::structure()) {
            let _ = ColumnStatistics::of(fields.into());
        }
    }
}
