//! `rejects show`, `rejects replay`.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use serde_json::json;
use sluis_core::reject::RejectReason;
use sluis_core::{Error, LaneId, LaneShard};
use sluis_engine::{Engine, Lane, RunOptions, Stop};

use crate::assemble::Parts;
use crate::cli::run::tell;
use crate::drive::{PipelineRun, drive, main_lane};
use crate::exit::{End, Exit};
use crate::print;
use crate::process::stop_on_signals;
use crate::progress::observer;
use crate::rejected::{Filter, Rejected, read};
use crate::replay::{self, Spooled};
use crate::session::{Session, runtime, shown};

const SHOW: &str = "\
Examples:
  sluis rejects show
  sluis rejects show cdrs --reason bad_value
  sluis rejects show cdrs --file MobileVikings_20240131 --json

Reasons: bad_value, missing_value, too_few_fields, too_many_fields, bad_quote, bad_encoding, too_long, bad_syntax, corrupt_file, \
check_failed, contract_violated, target_refused. --json writes an object per row.";

const REPLAY: &str = "\
Examples:
  sluis rejects replay cdrs
  sluis rejects replay cdrs --reason bad_value --file MobileVikings_20240131

Rows go through the pipeline as it is now: correct it first (a type, a check). Each rejected row is replayed once; those that are rejected \
again are new rejects and can be replayed again. It works for CSV and JSON; the header of a CSV file is taken from the original, which \
must still be where it was. `on_overwrite: replace` goes with `sluis backfill --again` instead.";

#[derive(Args)]
pub struct Rejects {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows rejected rows by reason and file, with an example each.
    #[command(after_help = SHOW)]
    Show {
        /// A pipeline: its name, or its file. Default: all of the project.
        pipeline: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Tries rejected rows again, through the pipeline as it is now.
    #[command(after_help = REPLAY)]
    Replay {
        /// The pipeline: its name, or its file.
        pipeline: String,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args)]
struct Which {
    /// Only those with this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(RejectReason::ALL.map(RejectReason::code)), hide_possible_values = true)]
    reason: Option<String>,
    /// Only those of files whose address has this in it.
    #[arg(long, value_name = "TEXT")]
    file: Option<String>,
    /// Only those of this epoch.
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
}

impl Which {
    fn filter(self) -> Filter {
        Filter { reason: self.reason, file: self.file, epoch: self.epoch }
    }
}

impl Rejects {
    pub fn run(self, session: &Session) -> End {
        match self.what {
            What::Show { pipeline, which } => show(session, pipeline.as_deref(), &which.filter()),
            What::Replay { pipeline, which } => replay(session, &pipeline, &which.filter()),
        }
    }
}

fn show(session: &Session, what: Option<&str>, filter: &Filter) -> End {
    let asked = session.load(what)?;
    let runtime = runtime()?;
    for pipeline in &asked.pipelines {
        let parts = Parts::resolve(session, &asked.project, pipeline)?;
        let mut groups = Groups::default();
        let each = &mut |row: Rejected| {
            if session.json {
                print::json(&row_json(pipeline.name.as_str(), &row))
            } else {
                groups.add(row)
            }
            Ok(())
        };
        runtime.block_on(read(session, &parts, filter, each)).map_err(|e| e.context("pipeline", &pipeline.name))?;
        if !session.json {
            print::out(&groups.text(pipeline.name.as_str()));
        }
    }
    Ok(Exit::Done)
}

fn row_json(pipeline: &str, row: &Rejected) -> serde_json::Value {
    json!({
        "pipeline": pipeline, "lane": row.lane, "epoch": row.epoch, "file": row.file, "line": row.line, "column": row.column,
        "reason": row.reason, "message": row.message, "raw": String::from_utf8_lossy(&row.raw), "rejected_at": row.at,
    })
}

/// What rejects have in common: reason, column, file.
type Key = (String, Option<String>, String);

/// Rejects by reason and file.
#[derive(Default)]
struct Groups(BTreeMap<Key, Group>);

struct Group {
    rows: u64,
    lines: Vec<u64>,
    example: Rejected,
}

const LINES: usize = 5;

impl Groups {
    fn add(&mut self, row: Rejected) {
        let key = (row.reason.clone(), row.column.clone(), row.file.clone());
        let group = self.0.entry(key).or_insert_with(|| Group { rows: 0, lines: Vec::new(), example: row.clone() });
        group.rows += 1;
        if group.lines.len() <= LINES {
            group.lines.push(row.line);
        }
        if row.line < group.example.line {
            group.example = row;
        }
    }

