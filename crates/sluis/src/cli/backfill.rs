//! `backfill PIPELINE`: lands files of a span of time, in a lane of its own.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use clap::Args;
use sluis_config::Pipeline;
use sluis_core::{Checkpoint, Discovery, EpochLimits, Error, FileHistory, LaneId, LaneShard, Opened, PipelineName, Result, Selection, Source, Split};
use sluis_engine::{Engine, Lane, RunOptions, SqliteLedger, Stop};

use crate::assemble::Parts;
use crate::cli::rewind::takes_rows_back;
use crate::cli::run::tell;
use crate::drive::{drive, main_lane};
use crate::exit::End;
use crate::print;
use crate::process::stop_on_signals;
use crate::progress::observer;
use crate::session::{Session, runtime};
use crate::unfinished;

const EXAMPLES: &str = "\
Examples:
  sluis backfill cdrs --from 2023-01-01 --to 2023-12-31
  sluis backfill cdrs --match \"MobileVikings_202306*.cdr\"
  sluis backfill cdrs --from 2024-01-31 --to 2024-01-31 --again

A file's day is the first date that `match` captures, else the day it was modified. Files that landed are left out, unless --again is given:
then they are landed again, which needs a pipeline that can take their rows back (`on_overwrite: replace`, or tables that upsert or \
replace); with `on_overwrite: append` their rows are there twice. What `start:` passed over is taken. An interrupted backfill is finished by \
the next `run` or `backfill`, as far as it had planned.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Backfill {
    /// The pipeline: its name, or its file.
    pipeline: String,
    /// Files of this day (2024-01-31) or moment (2024-01-31T12:00:00Z), and later.
    #[arg(long, value_name = "DATE", value_parser = from)]
    from: Option<DateTime<Utc>>,
    /// Files until this day, or before this moment.
    #[arg(long, value_name = "DATE", value_parser = to)]
    to: Option<DateTime<Utc>>,
    /// Files whose name (or path below the URL, with a `/` in it) matches this pattern.
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<String>,
    /// Also files that landed before.
    #[arg(long)]
    again: bool,
}

const FORM: &str = "write a day (2024-01-31) or a moment (2024-01-31T12:00:00Z)";

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| FORM.into())
}
fn from(text: &str) -> Result<DateTime<Utc>, String> {
    day(text).map_or_else(|| moment(text), |d| Ok(d.and_time(NaiveTime::MIN).and_utc()))
}
/// A day counts to its end.
fn to(text: &str) -> Result<DateTime<Utc>, String> {
    match day(text) {
        Some(d) => d.checked_add_days(Days::new(1)).map(|d| d.and_time(NaiveTime::MIN).and_utc()).ok_or_else(|| FORM.into()),
        None => moment(text),
    }
}

impl Backfill {
    pub fn run(self, session: &Session) -> End {
        let (project, pipeline) = session.pipeline(&self.pipeline)?;
        if pipeline.source.def.name != "files" {
            return Err(Error::config(format!("`{}` does not read files: a backfill has no meaning for it", pipeline.name)).into());
        }
        let selection = Selection { from: self.from, to: self.to, glob: self.pattern };
        if selection.from.zip(selection.to).is_some_and(|(from, to)| from >= to) {
            return Err(Error::config("the span of time is empty").hint("`--from` comes before `--to`").into());
        }
        if self.again {
            may_land_again(session, &pipeline)?;
        }
        let mut parts = Parts::resolve(session, &project, &pipeline)?;
        let ledger = Arc::new(session.ledger(&project)?);
        let left = unfinished::lanes(session, &parts, &ledger)?;
        let lane = own_lane(session, &ledger, &pipeline.name)?;
        parts.context.selection = Some(selection);
        let mut source = parts.source()?;
        if self.again {
            source = Arc::new(Again { inner: source, ledger: ledger.clone(), pipeline: pipeline.name.clone(), lane: lane.lane.clone() });
        }
        let job = parts.job(source, parts.sinks()?, parts.rejects(session)?, parts.tables())?;
        let guarded = others(&ledger, &pipeline.name, &lane)?;
        let runtime = runtime()?;
        let run = runtime.block_on(async {
            let stop = Stop::default();
            stop_on_signals(&stop, session.quiet);
            let engine = Engine { ledger: ledger.clone(), clock: session.clock.clone(), observer: observer(session) };
            let mut run = unfinished::finish(&engine, &pipeline.name, left, &stop).await;
            if run.error.is_none() {
                let lane = Lane { id: lane, shard: LaneShard::ALL };
                run.add(drive(&engine, &job, &[lane], &guarded, &RunOptions::default(), &stop).await);
            }
            run
        });
        runtime.shutdown_background();
        tell(session, &run);
        Ok(run.exit())
    }
}

