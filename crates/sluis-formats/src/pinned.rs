//! Batches of a file that has types of its own, cast to the pinned ones: what Parquet, Avro and ORC share.
//!
//! Deliberately not here: decoding. Guarantees: a value that the pinned type cannot hold rejects its row, with the row as JSON.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Decoded, Error, ErrorKind, ReadOptions, Reject, RejectReason, Result, RowOrigins};

use crate::cast::{cast_column, normalize};
use crate::cell::{Cells, json_fields, json_text};
use crate::misfit::{retain, tell};

/// Casts a batch to the pinned types; rows with values that do not fit are rejected. `lines`: the number of each row; `rejects`: what was
/// rejected before.
///
/// # Errors
/// Only for bugs.
pub fn fit(batch: &RecordBatch, mut lines: Vec<u64>, mut rejects: Vec<Reject>, options: &ReadOptions) -> Result<Decoded> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    let mut bad: Vec<(usize, usize, String)> = Vec::new();
    for (c, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let pinned = options.schema.field_with_name(field.name()).map_or(DataType::Utf8, |f| f.data_type().clone());
        let (cast, errors) = cast_rows(column, &pinned)?;
        bad.extend(errors.into_iter().map(|(row, message)| (row, c, message)));
        fields.push(Field::new(field.name(), pinned, true));
        columns.push(cast);
    }
    let with_rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let mut out = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &with_rows)
        .map_err(|e| Error::internal("cast columns do not fit their schema").source(e))?;
    let mut misfits = tell(batch, &mut bad, options)?;
    if !bad.is_empty() {
        bad.sort_by_key(|(row, column, _)| (*row, *column));
        bad.dedup_by_key(|(row, ..)| *row);
        let names = named_cells(batch)?;
        let mut keep = vec![true; batch.num_rows()];
        for (row, column, message) in bad {
            keep[row] = false;
            let mut raw = vec![b'{'];
            json_fields(&names, row, true, &mut raw);
            raw.push(b'}');
            raw.truncate(RAW_LIMIT);
            let column = Some(batch.schema_ref().field(column).name().as_str().into());
            rejects.push(Reject { reason: RejectReason::BadValue, line: lines[row], column, message, raw: raw.into() });
        }
        rejects.sort_by_key(|r| r.line);
        let mut kept = keep.iter();
        lines.retain(|_| kept.next() == Some(&true));
        let keep = BooleanArray::from(keep);
        retain(&mut misfits, &keep);
        out = filter_record_batch(&out, &keep).map_err(|e| Error::internal("rejected rows cannot be taken out").source(e))?;
    }
    let origins = options.keep_origins.then_some(RowOrigins { lines, raw: None });
    Ok(Decoded { batch: out, origins, rejects, misfits, surplus: Vec::new() })
}

fn named_cells(batch: &RecordBatch) -> Result<Vec<(Vec<u8>, Cells)>> {
    let cells = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(f, c)| {
        let mut name = Vec::new();
        json_text(f.name(), &mut name);
        name.push(b':');
        Ok((name, Cells::new(c)?))
    });
    cells.collect()
}

fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast_column(&normalize(array)?, to)
}

/// Casts what can be cast; the rows that cannot are null and named with the reason.
fn cast_rows(array: &ArrayRef, to: &DataType) -> Result<(ArrayRef, Vec<(usize, String)>)> {
    match convert(array, to) {
        Ok(cast) => Ok((cast, Vec::new())),
        Err(e) if e.kind() != ErrorKind::Data => Err(e),
        Err(_) => {
            let (mut parts, mut bad) = (Vec::new(), Vec::new());
            halves(array, to, 0, &mut parts, &mut bad)?;
            let parts: Vec<&dyn Array> = parts.iter().map(|p: &ArrayRef| p.as_ref()).collect();
            let cast = arrow_select::concat::concat(&parts).map_err(|e| Error::internal("parts of a column do not fit").source(e))?;
            Ok((cast, bad))
        }
    }
}

/// Halves the column until the values that cannot be cast stand alone.
fn halves(array: &ArrayRef, to: &DataType, at: usize, parts: &mut Vec<ArrayRef>, bad: &mut Vec<(usize, String)>) -> Result<()> {
    match convert(array, to) {
        Ok(cast) => parts.push(cast),
        Err(e) if e.kind() != ErrorKind::Data => return Err(e),
        Err(e) if array.len() == 1 => {
            bad.push((at, e.message().to_owned()));
            parts.push(arrow_array::new_null_array(to, 1));
        }
        Err(_) => {
            let half = array.len() / 2;
            halves(&array.slice(0, half), to, at, parts, bad)?;
            halves(&array.slice(half, array.len() - half), to, at + half, parts, bad)?;
        }
    }
    Ok(())
}
