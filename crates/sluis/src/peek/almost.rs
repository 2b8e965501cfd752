//! Columns that are text because of a few values: what they would be without, and the first value that is in the way.
//!
//! A run infers the same text, and would land what somebody meant as numbers with a word among them. Pure.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Value, json};
use sluis_core::columns::type_name;
use sluis_formats::values::guess::Guess;

use crate::print;

/// Values that must have been seen before anything is said, and how many in four of them must be alike.
const ENOUGH: u64 = 4;
const IN_FOUR: u64 = 3;

/// A column of text, value by value.
#[derive(Debug, Clone, Default)]
pub struct Almost {
    values: u64,
    /// Values that are not text, and what they are.
    held: u64,
    guess: Guess,
    /// The first of the others.
    odd: Option<String>,
}

impl Almost {
    /// Takes the values of a column, if it is of text.
    pub fn observe(&mut self, batch: &RecordBatch, column: &str, point: u8) {
        let Some(texts) = batch.column_by_name(column).filter(|c| *c.data_type() == DataType::Utf8) else { return };
        for text in texts.as_string::<i32>().iter().flatten().map(str::trim).filter(|t| !t.is_empty()) {
            self.values += 1;
            let mut one = Guess::default();
            one.observe(text.as_bytes(), point);
            if one.data_type().is_some_and(|t| t != DataType::Utf8) {
                self.held += 1;
                self.guess.observe(text.as_bytes(), point);
            } else if self.odd.is_none() {
                self.odd = Some(print::short(text, 40));
            }
        }
    }

    /// The type it has but for a few values.
    fn type_name(&self) -> Option<String> {
        let near = self.values >= ENOUGH && self.held < self.values && self.held * 4 >= self.values * IN_FOUR;
        self.guess.data_type().filter(|t| near && *t != DataType::Utf8).map(|t| type_name(&t))
    }

    /// One sentence, if there is something to say.
    pub fn text(&self, column: &str) -> Option<String> {
        let (name, odd) = (self.type_name()?, self.odd.as_deref()?);
        let others = self.values - self.held;
        let rest = if others == 1 { format!("`{odd}` is not") } else { format!("`{odd}` and {} more are not", print::count(others - 1)) };
        let rows = if others == 1 { "that row is" } else { "those rows are" };
        Some(format!(
            "`{column}` is text, but {} of {} values are {name}; {rest}: declared as {name}, {rows} rejected",
            print::count(self.held),
            print::count(self.values)
        ))
    }

    pub fn to_json(&self, column: &str) -> Option<Value> {
        Some(json!({ "column": column, "type": self.type_name()?, "values": self.values, "of_the_type": self.held, "example": self.odd }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::StringArray;

    use super::*;

    fn said(values: &[&str]) -> Option<String> {
        let mut almost = Almost::default();
        let batch = RecordBatch::try_from_iter([("c", Arc::new(StringArray::from(values.to_vec())) as arrow_array::ArrayRef)]).unwrap();
        almost.observe(&batch, "c", b'.');
        almost.text("c")
    }

    #[test]
    fn a_word_among_numbers_is_told_and_a_column_of_text_is_not() {
        assert_eq!(
            said(&["1.5", "2", "n/a", "3", ""]).unwrap(),
            "`c` is text, but 3 of 4 values are double; `n/a` is not: declared as double, that row is rejected"
        );
        assert!(said(&["1", "2", "3", "4", "5", "6", "x", "y"]).unwrap().contains("`x` and 1 more are not"));
        for plain in
            [&["1", "2", "x"][..], &["a", "b", "1", "2"], &["001", "002", "003", "004"], &["1", "2", "3", "2024-01-01", "x"], &["1", "2", "3", "4"]]
        {
            assert_eq!(said(plain), None, "{plain:?}");
        }
    }
}
