//! The course of rows through a task: completed, joined, transformed, joined again, given to the writers; and what is counted on the way.
//!
//! Reading, transforming and writing overlap; rows keep their order. Where a transform's output is exactly that of its own rows, runs work
//! side by side, one per batch; else one run takes all rows of a split, or (`scope: epoch`) of the epoch.
//! Deliberately not here: each of those steps. Guarantees: per split, read + added = written + rejected + filtered, by construction here and
//! proven again from the writers' counts by `accounting`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use sluis_core::columns::{schema_to_json, widen};
use sluis_core::contract::RESCUED;
use sluis_core::transform::CheckFailure;
use sluis_core::{
    Attempt, Contract, Decoded, Error, Misfit, Misfits, OnDrift, Outcome, ReadOptions, Reject, RejectReason, Result, RowCounts, RowOrigins, Split,
    SplitReport, TransformPlan, TransformRun, Transformed, ValueCounts, WriteBatch, crash,
};
use tokio::sync::mpsc;

use super::apart::begin;
use super::coalesce::{Coalescer, Joined};
use super::columns::{Columns, Expanded, LINE};
use super::contract::{Kept, apply, frozen_type};
use super::progress::Told;
use super::read::{Piece, Reader, Reading};
use super::rejects::Rejects;
use super::seen::{Seen, Watch};
use super::stage::{Out, stage};
use super::{Fault, Known, Learned, Lesson, TaskReport, TaskSpec, Workshop};
use crate::events::Event;

/// Batches that wait for the writers.
const WAITING: usize = 2;

/// Where a part of a batch is from.
struct Segment {
    split: usize,
    /// The file's name: the split's, or that of a member of it.
    file: Arc<str>,
    rows: usize,
    origins: Option<RowOrigins>,
}

/// A run that sees more than one batch.
struct Run {
    schema: SchemaRef,
    run: Box<dyn TransformRun>,
}

/// A batch that was transformed, and where its rows were from.
type Done = (Vec<Segment>, Transformed);

/// One attempt of a task.
pub struct Flow<'a> {
    workshop: &'a Workshop,
    spec: &'a TaskSpec,
    paths: Vec<Arc<str>>,
    to: mpsc::Sender<Out>,
    reports: Vec<SplitReport>,
    columns: Columns,
    /// Of the split being read.
    constants: Expanded,
    split: usize,
    file: Arc<str>,
    plain: bool,
    input: Coalescer<Segment>,
    ready: VecDeque<Joined<Segment>>,
    /// The plan for the schema last seen, `None` inside where rows go on as they are.
    plan: Option<(SchemaRef, Option<Arc<dyn TransformPlan>>)>,
    running: FuturesOrdered<BoxFuture<'static, Result<Done>>>,
    run: Option<Run>,
    /// Output rows of the run over the whole epoch.
    across_rows: bool,
    across_written: u64,
    output: Coalescer<()>,
    origin: Option<Arc<str>>,
    rejects: Rejects,
    warnings: BTreeMap<String, u64>,
    contract: Contract,
    /// Columns whose type the files would change, but for the targets (or the SQL).
    held: BTreeSet<String>,
    watch: Watch,
    /// Types that would hold what these columns' do not (`evolve`): from the first on, rows are only looked at.
    learned: Learned,
    meter: Arc<AtomicU64>,
    /// Not told yet.
    progress: (u64, u64),
    told: Arc<Told>,
}

