//! `status`: where each pipeline stands.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use sluis_core::PipelineName;
use sluis_engine::ledger::inspect::LaneStatus;

use crate::exit::{End, Exit};
use crate::print;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  sluis status
  sluis status --project /srv/landing --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {}

impl Status {
    pub fn run(self, session: &Session) -> End {
        let loaded = session.look(None);
        let project = session.project()?;
        let lanes = session.existing_ledger(&project)?.map_or_else(|| Ok(Vec::new()), |ledger| ledger.lanes(None))?;
        let mut of: BTreeMap<PipelineName, Vec<LaneStatus>> = loaded.pipelines.iter().map(|p| (p.name.clone(), Vec::new())).collect();
        for lane in lanes {
            of.entry(lane.lane.pipeline.clone()).or_default().push(lane);
        }
        let when = |name: &PipelineName| loaded.pipelines.iter().find(|p| p.name == *name).map(|p| p.when.to_string());
        if session.json {
            for (name, lanes) in &of {
                print::json(&json!({ "pipeline": name, "configured": when(name).is_some(), "when": when(name), "lanes": lanes }));
            }
            return Ok(Exit::Done);
        }
        if of.is_empty() {
            print::line("there are no pipelines here; `sluis init` makes a first one");
            return Ok(Exit::Done);
        }
        let rows: Vec<Vec<String>> = of.iter().flat_map(|(name, lanes)| lines(name, lanes, when(name))).collect();
        print::out(&print::grid(&["PIPELINE", "STATE", "EPOCH", "LAST COMMIT", "FILES", "ROWS WRITTEN", "REJECTED", "WHEN"], &rows, &[2, 4, 5, 6]));
        Ok(Exit::Done)
    }
}

fn lines(name: &PipelineName, lanes: &[LaneStatus], when: Option<String>) -> Vec<Vec<String>> {
    let when = when.unwrap_or_else(|| "(its file is not here, or has mistakes)".into());
    let never = || vec![name.to_string(), "never ran".into(), "-".into(), "-".into(), "0".into(), "0".into(), "0".into(), when.clone()];
    let ran = |l: &&LaneStatus| l.epochs > 0 || l.open.is_some() || l.holder.as_ref().is_some_and(|h| h.alive);
    let shown: Vec<&LaneStatus> = lanes.iter().filter(ran).collect();
    if shown.is_empty() {
        return vec![never()];
    }
    let line = |l: &LaneStatus| {
        vec![
            if l.lane.lane == "main" { name.to_string() } else { l.lane.to_string() },
            state(l),
            l.last_committed.map_or_else(|| "-".into(), |(e, _)| e.to_string()),
            l.last_committed.map_or_else(|| "-".into(), |(_, at)| print::time(at)),
            print::count(l.files),
            print::count(l.rows.written),
            print::count(l.rows.rejected),
            when.clone(),
        ]
    };
    shown.into_iter().map(line).collect()
}

fn state(lane: &LaneStatus) -> String {
    let open = lane.open.map(|(epoch, step)| format!("epoch {epoch} {step}"));
    match (&lane.holder, open) {
        (Some(h), Some(open)) if h.alive => format!("running: {open} (pid {} on {})", h.who.pid, h.who.host),
        (Some(h), None) if h.alive => format!("running (pid {} on {})", h.who.pid, h.who.host),
        (_, Some(open)) => format!("unfinished: {open}; the next run goes on"),
        (_, None) => "idle".into(),
    }
}
