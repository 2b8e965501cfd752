//! Values of typed files (Parquet and its like) that are not of the pinned type: which are told, and as what.
//!
//! Deliberately not here: casting. Guarantee: what is not told stays among those that reject their rows.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::DataType;
use sluis_core::columns::widen;
use sluis_core::{Misfit, Misfits, ReadOptions, Result, Surplus};

use crate::cast::normal_type;
use crate::cell::Cells;

/// Takes the values that are told out of `bad` (row, column, sentence): those of `batch`, as it stood in the file.
///
/// # Errors
/// Only for bugs.
pub fn tell(batch: &RecordBatch, bad: &mut Vec<(usize, usize, String)>, options: &ReadOptions) -> Result<Vec<Misfit>> {
    if bad.is_empty() || options.misfits == Misfits::Reject {
        return Ok(Vec::new());
    }
    let schema = batch.schema();
    let told = |column: usize| options.misfits.told(schema.field(column).name());
    let mut out = Vec::new();
    let mut cells: Vec<Option<Cells>> = (0..batch.num_columns()).map(|_| None).collect();
    for (row, column, _) in bad.iter().filter(|(_, column, _)| told(*column)) {
        let cells = match &mut cells[*column] {
            Some(cells) => cells,
            none => none.insert(Cells::new(batch.column(*column))?),
        };
        let mut text = Vec::new();
        cells.text(*row, &mut text);
        let field = schema.field(*column);
        let pinned = options.schema.field_with_name(field.name()).map_or(DataType::Utf8, |f| f.data_type().clone());
        let fits = widen(&pinned, &normal_type(field.data_type()));
        out.push(Misfit { row: *row, column: *column, text: String::from_utf8_lossy(&text).into_owned(), fits });
    }
    bad.retain(|(_, column, _)| !told(*column));
    out.sort_by_key(|m| (m.row, m.column));
    Ok(out)
}

/// Leaves out the values of rows that are taken out of their batch; those of others follow their rows.
pub fn retain(misfits: &mut Vec<Misfit>, keep: &BooleanArray) {
    follow(misfits, keep, |m| &mut m.row);
}

/// Likewise, what is beyond the columns.
pub fn retain_surplus(surplus: &mut Vec<Surplus>, keep: &BooleanArray) {
    follow(surplus, keep, |s| &mut s.row);
}

fn follow<T>(all: &mut Vec<T>, keep: &BooleanArray, row_of: impl Fn(&mut T) -> &mut usize) {
    let (mut row, mut kept) = (0, 0);
    all.retain_mut(|one| {
        let at = row_of(one);
        kept += (row..*at).filter(|r| keep.value(*r)).count();
        row = *at;
        *at = kept;
        keep.value(row)
    });
}