/// A lane that no other backfill had.
fn own_lane(session: &Session, ledger: &SqliteLedger, pipeline: &PipelineName) -> Result<LaneId> {
    let taken = ledger.lanes(Some(pipeline))?;
    let at = format!("{}{}", unfinished::BACKFILL, session.clock.now().format("%Y%m%dT%H%M%S"));
    let names = std::iter::once(at.clone()).chain((2..).map(|n| format!("{at}-{n}")));
    let free = names.map(|name| LaneId::new(pipeline.as_str(), name)).find(|lane| !taken.iter().any(|t| t.lane == *lane));
    free.ok_or_else(|| Error::internal("numbers have come to an end"))
}

/// All lanes of the pipeline but this one: a backfill has the pipeline to itself.
fn others(ledger: &SqliteLedger, pipeline: &PipelineName, own: &LaneId) -> Result<Vec<LaneId>> {
    let mut lanes = vec![main_lane(pipeline)];
    for status in ledger.lanes(Some(pipeline))? {
        if status.lane != *own && !lanes.contains(&status.lane) {
            lanes.push(status.lane);
        }
    }
    Ok(lanes)
}

/// Whether files may land that have landed.
fn may_land_again(session: &Session, pipeline: &Pipeline) -> Result<(), crate::exit::Failure> {
    if takes_rows_back(pipeline) {
        return Ok(());
    }
    if pipeline.source.config["on_overwrite"].as_str() == Some("append") {
        if !session.quiet {
            print::err(&format!("warning: `{}` appends: the rows of files that landed before will be there twice\n", pipeline.name));
        }
        return Ok(());
    }
    let error = Error::config(format!("`{}` cannot land files again: the rows they brought before would stay beside the new ones", pipeline.name));
    Err(error.hint("set `on_overwrite: replace` on its source (or `append`, if doubled rows are meant), or `mode: upsert` on its tables").into())
}

/// A source to which what other lanes landed is new.
struct Again {
    inner: Arc<dyn Source>,
    ledger: Arc<SqliteLedger>,
    pipeline: PipelineName,
    lane: String,
}

#[async_trait]
impl Source for Again {
    async fn discover(&self, from: &Checkpoint, limits: &EpochLimits, shard: LaneShard, _: &dyn FileHistory) -> Result<Discovery> {
        let history = self.ledger.history_again(&self.pipeline, &self.lane);
        self.inner.discover(from, limits, shard, history.as_ref()).await
    }
    async fn open(&self, split: &Split) -> Result<Opened> {
        self.inner.open(split).await
    }
    fn constant_columns(&self) -> SchemaRef {
        self.inner.constant_columns()
    }
    async fn acknowledge(&self, splits: &[Split]) -> Result<()> {
        self.inner.acknowledge(splits).await
    }
    async fn probe(&self) -> Result<Vec<String>> {
        self.inner.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_to_their_end() {
        assert_eq!(from("2024-01-31").unwrap().to_rfc3339(), "2024-01-31T00:00:00+00:00");
        assert_eq!(to("2024-01-31").unwrap().to_rfc3339(), "2024-02-01T00:00:00+00:00");
        assert_eq!(to("2024-01-31T12:00:00+01:00").unwrap().to_rfc3339(), "2024-01-31T11:00:00+00:00");
        assert!(from("31.1.2024").is_err() && to("").is_err());
    }
}
