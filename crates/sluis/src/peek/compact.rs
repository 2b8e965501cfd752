//! Columns of whole numbers that are moments written without marks: `20240129`, `20240129075211`.
//!
//! A run infers whole numbers, for that is what they are; who looks at the files first is offered the type with its pattern. Pure.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use chrono::NaiveDate;
use serde_json::{Value, json};

/// Years that are taken for years.
const YEARS: std::ops::RangeInclusive<i64> = 1990..=2069;
/// Different values that say enough by themselves; fewer do if the column's name speaks of time.
const ENOUGH: usize = 3;

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Day,
    Minute,
    Second,
}

impl Form {
    /// Of a number that is a moment.
    fn of(value: i64) -> Option<Form> {
        let (form, day, time) = match value {
            19_000_000..=29_999_999 => (Form::Day, value, 0),
            190_000_000_000..=299_999_999_999 => (Form::Minute, value / 10_000, value % 10_000 * 100),
            19_000_000_000_000..=29_999_999_999_999 => (Form::Second, value / 1_000_000, value % 1_000_000),
            _ => return None,
        };
        let date = NaiveDate::from_ymd_opt((day / 10_000) as i32, (day / 100 % 100) as u32, (day % 100) as u32);
        let in_day = time / 10_000 < 24 && time / 100 % 100 < 60 && time % 100 < 60;
        (YEARS.contains(&(day / 10_000)) && date.is_some() && in_day).then_some(form)
    }

    fn type_name(self) -> &'static str {
        match self {
            Form::Day => "date(%Y%m%d)",
            Form::Minute => "timestamp(%Y%m%d%H%M)",
            Form::Second => "timestamp(%Y%m%d%H%M%S)",
        }
    }
}

/// A column of whole numbers, value by value.
#[derive(Debug, Clone, Default)]
pub struct Compact {
    form: Option<Form>,
    /// A value is none, or of another form.
    other: bool,
    /// The first different values.
    values: Vec<i64>,
}

impl Compact {
    /// Takes the values of a column, if it is of whole numbers.
    pub fn observe(&mut self, batch: &RecordBatch, column: &str) {
        let Some(numbers) = batch.column_by_name(column).filter(|c| *c.data_type() == DataType::Int64 && !self.other) else { return };
        for value in numbers.as_primitive::<Int64Type>().iter().flatten() {
            let form = Form::of(value);
            if form.is_none() || self.form.is_some_and(|f| Some(f) != form) {
                self.other = true;
                return;
            }
            self.form = form;
            if self.values.len() < ENOUGH && !self.values.contains(&value) {
                self.values.push(value);
            }
        }
    }

    /// The type to declare, with its pattern.
    pub fn type_name(&self, column: &str) -> Option<&'static str> {
        let enough = self.values.len() >= ENOUGH || (!self.values.is_empty() && speaks_of_time(column));
        self.form.filter(|_| !self.other && enough).map(Form::type_name)
    }

    /// One sentence, if there is something to say.
    pub fn text(&self, column: &str) -> Option<String> {
        let name = self.type_name(column)?;
        Some(format!("`{column}` is offered as {name}: all its numbers are moments, as {}; without that type it is bigint", self.values[0]))
    }

    pub fn to_json(&self, column: &str) -> Option<Value> {
        Some(json!({ "column": column, "type": self.type_name(column)?, "example": self.values.first() }))
    }
}

fn speaks_of_time(column: &str) -> bool {
    let name = column.to_lowercase();
    let parts = || name.split(|c: char| !c.is_alphanumeric());
    ["date", "time", "stamp", "day"].iter().any(|word| name.contains(word)) || parts().any(|part| ["at", "on", "ts", "dt", "when"].contains(&part))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    fn offered(column: &str, values: &[i64]) -> Option<&'static str> {
        let mut compact = Compact::default();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter(values.iter().map(|v| Some(*v)).chain([None])));
        compact.observe(&RecordBatch::try_from_iter([(column, numbers)]).unwrap(), column);
        assert_eq!(compact.text(column).is_some(), compact.type_name(column).is_some());
        compact.type_name(column)
    }

    #[test]
    fn moments_are_told_from_other_numbers() {
        assert_eq!(offered("x", &[20240129, 20240229, 19991231, 20240129]), Some("date(%Y%m%d)"));
        assert_eq!(offered("started_at", &[20240129075211]), Some("timestamp(%Y%m%d%H%M%S)"));
        assert_eq!(offered("x", &[202401290752, 202401292359, 202401290000]), Some("timestamp(%Y%m%d%H%M)"));
        assert_eq!(offered("CallDate", &[20240129]), Some("date(%Y%m%d)"));
        for (column, values) in [
            ("id", &[20240129][..]),
            ("id", &[20240129, 20240130]),
            ("day", &[20240129, 20240230]),
            ("day", &[20240129, 7]),
            ("day", &[20240129, 20240129075211]),
            ("at", &[20240129246000]),
            ("at", &[20240129076100]),
            ("day", &[18991231]),
            ("day", &[20700101]),
            ("day", &[20241301]),
            ("day", &[]),
            ("contation", &[20240129]),
        ] {
            assert_eq!(offered(column, values), None, "{column} {values:?}");
        }
    }
}