impl<'a> Flow<'a> {
    /// Makes an attempt.
    pub async fn run(
        workshop: &'a Arc<Workshop>,
        spec: &'a TaskSpec,
        splits: &'a Arc<Vec<Split>>,
        attempt: Attempt,
        known: &Known,
        told: Arc<Told>,
    ) -> Result<TaskReport, Fault> {
        let job = &workshop.job;
        let constant_columns = job.added_columns();
        // Where nothing is known, nothing is beyond it.
        let open = job.contract.columns == OnDrift::Evolve || known.columns.fields().is_empty();
        let columns = Columns::new(&known.columns, &constant_columns, open)?;
        let may_reject = job.transform.as_ref().is_some_and(|t| t.may_reject());
        let meter = Arc::new(AtomicU64::new(0));
        let reading = Reading {
            source: job.source.clone(),
            format: job.format.clone(),
            splits: splits.clone(),
            options: ReadOptions {
                schema: known.columns.clone(),
                batch_rows: job.settings.batch_rows.max(1),
                threads: spec.threads.max(1),
                keep_origins: may_reject || constant_columns.index_of(LINE).is_ok() || job.contract.columns == OnDrift::DiscardRow,
                misfits: Misfits::of(&spec.told, job.contract.types == OnDrift::Evolve),
            },
            constant_columns,
            planned_at: spec.planned_at,
            reject_corrupt: job.settings.corrupt_files_are_rejected,
            meter: meter.clone(),
        };
        let reader = Reader::new(Arc::new(reading), &known.ends);
        let (to, from) = mpsc::channel(WAITING);
        let unread = SplitReport { outcome: Outcome::Read, rows: RowCounts::default(), bytes: 0 };
        let flow = Flow {
            workshop,
            spec,
            paths: splits.iter().map(|s| Arc::from(s.name())).collect(),
            to,
            reports: vec![unread; splits.len()],
            columns,
            constants: Expanded::default(),
            split: 0,
            file: Arc::from(""),
            plain: false,
            input: Coalescer::new(job.settings.batch_rows),
            ready: VecDeque::new(),
            plan: None,
            running: FuturesOrdered::new(),
            run: None,
            across_rows: job.transform.as_ref().is_some_and(|t| t.across_rows()),
            across_written: 0,
            output: Coalescer::new(job.settings.batch_rows),
            origin: None,
            rejects: Rejects::default(),
            warnings: BTreeMap::new(),
            contract: job.contract,
            held: held(workshop, spec, known),
            watch: Watch::default(),
            learned: Learned::new(),
            meter,
            progress: (0, 0),
            told,
        };
        let id = attempt.id.clone();
        let staging = begin(spec.threads > 1, stage(job.clone(), attempt, from));
        let (flowed, staged) = futures::join!(flow.all_rows(reader), staging);
        // A writer that fails ends the flow, too: its error is the cause.
        let committables = staged?;
        let report = flowed?;
        let committables = committables.ok_or_else(|| Error::internal("the writers ended before the rows"))?;
        let Flowed { reports, warnings, columns, seen } = report;
        let schema = columns.grew(&sluis_core::columns::schema_from_json(&spec.schema)?).then(|| schema_to_json(&columns.of_files()));
        Ok(TaskReport { task: spec.task, attempt: id, splits: reports, committables, warnings, schema, seen, wider: Vec::new() })
    }

    async fn all_rows(mut self, mut reader: Reader) -> Result<Flowed, Fault> {
        let limit = self.spec.threads.max(1);
        let mut ended = false;
        if self.across_rows {
            self.begin_across_rows().await?;
        }
        loop {
            let piece = tokio::select! {
                biased;
                Some(done) = self.running.next(), if !self.running.is_empty() => {
                    let (segments, transformed) = done?;
                    self.settle(segments, transformed).await?;
                    continue;
                }
                piece = reader.next(), if !ended && self.running.len() < limit => piece?,
                else => break,
            };
            self.workshop.halt.check()?;
            match piece {
                Some(piece) => self.take(piece).await?,
                None => {
                    ended = true;
                    self.input.flush(&mut self.ready)?;
                    self.transform_ready().await?;
                }
            }
        }
        if !self.learned.is_empty() {
            return Err(Fault::Again(Lesson::Types(self.learned)));
        }
        self.end_run().await?;
        if self.across_rows {
            share_out(&mut self.reports, self.across_written);
        }
        self.flush_output().await?;
        self.flush_rejects().await?;
        self.tell_progress();
        self.send(Out::End).await?;
        let seen = self.watch.seen(self.columns.of_files().fields().iter().map(|f| f.name().as_str()));
        Ok(Flowed { reports: self.reports, warnings: self.warnings, columns: self.columns, seen })
    }

