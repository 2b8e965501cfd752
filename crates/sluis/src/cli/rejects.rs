//! `rejects show`, `rejects replay`.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use serde_json::json;
use sluis_core::reject::RejectReason;
use sluis_core::{Error, HumanDuration, LaneId, LaneShard};
use sluis_engine::{Engine, Lane, RunOptions, Stop};

use crate::assemble::Parts;
use crate::cli::run::tell;
use crate::drive::{PipelineRun, drive, main_lane};
use crate::exit::{End, Exit};
use crate::faults;
use crate::print;
use crate::process::stop_on_signals;
use crate::progress::observer;
use crate::rejected::{Filter, Rejected, read};
use crate::replay::{self, Spooled};
use crate::session::{Session, runtime};

const SHOW: &str = "\
Examples:
  sluis rejects show
  sluis rejects show cdrs --reason bad_value
  sluis rejects show cdrs --column started_at --since 2h --limit 20
  sluis rejects show cdrs --file MobileVikings_20240131 --json

Each reason has a page in docs/reference/rejects: what it means, an example, what to do.
Reasons: bad_value, missing_value, too_few_fields, too_many_fields, bad_quote, bad_encoding, too_long, bad_syntax, corrupt_file, \
check_failed, contract_violated. --json writes an object per row.";

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
    /// Shows rejected rows by reason, column and file, with examples: the line, and a caret under the fault.
    #[command(after_help = SHOW)]
    Show {
        /// A pipeline: its name, or its file. Default: all of the project.
        pipeline: Option<String>,
        /// How many examples to show of each reason and column; with --json how many rows in all. Default: 3, and all.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
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
    /// Only those about this column, or this check.
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Only those of this day or moment or later (`2024-01-31`, `2024-01-31T12:00:00Z`), or of so long ago (`2h`, `7d`).
    #[arg(long, value_name = "WHEN", value_parser = Since::parse)]
    since: Option<Since>,
}

/// A moment, or how long ago.
#[derive(Debug, Clone, Copy)]
enum Since {
    Moment(DateTime<Utc>),
    Ago(HumanDuration),
}

impl Since {
    fn parse(text: &str) -> Result<Since, String> {
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let moment = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).or_else(|_| day()).map(Since::Moment);
        moment
            .or_else(|_| text.parse().map(Since::Ago))
            .map_err(|_| "write a day (2024-01-31), a moment (2024-01-31T12:00:00Z) or how long ago (2h, 7d)".into())
    }

    fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Since::Moment(at) => at,
            Since::Ago(ago) => chrono::TimeDelta::from_std(ago.0).ok().and_then(|d| now.checked_sub_signed(d)).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

/// Of each kind, unless it is said.
const EXAMPLES: usize = 3;

impl Which {
    fn filter(self, session: &Session) -> Filter {
        let since = self.since.map(|since| since.at(session.clock.now()));
        Filter { reason: self.reason, file: self.file, epoch: self.epoch, column: self.column, since }
    }
}

impl Rejects {
    pub fn run(self, session: &Session) -> End {
        match self.what {
            What::Show { pipeline, which, limit } => show(session, pipeline.as_deref(), &which.filter(session), limit),
            What::Replay { pipeline, which } => replay(session, &pipeline, &which.filter(session)),
        }
    }
}

fn show(session: &Session, what: Option<&str>, filter: &Filter, limit: Option<usize>) -> End {
    let asked = session.load(what)?;
    let ledger = session.existing_ledger(&asked.project)?;
    let runtime = runtime()?;
    let mut left = limit.unwrap_or(usize::MAX);
    for pipeline in &asked.pipelines {
        let parts = Parts::resolve(session, &asked.project, pipeline)?;
        let named = |e: Error| e.context("pipeline", &pipeline.name);
        if session.json {
            let each = &mut |row: Rejected| {
                if left > 0 {
                    left -= 1;
                    print::json(&row_json(pipeline.name.as_str(), &row));
                }
                Ok(())
            };
            runtime.block_on(read(session, &parts, filter, each)).map_err(named)?;
        } else {
            let text = faults::text(session, &parts, ledger.as_ref(), filter, limit.unwrap_or(EXAMPLES));
            print::out(&runtime.block_on(text).map_err(named)?);
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
