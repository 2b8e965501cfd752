//! `history PIPELINE`: what its epochs did.

use clap::Args;
use sluis_engine::ledger::inspect::EpochEntry;

use crate::exit::{End, Exit};
use crate::print;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  sluis history call_records
  sluis history call_records --limit 5
  sluis history call_records --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct History {
    /// The pipeline: its name, or its file.
    pipeline: String,
    /// How many epochs, the newest first.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
}

impl History {
    pub fn run(self, session: &Session) -> End {
        let name = session.name(&self.pipeline)?;
        let project = session.project()?;
        let epochs = session.existing_ledger(&project)?.map_or_else(|| Ok(Vec::new()), |ledger| ledger.epochs(&name, self.limit))?;
        if session.json {
            for epoch in &epochs {
                print::json(&serde_json::to_value(epoch).unwrap_or_default());
            }
            return Ok(Exit::Done);
        }
        if epochs.is_empty() {
            print::line(&format!("`{name}` has no epochs yet; `sluis status` lists the pipelines"));
            return Ok(Exit::Done);
        }
        let rows: Vec<Vec<String>> = epochs.iter().map(line).collect();
        let header = ["LANE", "EPOCH", "STATE", "AT", "TOOK", "FILES", "BYTES", "READ", "WRITTEN", "REJECTED", "FILTERED", "NOTES"];
        print::out(&print::grid(&header, &rows, &[1, 4, 5, 6, 7, 8, 9, 10]));
        Ok(Exit::Done)
    }
}

fn line(e: &EpochEntry) -> Vec<String> {
    let (state, at) = match (e.committed_at, e.staged_at) {
        (Some(at), _) => ("committed", at),
        (None, Some(at)) => ("staged", at),
        (None, None) => ("planned", e.planned_at),
    };
    let took = (at - e.planned_at).to_std().unwrap_or_default();
    let mut notes = Vec::new();
    if !e.replaced.is_empty() {
        notes.push(format!("replaced {}", print::counted(e.replaced.len() as u64, "file")));
    }
    if let Some(schema) = &e.schema {
        let columns = schema.as_array().map_or(0, Vec::len) as u64;
        notes.push(format!("{} from here on", print::counted(columns, "column")));
    }
    if e.receipts.iter().any(|r| r.already) {
        notes.push("recovered".into());
    }
    vec![
        e.lane.lane.clone(),
        e.epoch.to_string(),
        state.into(),
        print::time(at),
        print::seconds(took),
        print::count(e.files),
        print::bytes(e.bytes),
        print::count(e.rows.read),
        print::count(e.rows.written),
        print::count(e.rows.rejected),
        print::count(e.rows.filtered),
        notes.join("; "),
    ]
}