    fn text(&self, pipeline: &str) -> String {
        if self.0.is_empty() {
            return format!("{pipeline}: no rejected rows\n");
        }
        let rows = self.0.values().map(|g| g.rows).sum();
        let files: std::collections::BTreeSet<&str> = self.0.keys().map(|(_, _, file)| file.as_str()).collect();
        let mut out = format!("{pipeline}: {} in {}\n", print::counted(rows, "rejected row"), print::counted(files.len() as u64, "file"));
        let mut last: Option<(&str, Option<&str>)> = None;
        for ((reason, column, file), group) in &self.0 {
            if last != Some((reason, column.as_deref())) {
                let of = self.0.iter().filter(|((r, c, _), _)| r == reason && c == column).map(|(_, g)| g.rows).sum();
                let column = column.as_ref().map_or(String::new(), |c| format!(" in `{c}`"));
                out.push_str(&format!("\n  {reason}{column}: {}\n", print::counted(of, "row")));
            }
            last = Some((reason, column.as_deref()));
            let mut lines = group.lines.clone();
            lines.sort_unstable();
            let more = if group.rows as usize > LINES { ", …" } else { "" };
            let lines = lines.iter().take(LINES).map(u64::to_string).collect::<Vec<_>>().join(", ");
            out.push_str(&format!("    {}: {}, line {lines}{more}\n", shown(std::path::Path::new(file)), print::counted(group.rows, "row")));
            out.push_str(&format!("      {}\n", group.example.message));
            if !group.example.raw.is_empty() {
                out.push_str(&format!("      | {}\n", print::short(&String::from_utf8_lossy(&group.example.raw), 110)));
            }
        }
        out.push_str(&format!("\n  after the pipeline or the data is corrected: sluis rejects replay {pipeline}\n"));
        out
    }
}

fn replay(session: &Session, what: &str, filter: &Filter) -> End {
    let (project, pipeline) = session.pipeline(what)?;
    let parts = Parts::resolve(session, &project, &pipeline)?;
    let ledger = Arc::new(session.ledger(&project)?);
    let runtime = runtime()?;
    let (spooled, run): (Spooled, PipelineRun) = runtime.block_on(async {
        let stop = Stop::default();
        stop_on_signals(&stop, session.quiet);
        let spooled = replay::fill(session, &parts, &ledger, filter).await?;
        let engine = Engine { ledger: ledger.clone(), clock: session.clock.clone(), observer: observer(session) };
        let lane = Lane { id: LaneId::new(pipeline.name.as_str(), replay::LANE), shard: LaneShard::ALL };
        let job = replay::job(session, &parts)?;
        let guarded = [main_lane(&pipeline.name)];
        let run = drive(&engine, &job, &[lane], &guarded, &RunOptions::default(), &stop).await;
        Ok::<_, Error>((spooled, run))
    })?;
    runtime.shutdown_background();
    for (file, (rows, why)) in &spooled.headless {
        let rows = print::counted(*rows, "row");
        print::err(&format!("warning: {rows} of {file} cannot be replayed, for the file's header is not to be had: {why}\n"));
    }
    if spooled.without_text > 0 && !session.quiet {
        print::err(&format!(
            "warning: {} cannot be replayed: their text is not in the rejects (files damaged as a whole, rows over 64 KiB); `sluis backfill --again` reads their files anew\n",
            print::counted(spooled.without_text, "reject")
        ));
    }
    if spooled.before > 0 && !session.quiet {
        print::err(&format!("{} were replayed before\n", print::counted(spooled.before, "row")));
    }
    tell(session, &run);
    Ok(if spooled.headless.is_empty() { run.exit() } else { run.exit().worse(Exit::Failed) })
}