    async fn take(&mut self, piece: Piece) -> Result<(), Fault> {
        match piece {
            Piece::Begin { split, constants, plain } => {
                crash::point("task.after_open")?;
                (self.split, self.plain, self.constants) = (split, plain, Expanded::new(constants));
                self.file = self.paths[split].clone();
            }
            Piece::Member(origin) => (self.file, self.constants) = (origin.name, Expanded::new(origin.constants)),
            Piece::Rows(decoded) => self.take_rows(decoded).await?,
            Piece::End { split, outcome, bytes } => self.end_split(split, outcome, bytes).await?,
        }
        self.transform_ready().await
    }

    async fn take_rows(&mut self, decoded: Decoded) -> Result<(), Fault> {
        let Decoded { batch, origins, rejects, misfits, surplus } = decoded;
        if !misfits.is_empty() && self.contract.types == OnDrift::Evolve {
            return Ok(self.learn(&batch, misfits)?);
        }
        if !self.learned.is_empty() {
            return Ok(());
        }
        let of_type = |r: &&Reject| matches!(r.reason, RejectReason::BadValue | RejectReason::ContractViolated);
        if let Some(reject) = rejects.iter().find(of_type).filter(|_| self.contract.types == OnDrift::Freeze) {
            return Err(frozen_type(reject).context("file", &self.file).into());
        }
        let counts = &mut self.reports[self.split].rows;
        counts.read += (batch.num_rows() + rejects.len()) as u64;
        self.progress.1 += (batch.num_rows() + rejects.len()) as u64;
        self.take_rejects(rejects).await?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let path = self.file.clone();
        let met = self.columns.meet(batch.schema_ref(), self.plain).map_err(|e| e.context("file", &path))?;
        self.watch.batch(met.present, met.again);
        let kept = if met.strange.is_empty() && misfits.is_empty() && surplus.is_empty() {
            Kept { batch, origins, rescued: None, rejects: Vec::new(), values: Vec::new(), surplus: 0 }
        } else {
            let strange = met.strange.to_vec();
            apply(self.contract, batch, origins, &strange, misfits, surplus).map_err(|e| e.context("file", &path))?
        };
        let Kept { batch, origins, rescued, rejects, values, surplus } = kept;
        for (column, values) in values {
            self.watch.values(self.split, batch.schema_ref().field(column).name(), values);
        }
        if surplus > 0 {
            self.watch.values(self.split, RESCUED, ValueCounts { discarded: 0, rescued: surplus });
        }
        self.take_rejects(rejects).await?;
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let lines = origins.as_ref().map(|o| o.lines.as_slice());
        let batch = self.columns.complete(&batch, &mut self.constants, lines, rescued).map_err(|e| e.context("file", &path))?;
        self.plan(&batch.schema()).await?;
        let segment = Segment { split: self.split, file: self.file.clone(), rows, origins };
        self.input.push(batch, segment, &mut self.ready)?;
        Ok(())
    }

    async fn take_rejects(&mut self, rejects: Vec<Reject>) -> Result<(), Fault> {
        self.reports[self.split].rows.rejected += rejects.len() as u64;
        for mut r in rejects {
            if r.reason == RejectReason::BadValue && r.column.as_ref().is_some_and(|c| self.held.contains(&**c)) {
                self.say_who_holds(&mut r);
            }
            self.rejects.push(&self.file, r.line, r.column.as_deref(), r.reason, &r.message, Some(&r.raw));
            if self.rejects.full() {
                self.flush_rejects().await?;
            }
        }
        Ok(())
    }

