//! The schema that all tasks of an epoch decode to: what is declared, what earlier epochs landed, what a sample of the files has beyond it; as
//! the contract allows, and as wide as the targets can hold. And how it came about, for the history of drift.
//!
//! Deliberately not here: what happens to rows that do not fit (`task/contract`). Guarantee: the same files, the same known schema and the
//! same targets give the same schema, whatever was tried before: until `staged` is written nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use sluis_core::columns::{schema_from_json, type_name, unite, widen};
use sluis_core::{Change, Drift, Error, ErrorKind, FileFormat, OnDrift, RawFile, Result, Split};

use crate::job::Job;
use crate::task::{Seen, TaskReport, Workshop, input_schema};

/// Fields a nested type may grow to: objects whose keys are data are not to become columns without end.
const FIELDS: usize = 1000;

/// Files looked at together, where the sample does not have a column that SQL names.
const LOOKED_AT_ONCE: usize = 64;

/// The schema, and how it came about.
pub struct Pinned {
    pub schema: SchemaRef,
    /// Columns whose values are told if they are not of their type.
    pub told: BTreeSet<String>,
    /// Splits that brought a wider type, by column.
    brought: BTreeMap<String, usize>,
}

/// Finds the schema by a sample of the files.
///
/// # Errors
/// Those of source and format.
pub async fn pin(workshop: &Workshop, splits: &[Split], known: Option<SchemaRef>) -> Result<Pinned> {
    let job = &workshop.job;
    let none = || Arc::new(Schema::empty());
    let Some(format) = &job.format else {
        return Ok(Pinned { schema: known.unwrap_or_else(none), told: BTreeSet::new(), brought: BTreeMap::new() });
    };
    let candidates: Vec<usize> = (0..splits.len()).filter(|i| splits[*i].file.as_ref().is_some_and(|f| f.size > 0)).collect();
    let wanted = job.settings.sample_files.clamp(1, candidates.len().max(1)).min(candidates.len());
    // Spread over the epoch: files drift with time. An archive shows as many of its members as there would be files.
    let (chosen, members) = ((0..wanted).map(|i| candidates[i * candidates.len() / wanted]), job.settings.sample_files.div_ceil(wanted.max(1)));
    let sample = open(job, splits, chosen, members).await?;
    let mut inferred = infer(format, &files_of(&sample), known.as_ref()).await?;
    // SQL may name a column that only other files have.
    let looked_at: BTreeSet<usize> = sample.iter().map(|(split, _)| *split).collect();
    let others: Vec<usize> = candidates.into_iter().filter(|i| !looked_at.contains(i)).collect();
    for some in others.chunks(LOOKED_AT_ONCE) {
        if planned(workshop, &complete(job, known.as_ref(), &inferred)).await? {
            break;
        }
        let more = open(job, splits, some.iter().copied(), members).await?;
        inferred = unite(&inferred, &*infer(format, &files_of(&more), known.as_ref()).await?);
    }
    let schema = complete(job, known.as_ref(), &inferred);
    let mut pinned = Pinned { told: told(job, &schema), schema, brought: BTreeMap::new() };
    pinned.adapt(workshop, known.as_ref()).await?;
    if let Some(known) = &known {
        pinned.hold(workshop, known).await?;
        for (split, file) in &sample {
            pinned.bring(format, known, *split, file).await?;
        }
    }
    Ok(pinned)
}

