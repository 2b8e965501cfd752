//! The middle step of an epoch: tasks read, transform and stage what was planned; rows are counted; then the decision is written. Where rows
//! show that a column needs a wider type than the sample did (`contract: evolve`), all tasks begin again with it.
//!
//! Deliberately not here: what a task does. Guarantees: until `staged` is written nothing is visible, and a failure leaves it so.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use sluis_core::columns::{schema_from_json, schema_to_json, unite};
use sluis_core::{Created, Error, ErrorKind, Outcome, Planned, Record, Result, RowCounts, Split, Staged, crash};

use crate::accounting::prove;
use crate::events::Event;
use crate::executor::{Executor, InProcess};
use crate::pin::{Pinned, pin};
use crate::run::Drive;
use crate::task::{TaskReport, TaskSpec, Workshop, input_schema};

/// Executes an epoch and writes `staged`; `None`: the record of someone else stands.
///
/// # Errors
/// Those of the parts; `ErrorKind::Data` if rows are not accounted for, `ErrorKind::Budget` if too many were rejected.
pub async fn execute(drive: &mut Drive, planned: &Planned) -> Result<Option<Staged>> {
    let halt = drive.halt.clone();
    let (staged, warnings) = halt.unless(work(drive, planned)).await?;
    let rows = staged.rows();
    within_budget(drive, &rows)?;
    drive.keeper.ensure(&drive.halt).await?;
    crash::point("stage.before_record")?;
    match drive.engine.ledger.create(&drive.lane.id, Record::Staged(staged.clone())).await? {
        Created::Won => {}
        Created::Lost(_) => return Ok(None),
    }
    crash::point("stage.after_record")?;
    tracing::info!(lane = %drive.lane.id, epoch = %planned.epoch, read = rows.read, written = rows.written, rejected = rows.rejected, "staged");
    for (check, rows) in warnings {
        drive.summary.warned += rows;
        drive.tell(Event::Warned { epoch: planned.epoch, check, rows });
    }
    drive.tell(Event::Staged { epoch: planned.epoch, rows });
    Ok(Some(staged))
}

async fn work(drive: &mut Drive, planned: &Planned) -> Result<(Staged, BTreeMap<String, u64>)> {
    let job = drive.job.clone();
    let known = drive.engine.ledger.last_schema(&job.pipeline).await?.as_ref().map(schema_from_json).transpose()?;
    let workshop = Arc::new(Workshop::new(job.clone(), drive.engine.observer.clone(), drive.halt.clone()));
    let mut pinned = pin(&workshop, &planned.splits, known.clone()).await?;
    let reports = loop {
        prepare(drive, &workshop, &pinned.schema).await?;
        let tasks = tasks(drive, planned, &pinned);
        let starts: Vec<usize> = tasks.iter().scan(0, |at, t| Some(std::mem::replace(at, *at + t.splits.len()))).collect();
        let reports = InProcess(workshop.clone()).run(tasks).await?;
        if reports.iter().all(|r| r.wider.is_empty()) {
            break reports;
        }
        // Nothing was decided: what was staged is swept with the leftovers of other attempts.
        pinned.widen(&workshop, &reports, &starts).await?;
        workshop.read_again(&drive.lane.id, planned.epoch);
    };
    let sinks: Vec<_> = job.sinks.iter().map(|s| s.name().clone()).collect();
    let splits = prove(&planned.splits, &reports, &sinks, job.rejects.name())?;
    let decoded = reports
        .iter()
        .filter_map(|r| r.schema.as_ref())
        .try_fold(pinned.schema.clone(), |all, more| Ok::<_, Error>(unite(&all, &*schema_from_json(more)?)))?;
    let drift = pinned.drift(known.as_ref(), &decoded, &planned.splits, &reports);
    let replaced = planned.splits.iter().zip(&splits).filter(|(split, report)| split.replaces && report.outcome == Outcome::Read);
    let replaced = replaced.map(|(split, _)| split.name().to_owned()).collect();
    let mut warnings = BTreeMap::new();
    let mut committables = Vec::new();
    for TaskReport { warnings: more, committables: own, .. } in reports {
        more.into_iter().for_each(|(check, rows)| *warnings.entry(check).or_default() += rows);
        committables.extend(own);
    }
    let staged = Staged {
        epoch: planned.epoch,
        generation: drive.keeper.generation(),
        at: drive.engine.clock.now(),
        from: planned.from.clone(),
        to: planned.to.clone(),
        splits,
        committables,
        replaced,
        schema: (!decoded.fields().is_empty()).then(|| schema_to_json(&decoded)),
        drift: Some(drift),
    };
    Ok((staged, warnings))
}

