//! Epochs that an earlier command left open in lanes that no plain run drives: backfills and replays. The next run finishes them first.
//!
//! Deliberately not here: `main` and its siblings; the engine takes up their open epochs by itself.

use sluis_core::LaneShard;
use sluis_core::{PipelineName, Result};
use sluis_engine::{Engine, Job, Lane, RunOptions, SqliteLedger, Stop, Summary};

use crate::assemble::Parts;
use crate::drive::{PipelineRun, drive, main_lane};
use crate::replay;
use crate::session::Session;

/// How lanes of `backfill` are called.
pub const BACKFILL: &str = "backfill-";

/// Lanes with an open epoch, and what drives each.
pub fn lanes(session: &Session, parts: &Parts, ledger: &SqliteLedger) -> Result<Vec<(Lane, Job)>> {
    let mut out = Vec::new();
    for status in ledger.lanes(Some(&parts.pipeline.name))? {
        let lane = &status.lane.lane;
        let busy = status.holder.as_ref().is_some_and(|h| h.alive);
        if status.open.is_none() || busy {
            continue;
        }
        let job = if lane.starts_with(BACKFILL) {
            parts.plain_job(session)?
        } else if lane == replay::LANE {
            replay::job(session, parts)?
        } else {
            continue;
        };
        out.push((Lane { id: status.lane.clone(), shard: LaneShard::ALL }, job));
    }
    Ok(out)
}

/// Finishes the open epoch of each.
pub async fn finish(engine: &Engine, pipeline: &PipelineName, lanes: Vec<(Lane, Job)>, stop: &Stop) -> PipelineRun {
    let mut all = PipelineRun { pipeline: pipeline.clone(), summary: Summary::default(), error: None, took: std::time::Duration::ZERO };
    let options = RunOptions { max_epochs: Some(1), ..RunOptions::default() };
    for (lane, job) in lanes {
        all.add(drive(engine, &job, std::slice::from_ref(&lane), &[main_lane(pipeline)], &options, stop).await);
        if all.error.is_some() {
            break;
        }
    }
    all
}