    /// Adds to the message of a reject why its column has the type that it has.
    #[cold]
    fn say_who_holds(&self, reject: &mut Reject) {
        let job = &self.workshop.job;
        let who = match (&job.transform, job.sinks.as_slice()) {
            (None, [only]) => format!("target `{}`", only.name()),
            (None, _) => "one of the targets".to_owned(),
            (Some(_), _) => "the SQL or a target".to_owned(),
        };
        reject.message.push_str(&format!("; {who} takes no other type for the column"));
    }

    /// Notes what types would hold these values.
    fn learn(&mut self, batch: &RecordBatch, misfits: Vec<Misfit>) -> Result<()> {
        for Misfit { column, fits, .. } in misfits {
            let field = batch.schema_ref().fields().get(column).ok_or_else(|| Error::internal("a value was told of a column that is not there"))?;
            match self.learned.get_mut(field.name()) {
                Some((have, _)) => *have = widen(have, &fits),
                None => {
                    self.learned.insert(field.name().clone(), (fits, self.split));
                }
            }
        }
        Ok(())
    }

    async fn end_split(&mut self, split: usize, outcome: Outcome, bytes: u64) -> Result<(), Fault> {
        self.split = split;
        if let Outcome::Corrupt(why) = &outcome {
            self.reports[split].rows = RowCounts { read: 1, rejected: 1, ..RowCounts::default() };
            self.rejects.push(&self.paths[split], 0, None, RejectReason::CorruptFile, why, None);
        }
        self.watch.end(split, outcome == Outcome::Read);
        self.reports[split].outcome = outcome;
        self.reports[split].bytes = bytes;
        self.progress.0 += 1;
        if self.keeps_apart() {
            self.input.flush(&mut self.ready)?;
            self.transform_ready().await?;
            if !self.across_rows {
                self.end_run().await?;
            }
        }
        if self.workshop.job.settings.replaces_files {
            // What is held of this file: the next one's go elsewhere.
            while let Some(done) = self.running.next().await {
                let (segments, transformed) = done?;
                self.settle(segments, transformed).await?;
            }
            self.flush_output().await?;
            self.flush_rejects().await?;
        }
        Ok(())
    }

    /// Whether batches of different splits are kept apart on their way in: where files replace their earlier versions, and where a
    /// transform may leave out or add rows, so that each split's can be counted.
    fn keeps_apart(&self) -> bool {
        let plan = self.plan.as_ref().and_then(|(_, plan)| plan.as_ref());
        self.workshop.job.settings.replaces_files || (!self.across_rows && plan.is_some_and(|p| !p.row_wise() || !p.keeps_rows()))
    }

