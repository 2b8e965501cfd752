//! The contract at work on one decoded batch: columns that are kept out, values that are not of their column's type, and what rows hold
//! beyond their last column.
//!
//! Deliberately not here: which columns are kept out (`columns`), which values are told (the reader). A value is what is neither null nor
//! the empty text. Guarantees: a batch without either passes untouched; every row stays or becomes one reject.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use sluis_core::{Contract, Error, ErrorKind, Misfit, OnDrift, Reject, RejectReason, Result, RowOrigins, Surplus, ValueCounts};

/// A batch as the contract leaves it.
pub struct Kept {
    /// Its rows; the columns kept out are still in it.
    pub batch: RecordBatch,
    pub origins: Option<RowOrigins>,
    /// The column `_rescued`, if anything was.
    pub rescued: Option<ArrayRef>,
    /// Rows that are no more in `batch`. `raw` is empty where the format has no row text.
    pub rejects: Vec<Reject>,
    /// By column of the batch, those with any.
    pub values: Vec<(usize, ValueCounts)>,
    /// Fields beyond the last column that were rescued.
    pub surplus: u64,
}

/// Applies `contract` to a batch: `strange` are its columns that are kept out, `misfits` the values told; `surplus` is rescued whatever
/// the contract says.
///
/// # Errors
/// `ErrorKind::Data`: `freeze`, with the column.
pub fn apply(
    contract: Contract,
    batch: RecordBatch,
    origins: Option<RowOrigins>,
    strange: &[usize],
    misfits: Vec<Misfit>,
    mut surplus: Vec<Surplus>,
) -> Result<Kept> {
    let mut kept = Kept { batch, origins, rescued: None, rejects: Vec::new(), values: Vec::new(), surplus: 0 };
    let mut rescue: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
    let mut rejected: BTreeMap<usize, usize> = BTreeMap::new();
    for &column in strange {
        if contract.columns == OnDrift::Freeze {
            return Err(frozen(kept.batch.schema_ref().field(column).name()));
        }
        let texts = text(kept.batch.column(column))?;
        let texts = texts.as_string::<i32>();
        let with_value = (0..texts.len()).filter(|row| texts.is_valid(*row) && !texts.value(*row).is_empty());
        match contract.columns {
            OnDrift::DiscardRow => with_value.for_each(|row| {
                rejected.entry(row).or_insert(column);
            }),
            OnDrift::Rescue => with_value.for_each(|row| rescue.entry(row).or_default().push((column, texts.value(row).to_owned()))),
            // `evolve` keeps none out; `freeze` has ended above.
            OnDrift::DiscardValue | OnDrift::Evolve | OnDrift::Freeze => {
                let discarded = with_value.filter(|row| !rejected.contains_key(row)).count() as u64;
                kept.count(column, ValueCounts { discarded, rescued: 0 });
            }
        }
    }
    for misfit in misfits.into_iter().filter(|m| !rejected.contains_key(&m.row)) {
        match contract.types {
            OnDrift::Rescue => rescue.entry(misfit.row).or_default().push((misfit.column, misfit.text)),
            _ => kept.count(misfit.column, ValueCounts { discarded: 1, rescued: 0 }),
        }
    }
    rescue.retain(|row, _| !rejected.contains_key(row));
    surplus.retain(|s| !rejected.contains_key(&s.row));
    kept.surplus = surplus.iter().map(|s| s.fields).sum();
    for (column, _) in rescue.values().flatten() {
        kept.count(*column, ValueCounts { discarded: 0, rescued: 1 });
    }
    if !rescue.is_empty() || !surplus.is_empty() {
        kept.rescued = Some(kept.written_out(&rescue, &surplus)?);
    }
    if !rejected.is_empty() {
        kept.take_out(&rejected)?;
    }
    Ok(kept)
}

fn frozen(column: &str) -> Error {
    Error::new(ErrorKind::Data, format!("the file has a column `{column}` that the schema does not have, and the contract freezes the columns"))
        .context("column", column)
        .hint("nothing was committed; declare the column in the format's `columns`, or choose another `contract`, and run again")
}

