//! Small batches become large ones: a sink's and a transform's cost per batch is paid once for many files.
//!
//! Deliberately not here: what batches are for. Guarantees: order; batches of different schemas are never joined; large ones are not copied;
//! where batches end depends on the batches alone.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use sluis_core::{Error, Result};

/// Batches are joined up to about this many bytes, however few rows that is.
const BYTES: usize = 16 << 20;

/// Gathers batches, each with something that says where its rows are from.
pub struct Coalescer<M> {
    rows: usize,
    batches: Vec<RecordBatch>,
    marks: Vec<M>,
    held_rows: usize,
    held_bytes: usize,
}

/// Batches that became one, and the marks of its parts.
pub type Joined<M> = (RecordBatch, Vec<M>);

impl<M> Coalescer<M> {
    /// Aims for batches of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { rows: rows.max(1), batches: Vec::new(), marks: Vec::new(), held_rows: 0, held_bytes: 0 }
    }

    /// Takes a batch; what is complete goes to `out`.
    pub fn push(&mut self, batch: RecordBatch, mark: M, out: &mut impl Extend<Joined<M>>) -> Result<()> {
        let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
        let fits = self.held_rows + rows <= self.rows + self.rows / 2 && self.held_bytes + bytes <= BYTES;
        if !fits || self.batches.first().is_some_and(|first| !same(&first.schema(), &batch.schema())) {
            self.flush(out)?;
        }
        self.held_rows += rows;
        self.held_bytes += bytes;
        self.batches.push(batch);
        self.marks.push(mark);
        if self.held_rows >= self.rows || self.held_bytes >= BYTES {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Gives what is held.
    pub fn flush(&mut self, out: &mut impl Extend<Joined<M>>) -> Result<()> {
        (self.held_rows, self.held_bytes) = (0, 0);
        let marks = std::mem::take(&mut self.marks);
        let batch = match self.batches.len() {
            0 => return Ok(()),
            1 => self.batches.remove(0),
            _ => {
                let joined = concat_batches(self.batches[0].schema_ref(), &self.batches);
                self.batches.clear();
                joined.map_err(|e| Error::internal("batches of one schema cannot be joined").source(e))?
            }
        };
        out.extend([(batch, marks)]);
        Ok(())
    }
}

fn same(a: &SchemaRef, b: &SchemaRef) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};

    fn batch(name: &str, rows: std::ops::Range<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new(name, DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from_iter_values(rows))]).unwrap()
    }

    #[test]
    fn small_batches_are_joined_in_order_and_large_ones_pass() {
        let mut c = Coalescer::new(10);
        let mut out = Vec::new();
        for (i, b) in [batch("a", 0..4), batch("a", 4..8), batch("a", 8..12), batch("b", 0..1), batch("b", 1..101)].into_iter().enumerate() {
            c.push(b, i, &mut out).unwrap();
        }
        c.flush(&mut out).unwrap();
        let shape: Vec<(usize, Vec<usize>)> = out.iter().map(|(b, marks)| (b.num_rows(), marks.clone())).collect();
        assert_eq!(shape, [(12, vec![0, 1, 2]), (1, vec![3]), (100, vec![4])]);
        assert_eq!(out[0].0, batch("a", 0..12));
        c.flush(&mut out).unwrap();
        assert_eq!(out.len(), 3, "nothing is given twice");
    }
}
