//! `history PIPELINE`: what its epochs did; with `--schema`, how its files changed.

use std::path::Path;

use clap::Args;
use sluis_core::Change;
use sluis_engine::ledger::drift::{SchemaChange, SchemaEntry};
use sluis_engine::ledger::inspect::EpochEntry;

use crate::exit::{End, Exit};
use crate::print;
use crate::session::{Session, shown};

const EXAMPLES: &str = "\
Examples:
  sluis history call_records
  sluis history call_records --limit 5
  sluis history call_records --schema    which file brought which column or type, when
  sluis history call_records --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct History {
    /// The pipeline: its name, or its file.
    pipeline: String,
    /// How many epochs (with `--schema`: changes), the newest first.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
    /// Shows how the files changed: columns that came, changed their type or are missing, values that were discarded or rescued.
    #[arg(long)]
    schema: bool,
}

impl History {
    pub fn run(self, session: &Session) -> End {
        let name = session.name(&self.pipeline)?;
        let project = session.project()?;
        if self.schema {
            let mut changes = session.existing_ledger(&project)?.map_or_else(|| Ok(Vec::new()), |ledger| ledger.schema_history(&name, self.limit))?;
            // The newest epoch first; within one as they were found.
            changes.sort_by_key(|c| std::cmp::Reverse((c.at, c.epoch)));
            return Ok(show_changes(session, name.as_str(), &changes));
        }
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

fn show_changes(session: &Session, name: &str, changes: &[SchemaEntry]) -> Exit {
    if session.json {
        changes.iter().for_each(|change| print::json(&serde_json::to_value(change).unwrap_or_default()));
    } else if changes.is_empty() {
        print::line(&format!("nothing has changed in the files of `{name}`, or none has landed; `sluis history {name}` lists its epochs"));
    } else {
        let rows: Vec<Vec<String>> = changes.iter().map(change_line).collect();
        print::out(&print::grid(&["WHEN", "LANE", "EPOCH", "FILE", "COLUMN", "CHANGE"], &rows, &[2]));
    }
    Exit::Done
}

fn change_line(e: &SchemaEntry) -> Vec<String> {
    let change = match &e.change {
        SchemaChange::Back { .. } => "back in all files".to_owned(),
        SchemaChange::Recorded(change) => match change {
            Change::Added { data_type } => format!("added: {data_type}"),
            Change::Retyped { from, to } => format!("{from} → {to}"),
            Change::Missing { files, of } if files == of => "missing since".to_owned(),
            Change::Missing { files, of } => format!("missing since, in {} of {}", print::count(*files), print::counted(*of, "file")),
            Change::Discarded { values } => format!("values discarded: {}", print::count(*values)),
            Change::Rescued { values } => format!("values rescued: {}", print::count(*values)),
        },
    };
    let file = e.file.as_ref().map_or_else(|| "-".to_owned(), |f| shown(Path::new(&f.path)));
    vec![print::time(e.at), e.lane.lane.clone(), e.epoch.to_string(), file, e.column.clone(), change]
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
