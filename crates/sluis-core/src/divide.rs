//! Divides the rows of a batch into groups of equal values, one column after the other.
//!
//! Deliberately not here: what a group is called and where its rows go. Guarantees: every row is in one group; groups come in the order of
//! their first rows and keep the order of theirs; no value is copied.

use std::collections::HashMap;
use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::{Array, UInt32Array};
use arrow_schema::DataType;

use crate::error::{Error, Result};

/// The rows of a batch, in groups.
#[derive(Debug)]
pub struct Groups {
    /// Of each row, the number of its group.
    of: Vec<u32>,
    firsts: Vec<usize>,
}

impl Groups {
    /// All `rows` rows in one group; no group if there are none.
    pub fn one(rows: usize) -> Self {
        Self { of: vec![0; rows], firsts: (0..rows.min(1)).collect() }
    }

    /// Of each group, the first row.
    pub fn firsts(&self) -> &[usize] {
        &self.firsts
    }

    /// Of each group, the numbers of its rows.
    pub fn rows(&self) -> impl Iterator<Item = UInt32Array> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.firsts.len()];
        self.of.iter().zip(0..).for_each(|(group, row)| rows[*group as usize].push(row));
        rows.into_iter().map(UInt32Array::from)
    }

    /// Splits the groups by the values of a column, which has as many rows; null is a value of its own.
    ///
    /// # Errors
    /// `ErrorKind::Internal` for columns of floating point numbers, and nested ones.
    pub fn split(&mut self, column: &dyn Array) -> Result<()> {
        let data = column.to_data();
        macro_rules! by {
            ($values:expr) => {{
                let values = $values;
                self.by(column, |row| values.value(row));
            }};
        }
        macro_rules! native {
            ($t:ty) => {{
                let values = data.buffer::<$t>(0);
                self.by(column, |row| values[row]);
            }};
        }
        match (column.data_type(), column.data_type().primitive_width()) {
            (DataType::Boolean, _) => by!(column.as_boolean()),
            (DataType::Utf8, _) => by!(column.as_string::<i32>()),
            (DataType::LargeUtf8, _) => by!(column.as_string::<i64>()),
            (DataType::Utf8View, _) => by!(column.as_string_view()),
            (DataType::Binary, _) => by!(column.as_binary::<i32>()),
            (DataType::FixedSizeBinary(_), _) => by!(column.as_fixed_size_binary()),
            (t, Some(1)) if !t.is_floating() => native!(i8),
            (t, Some(2)) if !t.is_floating() => native!(i16),
            (t, Some(4)) if !t.is_floating() => native!(i32),
            (t, Some(8)) if !t.is_floating() => native!(i64),
            (t, Some(16)) if !t.is_floating() => native!(i128),
            (other, _) => return Err(Error::internal(format!("rows cannot be divided by a column of {other}"))),
        }
        Ok(())
    }

    fn by<K: Hash + Eq + Copy>(&mut self, column: &dyn Array, key: impl Fn(usize) -> K) {
        let nulls = column.nulls();
        let mut seen: HashMap<(u32, Option<K>), u32> = HashMap::new();
        self.firsts.clear();
        // Neighbours are mostly alike: then nothing is looked up.
        let mut last: Option<((u32, Option<K>), u32)> = None;
        for (row, group) in self.of.iter_mut().enumerate() {
            let at = (*group, nulls.is_none_or(|n| n.is_valid(row)).then(|| key(row)));
            *group = match last {
                Some((before, number)) if before == at => number,
                _ => {
                    let number = *seen.entry(at).or_insert_with(|| {
                        self.firsts.push(row);
                        self.firsts.len() as u32 - 1
                    });
                    last = Some((at, number));
                    number
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int16Array, LargeStringArray,
        StringArray, StringViewArray, TimestampMillisecondArray, UInt8Array,
    };

    use super::*;

    fn groups(columns: &[ArrayRef]) -> Vec<Vec<u32>> {
        let mut groups = Groups::one(columns[0].len());
        columns.iter().for_each(|c| groups.split(c).unwrap());
        let rows: Vec<Vec<u32>> = groups.rows().map(|rows| rows.values().to_vec()).collect();
        assert_eq!(groups.firsts(), rows.iter().map(|g| g[0] as usize).collect::<Vec<_>>());
        rows
    }

    #[test]
    fn rows_of_equal_values_are_one_group_and_null_is_a_value() {
        let day: ArrayRef = Arc::new(Date32Array::from(vec![Some(7), None, Some(7), Some(0), None]));
        let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("b"), None, Some("a")]));
        assert_eq!(groups(std::slice::from_ref(&day)), [vec![0, 2], vec![1, 4], vec![3]]);
        assert_eq!(groups(&[day, name]), [vec![0], vec![1, 4], vec![2], vec![3]]);
    }

    #[test]
    fn every_type_that_can_is_divided_also_where_it_is_a_slice() {
        let columns: [ArrayRef; 10] = [
            Arc::new(BooleanArray::from(vec![true, true, false, true, false])),
            Arc::new(UInt8Array::from(vec![1, 200, 3, 200, 3])),
            Arc::new(Int16Array::from(vec![1, -2, 3, -2, 3])),
            Arc::new(Decimal128Array::from(vec![1, -2, 1 << 90, -2, 1 << 90])),
            Arc::new(TimestampMillisecondArray::from(vec![1, -2, 3, -2, 3]).with_timezone("Europe/Amsterdam")),
            Arc::new(LargeStringArray::from(vec!["1", "", "3", "", "3"])),
            Arc::new(StringViewArray::from(vec!["1", "a text of more than twelve bytes", "3", "a text of more than twelve bytes", "3"])),
            Arc::new(BinaryArray::from_iter_values(["1", "", "3", "", "3"])),
            Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 1], [2, 1], [3, 1], [2, 1], [3, 1]].iter()).unwrap()),
            Arc::new(arrow_array::Time64MicrosecondArray::from(vec![1, 2, 3, 2, 3])),
        ];
        for column in columns {
            assert_eq!(groups(&[column.slice(1, 4)]), [vec![0, 2], vec![1, 3]], "{}", column.data_type());
        }
    }

    #[test]
    fn floating_point_numbers_are_refused() {
        assert!(Groups::one(1).split(&Float64Array::from(vec![1.0])).is_err());
    }
}
