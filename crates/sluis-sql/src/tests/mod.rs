//! Tests of the crate through its API.

mod across;
mod checks;
mod lookups;
mod problems;
mod property;
mod queries;
mod select;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sluis_core::transform::{TransformPlan, Transformed};
use sluis_core::{Error, Result, TableResolver, TableSource};

use crate::{CheckRule, OnFail, Step, TransformSpec, transform};

/// A table in memory that counts its scans and remembers the columns asked for.
pub(super) struct Memory {
    pub name: Vec<String>,
    pub batches: Vec<RecordBatch>,
    pub scans: AtomicUsize,
    pub columns: std::sync::Mutex<Vec<Option<Vec<String>>>>,
}

#[derive(Default, Clone)]
pub(super) struct Tables(pub Vec<Arc<Memory>>);

impl Tables {
    pub fn with(mut self, name: &str, batches: Vec<RecordBatch>) -> Tables {
        let name = name.split('.').map(str::to_owned).collect();
        self.0.push(Arc::new(Memory { name, batches, scans: AtomicUsize::new(0), columns: std::sync::Mutex::default() }));
        self
    }
    pub fn scans(&self) -> usize {
        self.0.iter().map(|m| m.scans.load(Ordering::SeqCst)).sum()
    }
}

struct Handle(Arc<Memory>);

#[async_trait]
impl TableSource for Handle {
    fn schema(&self) -> SchemaRef {
        self.0.batches[0].schema()
    }
    async fn scan(&self, columns: Option<&[String]>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        self.0.scans.fetch_add(1, Ordering::SeqCst);
        self.0.columns.lock().unwrap().push(columns.map(<[String]>::to_vec));
        let schema = self.schema();
        let batches: Vec<Result<RecordBatch>> = self
            .0
            .batches
            .iter()
            .map(|b| match columns {
                Some(names) => {
                    let indices: Vec<usize> = names.iter().map(|n| schema.index_of(n).unwrap()).collect();
                    b.project(&indices).map_err(|e| Error::internal("projection").source(e))
                }
                None => Ok(b.clone()),
            })
            .collect();
        Ok(futures::stream::iter(batches).boxed())
    }
}

#[async_trait]
impl TableResolver for Tables {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        Ok(self.0.iter().find(|m| m.name == path).map(|m| Arc::new(Handle(Arc::clone(m))) as Arc<dyn TableSource>))
    }
    async fn names(&self) -> Result<Vec<Vec<String>>> {
        Ok(self.0.iter().map(|m| m.name.clone()).collect())
    }
}

pub(super) fn text(values: &[&str]) -> ArrayRef {
    Arc::new(values.iter().map(|v| (*v != "∅").then_some(*v)).collect::<StringArray>())
}

pub(super) fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// Call records with mixed-case names, nested profiles and lists.
pub(super) fn calls() -> RecordBatch {
    let numbers = StringArray::from(vec!["111", "112", "333"]);
    let number = Arc::new(Field::new("Number", DataType::Utf8, true));
    let phones = StructArray::from(vec![(Arc::clone(&number), Arc::new(numbers) as ArrayRef)]);
    let item = Arc::new(Field::new("item", phones.data_type().clone(), true));
    let phones = ListArray::new(Arc::clone(&item), OffsetBuffer::from_lengths([2, 0, 1, 0]), Arc::new(phones), None);
    let profile = StructArray::from(vec![
        (Arc::new(Field::new("Name", DataType::Utf8, true)), text(&["Ann", "Bob", "Cis", "∅"])),
        (Arc::new(Field::new("phones", DataType::List(item), true)), Arc::new(phones) as ArrayRef),
    ]);
    let tags = ListArray::new(
        Arc::new(Field::new("item", DataType::Int64, true)),
        OffsetBuffer::from_lengths([2, 1, 0, 3]),
        Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5, 6])),
        None,
    );
    batch(vec![
        ("CallId", ints(&[Some(1), Some(2), Some(3), Some(4)])),
        ("msisdn", text(&["3247", "3248", "∅", "3250"])),
        ("seconds", Arc::new(Int32Array::from(vec![Some(60), Some(-5), Some(0), None]))),
        ("cost", Arc::new(Decimal128Array::from(vec![Some(15_000), Some(2_500), None, Some(0)]).with_precision_and_scale(10, 4).unwrap())),
        ("rate", Arc::new(Float64Array::from(vec![0.5, 1.0, 2.0, 4.0]))),
        ("profile", Arc::new(profile)),
        ("tags", Arc::new(tags)),
    ])
}

pub(super) fn spec(checks: &[(&str, &str, OnFail)], steps: &[(&str, &str)], across_rows: bool, tables: &Tables) -> TransformSpec {
    TransformSpec {
        checks: checks.iter().map(|(name, that, on_fail)| CheckRule { name: (*name).into(), that: (*that).into(), on_fail: *on_fail }).collect(),
        steps: steps.iter().map(|(name, sql)| Step { name: (*name).into(), sql: (*sql).into() }).collect(),
        across_rows,
        tables: Arc::new(tables.clone()),
        batch_rows: 8192,
    }
}

/// A spec of one select.
pub(super) fn select(sql: &str) -> TransformSpec {
    spec(&[], &[("output", sql)], false, &Tables::default())
}

pub(super) async fn plan(spec: TransformSpec, input: &SchemaRef) -> Result<Arc<dyn TransformPlan>> {
    transform(spec)?.plan(input).await
}

pub(super) async fn push(plan: &Arc<dyn TransformPlan>, batch: RecordBatch) -> Result<Transformed> {
    plan.start()?.push(batch).await
}

/// Pushes batches through a plan; all rows that come out, as a table.
pub(super) async fn run(spec: TransformSpec, batches: Vec<RecordBatch>) -> Result<String> {
    let plan = plan(spec, &batches[0].schema()).await?;
    let mut run = plan.start()?;
    let mut out = Vec::new();
    for batch in batches {
        out.extend(run.push(batch).await?.batches);
    }
    out.extend(run.finish().await?);
    for b in &out {
        assert_eq!(b.schema(), plan.output_schema());
    }
    Ok(table(&out))
}

/// Rows without frames: a line of names, then a line per row, cells split by `|`.
pub(super) fn table(batches: &[RecordBatch]) -> String {
    use arrow_cast::display::{ArrayFormatter, FormatOptions};
    let Some(first) = batches.first() else { return String::new() };
    let mut lines = vec![first.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join("|")];
    let options = FormatOptions::default().with_null("∅");
    for b in batches {
        let columns: Vec<_> = b.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        lines.extend((0..b.num_rows()).map(|r| columns.iter().map(|c| c.value(r).to_string()).collect::<Vec<_>>().join("|")));
    }
    lines.join("\n")
}
