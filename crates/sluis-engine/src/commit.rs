//! The last steps of an epoch: what was staged becomes visible, target by target; then the record; then clearing up.
//!
//! Every call may be repeated, by this process or a later one. Deliberately not here: how a target makes things visible.

use std::future::Future;

use sluis_core::{
    CommitKey, Committable, Committed, Error, ErrorKind, Outcome, Planned, Receipt, Record, Result, Sink, Split, Staged, StagedEpoch, crash,
};

use crate::events::Event;
use crate::run::{Drive, sentence};

/// Makes an epoch visible and writes its record.
///
/// # Errors
/// Those of the targets and the ledger. Nothing is lost: it may be called again.
pub async fn commit(drive: &Drive, planned: &Planned, staged: &Staged) -> Result<()> {
    let job = &drive.job;
    let known = |c: &&Committable| job.sinks.iter().chain([&job.rejects]).any(|s| *s.name() == c.sink);
    if let Some(orphan) = staged.committables.iter().find(|c| !known(c)) {
        let message = format!("epoch {} was staged for the target `{}`, which the pipeline no longer has", staged.epoch, orphan.sink);
        return Err(Error::config(message).hint("put the target back, run once so that the epoch is committed, then take it away"));
    }
    let mut receipts: Vec<Receipt> = Vec::new();
    for sink in job.sinks.iter().chain([&job.rejects]) {
        let own = own(sink.as_ref(), staged);
        // Nothing is to appear and nothing to leave: the target is not touched, and need not even exist (no rejects so far).
        if own.is_empty() && staged.replaced.is_empty() {
            continue;
        }
        drive.keeper.ensure(&drive.halt).await?;
        crash::point("commit.before_sink")?;
        let key = key(drive, sink.as_ref(), staged);
        let epoch = StagedEpoch { committables: &own, replaced: &staged.replaced };
        receipts.push(drive.halt.finish_or_leave(sink.commit(&key, epoch)).await?);
        crash::point("commit.after_sink")?;
    }
    crash::point("commit.before_record")?;
    let committed =
        Committed { epoch: staged.epoch, generation: drive.keeper.generation(), at: drive.engine.clock.now(), receipts: receipts.clone() };
    // Lost: it is committed, by a call of ours whose answer never came.
    drive.engine.ledger.create(&drive.lane.id, Record::Committed(committed)).await?;
    crash::point("commit.after_record")?;
    let (files, bytes, rows) = (landed(planned, staged).count() as u64, staged.bytes(), staged.rows());
    tracing::info!(lane = %drive.lane.id, epoch = %staged.epoch, files, bytes, written = rows.written, rejected = rows.rejected, "committed");
    drive.tell(Event::Committed { epoch: staged.epoch, files, bytes, rows, values: staged.values(), receipts });
    Ok(())
}

/// After the commit: the source is told, leftovers go. What fails costs no rows and is tried again by a later run.
///
/// # Errors
/// Only a lost lease and the simulator's crash.
pub async fn clear_up(drive: &Drive, planned: &Planned, staged: &Staged) -> Result<()> {
    let read: Vec<Split> =
        planned.splits.iter().zip(&staged.splits).filter(|(_, report)| report.outcome == Outcome::Read).map(|(split, _)| split.clone()).collect();
    effect(drive, "telling the source that its rows are committed", drive.job.source.acknowledge(&read)).await?;
    for sink in drive.job.sinks.iter().chain([&drive.job.rejects]) {
        let (key, keep) = (key(drive, sink.as_ref(), staged), own(sink.as_ref(), staged));
        let sweeping = async {
            match sink.sweep(&key, &keep).await {
                // A target that was never written to.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                swept => swept,
            }
        };
        effect(drive, "removing what was staged and not needed", sweeping).await?;
    }
    Ok(())
}

/// At the end, when nothing is new: for files that an earlier run could not archive, or that were too young.
///
/// # Errors
/// As [`clear_up`].
pub async fn acknowledge_rest(drive: &Drive) -> Result<()> {
    effect(drive, "telling the source that its rows are committed", drive.job.source.acknowledge(&[])).await
}

async fn effect(drive: &Drive, what: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
    match drive.keeper.ensure(&drive.halt).await {
        Err(e) if e.kind() == ErrorKind::Lease => return Err(e),
        // A later run does it.
        Err(_) => return Ok(()),
        Ok(()) => {}
    }
    match drive.halt.finish_or_leave(work).await {
        Err(e) if matches!(e.kind(), ErrorKind::Lease | ErrorKind::Crash) => Err(e),
        Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
        Err(e) => {
            tracing::warn!(lane = %drive.lane.id, error = %e, "{what} failed; a later run tries again");
            drive.tell(Event::Problem(format!("{what} failed: {}", sentence(&e))));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The splits that were there to be read.
pub fn landed<'a>(planned: &'a Planned, staged: &'a Staged) -> impl Iterator<Item = &'a Split> {
    planned.splits.iter().zip(&staged.splits).filter(|(_, report)| !matches!(report.outcome, Outcome::Changed(_))).map(|(split, _)| split)
}

fn own(sink: &dyn Sink, staged: &Staged) -> Vec<Committable> {
    staged.committables.iter().filter(|c| c.sink == *sink.name()).cloned().collect()
}

fn key(drive: &Drive, sink: &dyn Sink, staged: &Staged) -> CommitKey {
    CommitKey { lane: drive.lane.id.clone(), sink: sink.name().clone(), epoch: staged.epoch }
}
