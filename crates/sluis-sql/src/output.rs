//! The columns that come out: types that every target takes, names that occur once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Gives batches the output's schema.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub schema: SchemaRef,
    /// A column has another type in the plan.
    casts: bool,
}

impl Output {
    /// What comes out of a plan. Columns that come straight from a table keep being required and keep types that SQL alone would not make
    /// (unsigned numbers, times in other units); what is computed is never required, and is signed and in microseconds.
    pub fn of(plan: &LogicalPlan) -> Output {
        let fields: Vec<FieldRef> = plan
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(i, f)| {
                let direct = straight(plan, i);
                let data_type = plain_type(f.data_type(), direct);
                Arc::new(Field::new(f.name(), data_type, f.is_nullable() || !direct).with_metadata(f.metadata().clone()))
            })
            .collect();
        let casts = fields.iter().zip(plan.schema().fields()).any(|(a, b)| a.data_type() != b.data_type());
        Output { schema: Arc::new(Schema::new(fields)), casts }
    }

    /// The batch with the output's schema.
    ///
    /// # Errors
    /// A value that the plain type cannot hold (an unsigned number beyond `bigint`).
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        if !self.casts {
            return RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options);
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(c, f)| -> Result<ArrayRef, ArrowError> {
            if c.data_type() == f.data_type() { Ok(Arc::clone(c)) } else { cast_with_options(c.as_ref(), f.data_type(), &strict) }
        });
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?, &options)
    }
}

/// The type that targets see. `direct`: the column comes straight from a table.
fn plain_type(t: &DataType, direct: bool) -> DataType {
    let child = |f: &FieldRef| Arc::new(f.as_ref().clone().with_data_type(plain_type(f.data_type(), direct)));
    match t {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, v) => plain_type(v, direct),
        DataType::RunEndEncoded(_, v) => plain_type(v.data_type(), direct),
        DataType::List(f) | DataType::LargeList(f) | DataType::ListView(f) | DataType::LargeListView(f) | DataType::FixedSizeList(f, _) => {
            DataType::List(child(f))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        DataType::UInt8 if !direct => DataType::Int16,
        DataType::UInt16 if !direct => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 if !direct => DataType::Int64,
        DataType::Timestamp(_, zone) if !direct => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Date64 if !direct => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => other.clone(),
    }
}

/// Whether an output column of a plan is a column of a table, unchanged.
fn straight(plan: &LogicalPlan, index: usize) -> bool {
    let find = |schema: &DFSchema, e: &Expr| match e {
        Expr::Column(c) => schema.maybe_index_of_column(c),
        _ => None,
    };
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(p) => {
            let mut e = &p.expr[index];
            while let Expr::Alias(alias) = e {
                e = &alias.expr;
            }
            find(p.input.schema(), e).is_some_and(|i| straight(&p.input, i))
        }
        LogicalPlan::Join(j) => {
            let (qualifier, field) = j.schema.qualified_field(index);
            let column = datafusion::common::Column::from((qualifier, field));
            [&j.left, &j.right].iter().any(|side| side.schema().maybe_index_of_column(&column).is_some_and(|i| straight(side, i)))
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => straight(plan.inputs()[0], index),
        _ => false,
    }
}

/// The first name that two columns have.
pub(crate) fn duplicate(schema: &Schema) -> Option<&str> {
    let mut seen = HashSet::new();
    schema.fields().iter().map(|f| f.name().as_str()).find(|n| !seen.insert(*n))
}