/// Opens files, those that can be, each with the number of its split.
async fn open(job: &Job, splits: &[Split], which: impl Iterator<Item = usize>, members: usize) -> Result<Vec<(usize, Arc<dyn RawFile>)>> {
    let mut opened = Vec::new();
    for split in which {
        let looked_at = async { job.source.open(&splits[split]).await?.sample(members).await };
        match looked_at.await {
            Ok(files) => opened.extend(files.into_iter().map(|file| (split, file))),
            Err(e) if unreadable(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(opened)
}

fn files_of(opened: &[(usize, Arc<dyn RawFile>)]) -> Vec<Arc<dyn RawFile>> {
    opened.iter().map(|(_, file)| file.clone()).collect()
}

/// Whether SQL can do with these columns.
async fn planned(workshop: &Workshop, schema: &SchemaRef) -> Result<bool> {
    if workshop.job.transform.is_none() {
        return Ok(true);
    }
    match workshop.plan(&input_schema(schema, &workshop.job.added_columns())?).await {
        Err(e) if e.kind() == ErrorKind::Config => Ok(false),
        plan => plan.map(|_| true),
    }
}

fn unreadable(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::SourceChanged | ErrorKind::CorruptInput)
}

async fn infer(format: &Arc<dyn FileFormat>, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
    match format.infer(sample, known).await {
        // What is wrong with which file is said when it is read; the others are looked at.
        Err(e) if unreadable(&e) => {
            let mut all = known.cloned();
            for file in sample {
                match format.infer(std::slice::from_ref(file), all.as_ref()).await {
                    Err(e) if unreadable(&e) => {}
                    one => all = Some(one?),
                }
            }
            Ok(all.unwrap_or_else(|| Arc::new(Schema::empty())))
        }
        inferred => inferred,
    }
}

/// What was inferred, as far as the contract allows, and the columns that no file of today has: a select may name them.
fn complete(job: &Job, known: Option<&SchemaRef>, inferred: &SchemaRef) -> SchemaRef {
    let nullable = |f: &FieldRef| Arc::new(f.as_ref().clone().with_nullable(true));
    let Some(known) = known else { return Arc::new(Schema::new(inferred.fields().iter().map(nullable).collect::<Vec<_>>())) };
    let declared = |f: &Field| job.declared.index_of(f.name()).is_ok();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(inferred.fields().len());
    for field in inferred.fields() {
        match known.field_with_name(field.name()) {
            Ok(have) if job.contract.types != OnDrift::Evolve && !declared(field) => fields.push(Arc::new(have.clone().with_nullable(true))),
            Err(_) if job.contract.columns != OnDrift::Evolve && !declared(field) => {}
            _ => fields.push(nullable(field)),
        }
    }
    let gone = known.fields().iter().filter(|f| inferred.index_of(f.name()).is_err());
    fields.extend(gone.map(nullable));
    Arc::new(Schema::new(fields))
}

/// Columns whose values are told at first.
fn told(job: &Job, schema: &Schema) -> BTreeSet<String> {
    let inferred = |f: &&FieldRef| job.declared.index_of(f.name()).is_err();
    let names = |fields: Vec<&FieldRef>| fields.into_iter().map(|f| f.name().clone()).collect();
    match job.contract.types {
        OnDrift::Freeze | OnDrift::DiscardRow => BTreeSet::new(),
        OnDrift::DiscardValue | OnDrift::Rescue => names(schema.fields().iter().collect()),
        OnDrift::Evolve => names(schema.fields().iter().filter(inferred).filter(|f| *f.data_type() != DataType::Utf8).collect()),
    }
}

/// `schema` with another type for one column.
fn with_type(schema: &SchemaRef, column: usize, data_type: &DataType) -> SchemaRef {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    fields[column] = Arc::new(fields[column].as_ref().clone().with_data_type(data_type.clone()));
    Arc::new(Schema::new(fields))
}

/// Why SQL or a target cannot do with columns: the column, if it is one.
struct Refusal(Option<String>);

/// Whether SQL and targets can do with these columns.
async fn refused(workshop: &Workshop, schema: &SchemaRef) -> Result<Option<Refusal>> {
    let job = &workshop.job;
    let fits = async {
        let input = input_schema(schema, &job.added_columns())?;
        let output = match workshop.plan(&input).await? {
            Some(plan) => plan.output_schema(),
            None => input,
        };
        futures::future::try_join_all(job.sinks.iter().map(|sink| sink.fits(&output))).await.map(|_| ())
    };
    match fits.await {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Config => {
            let column = e.contexts().iter().find(|(key, _)| *key == "column").map(|(_, name)| name.clone());
            Ok(Some(Refusal(column)))
        }
        Err(e) => Err(e),
    }
}

async fn holds(workshop: &Workshop, schema: &SchemaRef) -> Result<bool> {
    refused(workshop, schema).await.map(|refusal| refusal.is_none())
}

/// A type that holds what `t` holds, and that a target may have instead of it; `None` after the last.
fn wider_than(t: &DataType) -> Option<DataType> {
    match t {
        DataType::Int64 => Some(DataType::Float64),
        DataType::Date32 => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Boolean | DataType::Float64 | DataType::Decimal128(..) | DataType::Timestamp(..) => Some(DataType::Utf8),
        _ => None,
    }
}

fn fields_in(t: &DataType) -> usize {
    match t {
        DataType::Struct(fields) => fields.len() + fields.iter().map(|f| fields_in(f.data_type())).sum::<usize>(),
        DataType::List(item) => fields_in(item.data_type()),
        _ => 0,
    }
}

impl Pinned {
    /// Takes wider types for new columns that are not declared, where a target has them: the sample may look narrower than what is there.
    async fn adapt(&mut self, workshop: &Workshop, known: Option<&SchemaRef>) -> Result<()> {
        let is_new = |f: &Field| workshop.job.declared.index_of(f.name()).is_err() && known.is_none_or(|k| k.index_of(f.name()).is_err());
        let mut schema = self.schema.clone();
        if !schema.fields().iter().any(|f| is_new(f)) {
            return Ok(());
        }
        while let Some(Refusal(column)) = refused(workshop, &schema).await? {
            let found = column.and_then(|c| schema.index_of(&c).ok()).filter(|i| is_new(schema.field(*i)));
            let Some((column, wider)) = found.and_then(|i| Some((i, wider_than(schema.field(i).data_type())?))) else {
                // It is not for these types: making the targets ready says what it is for.
                return Ok(());
            };
            schema = with_type(&schema, column, &wider);
        }
        self.schema = schema;
        Ok(())
    }

    /// Goes back to the types of `known` where SQL or a target cannot do with the wider ones of the sample: rows that need them are rejected.
    async fn hold(&mut self, workshop: &Workshop, known: &SchemaRef) -> Result<()> {
        let declared = &workshop.job.declared;
        let changed: Vec<(usize, DataType)> = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, f)| declared.index_of(f.name()).is_err())
            .filter_map(|(i, f)| Some((i, known.field_with_name(f.name()).ok().filter(|k| k.data_type() != f.data_type())?.data_type().clone())))
            .collect();
        if changed.is_empty() || holds(workshop, &self.schema).await? {
            return Ok(());
        }
        let wide = self.schema.clone();
        for (i, narrow) in &changed {
            self.schema = with_type(&self.schema, *i, narrow);
        }
        if !holds(workshop, &self.schema).await? {
            // It is not for these types: making the targets ready says what it is for.
            self.schema = wide;
            return Ok(());
        }
        for (i, _) in &changed {
            self.settle(workshop, *i, wide.field(*i).data_type()).await?;
        }
        Ok(())
    }

    /// Takes a wider type for a column, or text, if it can be done with; else values that need it are told no more.
    async fn settle(&mut self, workshop: &Workshop, column: usize, wide: &DataType) -> Result<bool> {
        let before = self.schema.field(column).data_type().clone();
        for to in [wide, &DataType::Utf8].into_iter().filter(|t| **t != before) {
            let wider = with_type(&self.schema, column, to);
            if fields_in(to) <= FIELDS && holds(workshop, &wider).await? {
                tracing::info!(column = self.schema.field(column).name(), from = %type_name(&before), to = %type_name(to), "values need a wider type");
                self.schema = wider;
                return Ok(true);
            }
        }
        self.told.remove(self.schema.field(column).name());
        Ok(false)
    }

    /// Notes the columns to which this file brought another type than the known one.
    async fn bring(&mut self, format: &Arc<dyn FileFormat>, known: &SchemaRef, split: usize, file: &Arc<dyn RawFile>) -> Result<()> {
        let open = self
            .schema
            .fields()
            .iter()
            .filter(|f| !self.brought.contains_key(f.name()) && known.field_with_name(f.name()).is_ok_and(|k| k.data_type() != f.data_type()));
        let open: Vec<String> = open.map(|f| f.name().clone()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let alone = match format.infer(std::slice::from_ref(file), Some(known)).await {
            Err(e) if unreadable(&e) => return Ok(()),
            alone => alone?,
        };
        for name in open {
            let types = (alone.field_with_name(&name), known.field_with_name(&name));
            if let (Ok(now), Ok(before)) = types
                && now.data_type() != before.data_type()
            {
                self.brought.insert(name, split);
            }
        }
        Ok(())
    }

    /// Takes the wider types that tasks asked for, as far as SQL and targets can do with them. `starts`: the first split of each task.
    ///
    /// # Errors
    /// Those of the targets.
    pub async fn widen(&mut self, workshop: &Workshop, reports: &[TaskReport], starts: &[usize]) -> Result<()> {
        let mut asked: BTreeMap<String, (DataType, usize)> = BTreeMap::new();
        for (report, start) in reports.iter().zip(starts) {
            for wider in &report.wider {
                let one = schema_from_json(&wider.column)?;
                let field = one.fields().first().ok_or_else(|| Error::internal("a task asks for a type of no column"))?;
                let entry = asked.entry(field.name().clone()).or_insert_with(|| (field.data_type().clone(), start + wider.split));
                entry.0 = widen(&entry.0, field.data_type());
            }
        }
        for (name, (fits, split)) in asked {
            let Ok(column) = self.schema.index_of(&name) else { return Err(Error::internal(format!("a task asks for a type of `{name}`"))) };
            let before = self.schema.field(column).data_type();
            let wide = widen(before, &fits);
            if wide == *before {
                self.told.remove(&name);
                continue;
            }
            if self.settle(workshop, column, &wide).await? {
                self.brought.entry(name).or_insert(split);
            }
        }
        Ok(())
    }

    /// How the files differed from `known`. `decoded`: the columns in the end.
    pub fn drift(&self, known: Option<&SchemaRef>, decoded: &SchemaRef, splits: &[Split], reports: &[TaskReport]) -> Vec<Drift> {
        let mut seen = Seen::default();
        let mut start = 0;
        for report in reports {
            seen.then(&report.seen, start);
            start += report.splits.len();
        }
        let file = |split: Option<usize>| split.and_then(|s| splits.get(s)?.file.clone());
        let presence: BTreeMap<&str, _> = seen.columns.iter().map(|(n, p)| (n.as_str(), *p)).collect();
        let mut out = Vec::new();
        let mut push = |split: Option<usize>, column: &str, change| out.push(Drift { file: file(split), column: column.to_owned(), change });
        for field in decoded.fields() {
            let name = field.name().as_str();
            let presence = presence.get(name).copied().unwrap_or_default();
            let before = known.and_then(|k| k.field_with_name(name).ok());
            match before {
                None if presence.with > 0 => push(presence.first_with, name, Change::Added { data_type: type_name(field.data_type()) }),
                Some(before) if before.data_type() != field.data_type() => {
                    let change = Change::Retyped { from: type_name(before.data_type()), to: type_name(field.data_type()) };
                    push(self.brought.get(name).copied(), name, change);
                }
                _ => {}
            }
            let (files, first) = if before.is_some() { (presence.without, presence.first_without) } else { (presence.gone, presence.first_gone) };
            if files > 0 {
                push(first, name, Change::Missing { files, of: seen.files });
            }
        }
        for values in &seen.values {
            for (count, change) in [
                (values.values.discarded, Change::Discarded { values: values.values.discarded }),
                (values.values.rescued, Change::Rescued { values: values.values.rescued }),
            ] {
                if count > 0 {
                    push(values.split, &values.column, change);
                }
            }
        }
        out
    }
}