    async fn plan(&mut self, schema: &SchemaRef) -> Result<Option<Arc<dyn TransformPlan>>> {
        if self.plan.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, schema) && last != schema) {
            self.plan = Some((schema.clone(), self.workshop.plan(schema).await?));
        }
        Ok(self.plan.as_ref().and_then(|(_, plan)| plan.clone()))
    }

    /// Starts the transforms of what is complete.
    async fn transform_ready(&mut self) -> Result<(), Fault> {
        while let Some((batch, segments)) = self.ready.pop_front() {
            self.tell_progress();
            let Some(plan) = self.plan(&batch.schema()).await? else {
                self.settle(segments, Transformed { batches: vec![batch], ..Transformed::default() }).await?;
                continue;
            };
            if plan.row_wise() && !self.across_rows {
                self.running.push_back(begin(self.spec.threads > 1, async move {
                    let mut run = plan.start()?;
                    let mut transformed = run.push(batch).await?;
                    transformed.batches.extend(run.finish().await?);
                    Ok((segments, transformed))
                }));
            } else {
                let transformed = self.push_through(&plan, batch).await?;
                self.settle(segments, transformed).await?;
            }
        }
        Ok(())
    }

    async fn push_through(&mut self, plan: &Arc<dyn TransformPlan>, batch: RecordBatch) -> Result<Transformed, Fault> {
        if self.run.as_ref().is_some_and(|run| run.schema != batch.schema()) {
            if self.across_rows {
                // Rows of the shape before are in it already.
                return Err(Fault::Again(Lesson::Columns(self.columns.of_files())));
            }
            self.end_run().await?;
        }
        let run = match &mut self.run {
            Some(run) => run,
            None => self.run.insert(Run { schema: batch.schema(), run: plan.start()? }),
        };
        Ok(run.run.push(batch).await?)
    }

    /// One run takes all rows of the epoch, even if there are none.
    async fn begin_across_rows(&mut self) -> Result<(), Fault> {
        let schema = self.columns.schema();
        if schema.fields().is_empty() {
            return Ok(());
        }
        if let Some(plan) = self.plan(&schema).await? {
            self.run = Some(Run { schema, run: plan.start()? });
        }
        Ok(())
    }

    async fn end_run(&mut self) -> Result<(), Fault> {
        let Some(Run { run, .. }) = self.run.take() else { return Ok(()) };
        let batches = run.finish().await?;
        if self.across_rows {
            self.across_written += batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        } else {
            let counts = &mut self.reports[self.split].rows;
            let made = batches.iter().map(|b| b.num_rows() as u64).sum::<u64>();
            counts.written += made;
            // Rows that were held back come now; what is beyond them was made.
            let back = made.min(counts.filtered);
            counts.filtered -= back;
            counts.added += made - back;
            // Rows left out of one batch and made of another are told apart by nobody.
            let both = counts.added.min(counts.filtered);
            counts.added -= both;
            counts.filtered -= both;
        }
        self.write(batches, self.split).await
    }

    /// Counts what came of a batch, and passes it on.
    async fn settle(&mut self, segments: Vec<Segment>, transformed: Transformed) -> Result<(), Fault> {
        let Transformed { batches, mut failures, warnings } = transformed;
        for (check, rows) in warnings {
            *self.warnings.entry(check.to_string()).or_default() += rows;
        }
        failures.sort_by_key(|f| f.row);
        let mut failed = vec![0_u64; segments.len()];
        let (mut at, mut start) = (0, 0);
        for failure in &failures {
            while at < segments.len() && failure.row >= start + segments[at].rows {
                start += segments[at].rows;
                at += 1;
            }
            let Some(segment) = segments.get(at) else {
                return Err(Error::internal(format!("check `{}` failed for row {}, which was not pushed", failure.check, failure.row)).into());
            };
            failed[at] += 1;
            self.reject(segment, failure.row - start, failure);
            if self.rejects.full() {
                self.flush_rejects().await?;
            }
        }
        let made = batches.iter().map(|b| b.num_rows() as u64).sum();
        self.count(&segments, &failed, made)?;
        let split = segments.last().map_or(self.split, |s| s.split);
        self.write(batches, split).await
    }

    fn reject(&mut self, segment: &Segment, row: usize, failure: &CheckFailure) {
        let (mut line, mut raw) = (0, None);
        if let Some(origins) = &segment.origins {
            line = origins.lines.get(row).copied().unwrap_or(0);
            raw = origins.raw.as_ref().and_then(|(block, ranges)| {
                let (from, to) = *ranges.get(row)?;
                block.get(from as usize..to as usize)
            });
        }
        self.rejects.push(&segment.file, line, Some(&failure.check), RejectReason::CheckFailed, &failure.message, raw);
    }

    fn count(&mut self, segments: &[Segment], failed: &[u64], made: u64) -> Result<()> {
        let passed = |i: usize| segments[i].rows as u64 - failed[i];
        for (segment, failed) in segments.iter().zip(failed) {
            self.reports[segment.split].rows.rejected += failed;
        }
        if self.across_rows {
            self.across_written += made;
            return Ok(());
        }
        let all: u64 = (0..segments.len()).map(passed).sum();
        if made == all {
            for (i, segment) in segments.iter().enumerate() {
                self.reports[segment.split].rows.written += passed(i);
            }
            return Ok(());
        }
        let Some(Segment { split, .. }) = segments.first() else { return Ok(()) };
        if segments.iter().any(|s| s.split != *split) {
            return Err(Error::internal(format!("a select that keeps rows made {made} of {all}")));
        }
        let counts = &mut self.reports[*split].rows;
        counts.written += made;
        counts.filtered += all.saturating_sub(made);
        counts.added += made.saturating_sub(all);
        Ok(())
    }

    async fn write(&mut self, batches: Vec<RecordBatch>, split: usize) -> Result<(), Fault> {
        if self.workshop.job.settings.replaces_files {
            self.origin = Some(self.paths[split].clone());
        }
        let mut ready: Vec<Joined<()>> = Vec::new();
        for batch in batches.into_iter().filter(|b| b.num_rows() > 0) {
            self.output.push(batch, (), &mut ready)?;
        }
        self.give(ready).await
    }

    async fn flush_output(&mut self) -> Result<(), Fault> {
        let mut ready: Vec<Joined<()>> = Vec::new();
        self.output.flush(&mut ready)?;
        self.give(ready).await
    }

    async fn give(&mut self, ready: Vec<Joined<()>>) -> Result<(), Fault> {
        for (batch, _) in ready {
            self.send(Out::Rows(WriteBatch { batch, origin: self.origin.clone() })).await?;
        }
        Ok(())
    }

    async fn flush_rejects(&mut self) -> Result<(), Fault> {
        let origin = self.workshop.job.settings.replaces_files.then(|| self.paths[self.split].clone());
        match self.rejects.take(self.spec)? {
            Some(batch) => self.send(Out::Rejects(WriteBatch { batch, origin })).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, out: Out) -> Result<(), Fault> {
        // The writers' own error is told instead.
        self.to.send(out).await.map_err(|_| Error::internal("the writers are gone").into())
    }

    fn tell_progress(&mut self) {
        let (files, rows) = std::mem::take(&mut self.progress);
        let bytes = self.meter.swap(0, Ordering::Relaxed);
        if files + rows + bytes > 0 {
            self.told.add((files, bytes, rows));
            self.workshop.observer.event(&self.spec.lane, Event::Read { epoch: self.spec.epoch, files, bytes, rows });
        }
    }
}