/// Plans the SQL, so that its mistakes are known before anything is read, and makes the targets ready for its columns.
async fn prepare(drive: &mut Drive, workshop: &Workshop, schema: &SchemaRef) -> Result<()> {
    if schema.fields().is_empty() {
        return Ok(());
    }
    let input = input_schema(schema, &drive.job.added_columns())?;
    let output = match workshop.plan(&input).await? {
        Some(plan) => plan.output_schema(),
        None => input,
    };
    if drive.prepared.as_ref() == Some(&output) {
        return Ok(());
    }
    futures::future::try_join_all(drive.job.sinks.iter().map(|sink| sink.prepare(&output))).await?;
    drive.prepared = Some(output);
    Ok(())
}

/// Contiguous groups of splits, of about as many bytes each.
fn tasks(drive: &Drive, planned: &Planned, pinned: &Pinned) -> Vec<TaskSpec> {
    let settings = &drive.job.settings;
    let across_rows = drive.job.transform.as_ref().is_some_and(|t| t.across_rows());
    let count = if across_rows { 1 } else { settings.tasks.clamp(1, planned.splits.len()) };
    let groups = groups(&planned.splits, count);
    let threads = (settings.threads / groups.len()).max(1);
    let spec = |(task, splits): (usize, &[Split])| TaskSpec {
        lane: drive.lane.id.clone(),
        epoch: planned.epoch,
        task: task as u32,
        planned_at: planned.at,
        splits: splits.to_vec(),
        schema: schema_to_json(&pinned.schema),
        told: pinned.told.iter().cloned().collect(),
        threads,
    };
    groups.into_iter().enumerate().map(spec).collect()
}

fn groups(splits: &[Split], count: usize) -> Vec<&[Split]> {
    // An empty file costs its opening.
    let weight = |s: &Split| s.file.as_ref().map_or(1, |f| f.size.max(4096));
    let total: u64 = splits.iter().map(weight).sum();
    let mut out = Vec::with_capacity(count);
    let (mut start, mut sum) = (0, 0);
    for (i, split) in splits.iter().enumerate() {
        sum += weight(split);
        let (groups_left, splits_left) = (count - out.len(), splits.len() - i - 1);
        let full = u128::from(sum) * count as u128 >= u128::from(total) * (out.len() as u128 + 1);
        if groups_left > 1 && splits_left > 0 && (full || splits_left < groups_left) {
            out.push(&splits[start..=i]);
            start = i + 1;
        }
    }
    out.push(&splits[start..]);
    out
}

fn within_budget(drive: &Drive, rows: &RowCounts) -> Result<()> {
    match (drive.job.budget)(rows) {
        None => Ok(()),
        Some(sentence) => Err(Error::new(ErrorKind::Budget, sentence)
            .hint("nothing was committed; mend the files, or raise `fail_if`, and run again: the epoch is redone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluis_core::{FileVersion, PartitionId, Position};

    fn split(size: u64) -> Split {
        Split {
            partition: PartitionId("files".into()),
            from: Position::Beginning,
            to: None,
            file: Some(FileVersion { path: "/f".into(), size, modified: None, etag: None }),
            constants: BTreeMap::new(),
            replaces: false,
            apart: false,
            detail: serde_json::Value::Null,
        }
    }

    #[test]
    fn groups_are_contiguous_complete_and_balanced() {
        for n in 1..30_u64 {
            let splits: Vec<Split> = (0..n).map(|i| split(1 + i * 10_000 % 70_000)).collect();
            for count in 1..=n as usize {
                let groups = groups(&splits, count);
                assert_eq!(groups.concat(), splits);
                assert!(groups.len() <= count && groups.iter().all(|g| !g.is_empty()), "{n} {count}");
            }
        }
        let even = [split(10_000), split(10_000), split(10_000), split(10_000)];
        assert_eq!(groups(&even, 2).iter().map(|g| g.len()).collect::<Vec<_>>(), [2, 2]);
        let one_large = [split(10), split(10), split(1_000_000), split(10)];
        assert_eq!(groups(&one_large, 2).iter().map(|g| g.len()).collect::<Vec<_>>(), [3, 1]);
    }
}
