//! The first step of an epoch: what the source has that is new, pinned in the `planned` record.
//!
//! Deliberately not here: choosing files (the source does).

use sluis_core::{Checkpoint, Created, Discovery, Epoch, Planned, Record, Result, crash};

use crate::events::Event;
use crate::run::Drive;

/// What planning came to.
pub enum Plan {
    /// Nothing is new.
    CaughtUp,
    /// The record stands. `more`: the limits left something for the next epoch.
    Planned { planned: Planned, more: bool },
    /// The record of someone else stands: look again.
    LookAgain,
}

/// Asks the source and writes the record.
///
/// # Errors
/// Those of the source and the ledger.
pub async fn plan(drive: &Drive, epoch: Epoch, from: Checkpoint) -> Result<Plan> {
    let engine = &drive.engine;
    let Discovery { splits, to, more, notes } = drive.halt.unless(discover(drive, &from)).await?;
    let files = splits.len() as u64;
    let bytes = splits.iter().filter_map(|s| s.file.as_ref()).map(|f| f.size).sum();
    drive.tell(Event::Discovered { files, bytes, more });
    notes.into_iter().for_each(|note| drive.tell(Event::Note(note)));
    if splits.is_empty() {
        return Ok(Plan::CaughtUp);
    }
    let planned = Planned { epoch, generation: drive.keeper.generation(), at: engine.clock.now(), from, to, splits };
    drive.keeper.ensure(&drive.halt).await?;
    crash::point("plan.before_record")?;
    match engine.ledger.create(&drive.lane.id, Record::Planned(planned.clone())).await? {
        Created::Won => {}
        Created::Lost(_) => return Ok(Plan::LookAgain),
    }
    crash::point("plan.after_record")?;
    tracing::info!(lane = %drive.lane.id, %epoch, files, bytes, "planned");
    drive.tell(Event::Planned { epoch, files, bytes });
    Ok(Plan::Planned { planned, more })
}

async fn discover(drive: &Drive, from: &Checkpoint) -> Result<Discovery> {
    let history = drive.engine.ledger.history(&drive.job.pipeline);
    drive.job.source.discover(from, &drive.job.limits, drive.lane.shard, history.as_ref()).await
}