/// The error of `freeze` for a row that the reader rejected.
pub fn frozen_type(reject: &Reject) -> Error {
    let mut error = Error::new(ErrorKind::Data, format!("{}, and the contract freezes the types", reject.message));
    if let Some(column) = &reject.column {
        error = error.context("column", column);
    }
    if reject.line > 0 {
        error = error.context("line", reject.line);
    }
    error.hint("nothing was committed; correct the file, or declare another type for the column, or choose another `contract`, and run again")
}

fn text(column: &ArrayRef) -> Result<ArrayRef> {
    if *column.data_type() == DataType::Utf8 {
        return Ok(column.clone());
    }
    cast_with_options(column, &DataType::Utf8, &CastOptions::default()).map_err(|e| Error::internal("a column cannot be written as text").source(e))
}

impl Kept {
    fn count(&mut self, column: usize, more: ValueCounts) {
        if !more.any() {
            return;
        }
        match self.values.iter_mut().find(|(c, _)| *c == column) {
            Some((_, counts)) => *counts = counts.plus(&more),
            None => self.values.push((column, more)),
        }
    }

    /// The column `_rescued`.
    fn written_out(&self, rescue: &BTreeMap<usize, Vec<(usize, String)>>, surplus: &[Surplus]) -> Result<ArrayRef> {
        let mut surplus = surplus.iter().peekable();
        let written = |row: usize| -> Result<Option<String>> {
            let beyond = surplus.next_if(|s| s.row == row);
            let mut values: Vec<&(usize, String)> = rescue.get(&row).into_iter().flatten().collect();
            if values.is_empty() && beyond.is_none() {
                return Ok(None);
            }
            values.sort_by_key(|(column, _)| *column);
            let mut out = String::from("{");
            for (n, (column, value)) in values.into_iter().enumerate() {
                let quoted = |text: &str| serde_json::to_string(text).map_err(|e| Error::internal("a text has no JSON").source(e));
                out.push_str(if n == 0 { "" } else { ", " });
                out.push_str(&quoted(self.batch.schema_ref().field(*column).name())?);
                out.push_str(": ");
                out.push_str(&quoted(value)?);
            }
            if let Some(beyond) = beyond {
                out.push_str(if out.len() > 1 { ", " } else { "" });
                out.push_str(&beyond.members);
            }
            out.push('}');
            Ok(Some(out))
        };
        let all = (0..self.batch.num_rows()).map(written).collect::<Result<StringArray>>()?;
        Ok(Arc::new(all))
    }

