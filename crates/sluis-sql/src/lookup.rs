//! Joins of pushed rows with look-up tables.
//!
//! The table's side is run once per plan, when the first rows come, and kept as one batch with a hash table over its keys. A push is then joined
//! with it by itself: rows stay in their order, and for each row its matches in the table's order. So pushes may be joined side by side.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::UInt32Builder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use sluis_core::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use crate::{engine, plain};

/// The most that the tables' side of one join may take.
const TABLE_BYTES: usize = 1 << 30;

/// Pairs that are looked at together where there is no key.
const PAIRS: usize = 1 << 16;

/// What a join makes of a row and its matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One row per match.
    Inner,
    /// One row per match, or one with nulls.
    Outer,
    /// The row, if there is a match.
    Semi,
    /// The row, if there is none.
    Anti,
    /// The row, if there is none and none might be (`NOT IN` with nulls).
    NullAwareAnti,
    /// The row and whether there is a match.
    Mark,
}

/// A join, compiled.
pub(crate) struct Lookup {
    /// What it is called in messages.
    pub name: String,
    /// The table's side, optimized.
    pub table: LogicalPlan,
    pub table_schema: SchemaRef,
    pub input_keys: Vec<Arc<dyn PhysicalExpr>>,
    pub table_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// A condition over both sides' columns, in the order of the statement.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Both sides' columns, in the order of the statement.
    pub both_schema: SchemaRef,
    pub input_first: bool,
    pub kind: Kind,
    /// Null keys match null keys.
    pub nulls_match: bool,
    pub schema: SchemaRef,
    pub built: OnceCell<Built>,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The table's side: its rows, and by key the first of them; `next` leads to the others (`END`: none).
pub(crate) struct Built {
    rows: RecordBatch,
    keys: Option<RowConverter>,
    first: HashMap<Box<[u8]>, u32>,
    next: Vec<u32>,
    null_key: bool,
}

const END: u32 = u32::MAX;

impl Lookup {
    /// Reads the table, the first time.
    pub async fn prepare(&self) -> Result<&Built> {
        self.built.get_or_try_init(|| self.build()).await
    }

    async fn build(&self) -> Result<Built> {
        let failed = |e| plain::run_error(e, |why| format!("cannot read the look-up table {}: {why}", self.name));
        let Some(batches) = engine::gather(&self.table, TABLE_BYTES).await.map_err(failed)? else {
            let message = format!("the look-up table {} is too large: its columns used here take more than {} MiB", self.name, TABLE_BYTES >> 20);
            return Err(Error::new(ErrorKind::Capacity, message).hint("use fewer of its columns, filter it in a subquery, or join after loading"));
        };
        let rows = concat_batches(&self.table_schema, &batches).map_err(|e| failed(e.into()))?;
        self.index(rows).map_err(failed)
    }

    fn index(&self, rows: RecordBatch) -> DfResult<Built> {
        let count = rows.num_rows();
        let mut built = Built { rows, keys: None, first: HashMap::new(), next: Vec::new(), null_key: false };
        if self.table_keys.is_empty() {
            return Ok(built);
        }
        let columns = evaluate(&self.table_keys, &built.rows)?;
        let converter = RowConverter::new(columns.iter().map(|c| SortField::new(c.data_type().clone())).collect())?;
        let keys = converter.convert_columns(&columns)?;
        let nulls = nulls(&columns);
        built.null_key = nulls.as_ref().is_some_and(|n| n.null_count() > 0);
        built.next = vec![END; count];
        built.first.reserve(count);
        // Backwards, so that the chain of a key runs forwards.
        for i in (0..count).rev() {
            if !self.nulls_match && nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                continue;
            }
            let row = u32::try_from(i).expect("the table is smaller than 4 GiB");
            if let Some(before) = built.first.insert(keys.row(i).as_ref().into(), row) {
                built.next[i] = before;
            }
        }
        built.keys = Some(converter);
        Ok(built)
    }