/// Columns that are inferred and whose values are not told any more: a wider type was asked for, and a target or the SQL could not do with it.
fn held(workshop: &Workshop, spec: &TaskSpec, known: &Known) -> BTreeSet<String> {
    let job = &workshop.job;
    if job.contract.types != OnDrift::Evolve {
        return BTreeSet::new();
    }
    let plain = |t: &DataType| *t != DataType::Utf8 && !t.is_nested();
    let fields = known.columns.fields().iter().filter(|f| plain(f.data_type()) && job.declared.index_of(f.name()).is_err());
    fields.filter(|f| !spec.told.contains(f.name())).map(|f| f.name().clone()).collect()
}

struct Flowed {
    reports: Vec<SplitReport>,
    warnings: BTreeMap<String, u64>,
    columns: Columns,
    seen: Seen,
}

/// Splits among which rows were mixed: those that came out are counted to the first ones, as far as they had rows; what is beyond was made.
fn share_out(reports: &mut [SplitReport], mut written: u64) {
    for report in reports.iter_mut() {
        let rows = &mut report.rows;
        let passed = rows.read - rows.rejected;
        rows.written = passed.min(written);
        rows.filtered = passed - rows.written;
        written -= rows.written;
    }
    if let Some(last) = reports.last_mut() {
        last.rows.written += written;
        last.rows.added += written;
    }
}