    /// Makes rejects of rows.
    fn take_out(&mut self, rejected: &BTreeMap<usize, usize>) -> Result<()> {
        for (row, column) in rejected {
            let column = self.batch.schema_ref().field(*column).name().clone();
            let origins = self.origins.as_ref();
            let raw = origins.and_then(|o| {
                let (block, places) = o.raw.as_ref()?;
                let (from, to) = *places.get(*row)?;
                block.get(from as usize..to as usize).map(Bytes::copy_from_slice)
            });
            self.rejects.push(Reject {
                reason: RejectReason::ContractViolated,
                line: origins.and_then(|o| o.lines.get(*row).copied()).unwrap_or(0),
                message: format!("it has a value in `{column}`, which the schema does not have"),
                column: Some(column.into()),
                raw: raw.unwrap_or_default(),
            });
        }
        let keep = BooleanArray::from_iter((0..self.batch.num_rows()).map(|row| Some(!rejected.contains_key(&row))));
        let lost = |e| Error::internal("rejected rows cannot be taken out").source(e);
        self.batch = filter_record_batch(&self.batch, &keep).map_err(lost)?;
        if let Some(rescued) = &mut self.rescued {
            *rescued = arrow_select::filter::filter(rescued, &keep).map_err(lost)?;
        }
        if let Some(origins) = &mut self.origins {
            let mut row = 0..;
            origins.lines.retain(|_| row.next().is_some_and(|r| keep.value(r)));
            if let Some((_, places)) = &mut origins.raw {
                let mut row = 0..;
                places.retain(|_| row.next().is_some_and(|r| keep.value(r)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    fn batch() -> RecordBatch {
        let text = |v: [Option<&str>; 4]| Arc::new(StringArray::from_iter(v)) as ArrayRef;
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None]));
        RecordBatch::try_from_iter([("n", n), ("x", text([Some("a"), None, Some(""), Some("\"d")])), ("y", text([None, None, None, Some("e")]))])
            .unwrap()
    }

    fn origins() -> Option<RowOrigins> {
        Some(RowOrigins { lines: vec![2, 3, 4, 5], raw: Some((Bytes::from_static(b"aabbccdd"), vec![(0, 2), (2, 4), (4, 6), (6, 8)])) })
    }

    fn misfit(row: usize) -> Misfit {
        Misfit { row, column: 0, text: "seven".into(), fits: DataType::Utf8 }
    }

    fn applied(columns: OnDrift, types: OnDrift) -> Kept {
        apply(Contract { columns, types }, batch(), origins(), &[1, 2], vec![misfit(1), misfit(3)], vec![beyond(0), beyond(2)]).unwrap()
    }

    fn beyond(row: usize) -> Surplus {
        Surplus { row, members: r#""c4": "\"", "c6": "z""#.into(), fields: 2 }
    }

    fn rescued(kept: &Kept) -> Vec<Option<String>> {
        let Some(rescued) = &kept.rescued else { return Vec::new() };
        rescued.as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
    }

    #[test]
    fn values_are_left_out_and_counted() {
        let kept = applied(OnDrift::DiscardValue, OnDrift::DiscardValue);
        let want = [Some(r#"{"c4": "\"", "c6": "z"}"#), None, Some(r#"{"c4": "\"", "c6": "z"}"#), None];
        assert_eq!((kept.batch.num_rows(), kept.rejects.len(), rescued(&kept)), (4, 0, want.map(|t| t.map(str::to_owned)).to_vec()));
        assert_eq!(kept.surplus, 4);
        let counts: Vec<_> = kept.values.iter().map(|(c, v)| (*c, v.discarded, v.rescued)).collect();
        assert_eq!(counts, [(1, 2, 0), (2, 1, 0), (0, 2, 0)]);
    }

    #[test]
    fn values_are_rescued_as_json_in_the_order_of_columns() {
        let kept = applied(OnDrift::Rescue, OnDrift::Rescue);
        let want = [
            Some(r#"{"x": "a", "c4": "\"", "c6": "z"}"#),
            Some(r#"{"n": "seven"}"#),
            Some(r#"{"c4": "\"", "c6": "z"}"#),
            Some(r#"{"n": "seven", "x": "\"d", "y": "e"}"#),
        ];
        assert_eq!(rescued(&kept), want.map(|t| t.map(str::to_owned)));
        assert_eq!(kept.values.iter().map(|(_, v)| v.rescued).sum::<u64>(), 5);
    }

    #[test]
    fn rows_with_a_value_are_rejected_once_and_what_is_in_them_is_not_counted() {
        let kept = applied(OnDrift::DiscardRow, OnDrift::Rescue);
        assert_eq!(
            kept.rejects.iter().map(|r| (r.line, r.column.as_deref(), &r.raw[..])).collect::<Vec<_>>(),
            [(2, Some("x"), &b"aa"[..]), (5, Some("x"), &b"dd"[..])]
        );
        assert!(kept.rejects.iter().all(|r| r.reason == RejectReason::ContractViolated));
        assert_eq!(
            (kept.batch.num_rows(), rescued(&kept)),
            (2, vec![Some(r#"{"n": "seven"}"#.to_owned()), Some(r#"{"c4": "\"", "c6": "z"}"#.to_owned())])
        );
        assert_eq!(kept.surplus, 2, "what is in a rejected row is not counted");
        assert_eq!(kept.origins.as_ref().unwrap().lines, [3, 4]);
        assert_eq!(kept.values, [(0, ValueCounts { discarded: 0, rescued: 1 })]);
    }

    #[test]
    fn a_frozen_schema_takes_no_column_even_without_values() {
        let e = apply(Contract { columns: OnDrift::Freeze, types: OnDrift::Evolve }, batch(), None, &[2], vec![], vec![]).err().unwrap();
        assert_eq!((e.kind(), e.contexts()[0].1.as_str()), (ErrorKind::Data, "y"));
    }
}