    /// Joins a batch.
    pub fn join(&self, built: &Built, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let count = batch.num_rows();
        let (mut left, mut right): (Vec<u32>, Vec<u32>) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut null_keys = None;
        if let Some(converter) = &built.keys {
            let columns = evaluate(&self.input_keys, batch)?;
            null_keys = nulls(&columns);
            let keys = converter.convert_columns(&columns)?;
            for i in 0..count {
                if !self.nulls_match && null_keys.as_ref().is_some_and(|n| n.is_null(i)) {
                    continue;
                }
                let mut at = built.first.get(keys.row(i).as_ref()).copied().unwrap_or(END);
                while at != END {
                    left.push(i as u32);
                    right.push(at);
                    at = built.next[at as usize];
                }
            }
            self.retain(built, batch, &mut left, &mut right)?;
        } else {
            let others = built.rows.num_rows();
            let step = (PAIRS / others.max(1)).max(1);
            for start in (0..count).step_by(step) {
                let end = (start + step).min(count);
                let mut l: Vec<u32> = (start..end).flat_map(|i| std::iter::repeat_n(i as u32, others)).collect();
                let mut r: Vec<u32> = (start..end).flat_map(|_| 0..others as u32).collect();
                self.retain(built, batch, &mut l, &mut r)?;
                left.append(&mut l);
                right.append(&mut r);
            }
        }
        self.assemble(built, batch, left, right, null_keys.as_ref())
    }

    /// Keeps the pairs that meet the condition.
    fn retain(&self, built: &Built, batch: &RecordBatch, left: &mut Vec<u32>, right: &mut Vec<u32>) -> DfResult<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        if left.is_empty() {
            return Ok(());
        }
        let (l, r) = (UInt32Array::from(std::mem::take(left)), UInt32Array::from(std::mem::take(right)));
        let both = self.pair(built, batch, &l, &r, &self.both_schema)?;
        let kept = filter.evaluate(&both)?.into_array(both.num_rows())?;
        let kept = kept.as_boolean();
        let keep = |i: &usize| kept.is_valid(*i) && kept.value(*i);
        left.extend((0..kept.len()).filter(keep).map(|i| l.value(i)));
        right.extend((0..kept.len()).filter(keep).map(|i| r.value(i)));
        Ok(())
    }

    fn pair(&self, built: &Built, batch: &RecordBatch, left: &UInt32Array, right: &UInt32Array, schema: &SchemaRef) -> DfResult<RecordBatch> {
        let ours = batch.columns().iter().map(|c| take(c.as_ref(), left, None));
        let theirs = built.rows.columns().iter().map(|c| take(c.as_ref(), right, None));
        let columns: Result<Vec<ArrayRef>, _> = if self.input_first { ours.chain(theirs).collect() } else { theirs.chain(ours).collect() };
        let options = RecordBatchOptions::new().with_row_count(Some(left.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)?)
    }

    fn assemble(&self, built: &Built, batch: &RecordBatch, left: Vec<u32>, right: Vec<u32>, null_keys: Option<&NullBuffer>) -> DfResult<RecordBatch> {
        let count = batch.num_rows();
        match self.kind {
            Kind::Inner => return self.pair(built, batch, &left.into(), &right.into(), &self.schema),
            Kind::Outer => {
                let (mut l, mut r) = (UInt32Builder::with_capacity(count), UInt32Builder::with_capacity(count));
                let mut at = 0;
                for i in 0..count as u32 {
                    if left.get(at) != Some(&i) {
                        l.append_value(i);
                        r.append_null();
                    }
                    while left.get(at) == Some(&i) {
                        l.append_value(i);
                        r.append_value(right[at]);
                        at += 1;
                    }
                }
                return self.pair(built, batch, &l.finish(), &r.finish(), &self.schema);
            }
            _ => {}
        }
        let mut matched = vec![false; count];
        left.iter().for_each(|i| matched[*i as usize] = true);
        let keep: BooleanArray = match self.kind {
            Kind::Semi => matched.into(),
            Kind::Anti => matched.into_iter().map(|m| Some(!m)).collect(),
            Kind::NullAwareAnti => {
                let maybe = |i: usize| built.rows.num_rows() > 0 && (built.null_key || null_keys.is_some_and(|n| n.is_null(i)));
                matched.into_iter().enumerate().map(|(i, m)| Some(!m && !maybe(i))).collect()
            }
            _ => {
                let mark = BooleanArray::new(BooleanBuffer::from(matched), None);
                let columns = batch.columns().iter().cloned().chain([Arc::new(mark) as ArrayRef]).collect();
                return Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
            }
        };
        let kept = arrow_select::filter::filter_record_batch(batch, &keep)?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), kept.columns().to_vec(), &options)?)
    }
}

fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> DfResult<Vec<ArrayRef>> {
    exprs.iter().map(|e| e.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Where any of the columns is null.
fn nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |all, c| NullBuffer::union(all.as_ref(), c.logical_nulls().as_ref()))
}
