//! `run [FILE|DIR]`: pipelines, one after the other, each until it is caught up.

use std::sync::Arc;

use clap::Args;
use sluis_config::{Pipeline, Project, Trigger};
use sluis_core::{Error, PipelineName};
use sluis_engine::{Engine, Observer, RunOptions, SqliteLedger, Stop};

use crate::assemble::Parts;
use crate::drive::{PipelineRun, Status, drive, plan_lanes};
use crate::exit::{End, Exit, error_text};
use crate::print;
use crate::process::stop_on_signals;
use crate::progress::{observer, rows_text};
use crate::session::{Asked, Session, runtime};
use crate::unfinished;

const EXAMPLES: &str = "\
Examples:
  sluis run                        every pipeline of the project
  sluis run cdrs                   one of them
  sluis run pipelines/cdrs.yaml    likewise
  sluis run load.yaml              a file alone is its own project: its state is in `.sluis/` beside it
  sluis run --json | tail -n 1     {\"pipeline\":\"cdrs\",\"status\":\"done\",\"epochs\":1,\"files\":3,\"rows\":{…},…}

With --json each pipeline ends with one line on standard output; `status` is done, failed, interrupted, budget_exceeded or held (another \
process is at work on it). Several pipelines run one after the other, those that others come `after` first; one that fails does not stop \
the others.

Ctrl-C ends a run within a second: what is not committed is left for the next run. A second Ctrl-C ends it at once. Nothing is lost or \
doubled either way.

Exit codes: 0 done, 1 failed or interrupted, 2 bad configuration, 3 error budget exceeded, 4 another process is at work on it.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// A pipeline's file or name, or a folder. Default: the whole project.
    #[arg(value_name = "FILE|DIR")]
    path: Option<String>,
    /// Stops after so many epochs per lane, even if there is more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit_epochs: Option<u64>,
    /// Lanes that share the files of a pipeline and advance side by side. Default: as many as it had, at first 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    lanes: Option<u32>,
}

impl Run {
    pub fn run(self, session: &Session) -> End {
        let asked = session.load(self.path.as_deref())?;
        if asked.pipelines.is_empty() {
            return Err(Error::config("there is no pipeline to run")
                .hint("a pipeline is a YAML file in `pipelines/`; `sluis init` makes a first one")
                .into());
        }
        let how = How { options: RunOptions { max_epochs: self.limit_epochs, ..RunOptions::default() }, lanes: self.lanes };
        let runs = run_all(session, &asked, &how)?;
        Ok(runs.iter().fold(Exit::Done, |exit, run| exit.worse(run.exit())))
    }
}

/// How to run.
#[derive(Default)]
pub struct How {
    pub options: RunOptions,
    pub lanes: Option<u32>,
}

/// Runs pipelines in their order and tells how each ended.
pub fn run_all(session: &Session, asked: &Asked, how: &How) -> sluis_core::Result<Vec<PipelineRun>> {
    let ledger = Arc::new(session.ledger(&asked.project)?);
    let runtime = runtime()?;
    let runs = runtime.block_on(async {
        let stop = Stop::default();
        stop_on_signals(&stop, session.quiet);
        let mut runs = Vec::new();
        for pipeline in in_order(&asked.pipelines) {
            let observer = observer(session);
            let run = if stop.is_stopped() {
                PipelineRun::failed(&pipeline.name, Error::new(sluis_core::ErrorKind::Interrupted, "interrupted before it began"))
            } else {
                one(session, &asked.project, pipeline, &ledger, observer.clone(), how, &stop).await
            };
            drop(observer);
            tell(session, &run);
            runs.push(run);
        }
        runs
    });
    // Tasks of an epoch that was abandoned must not keep the process.
    runtime.shutdown_background();
    Ok(runs)
}

async fn one(
    session: &Session,
    project: &Project,
    pipeline: &Pipeline,
    ledger: &Arc<SqliteLedger>,
    observer: Arc<dyn Observer>,
    how: &How,
    stop: &Stop,
) -> PipelineRun {
    let prepared = || {
        let parts = Parts::resolve(session, project, pipeline)?;
        Ok((parts.plain_job(session)?, plan_lanes(ledger, &pipeline.name, how.lanes)?, unfinished::lanes(session, &parts, ledger)?))
    };
    let (job, lanes, unfinished) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return PipelineRun::failed(&pipeline.name, error),
    };
    let engine = Engine { ledger: ledger.clone(), clock: session.clock.clone(), observer };
    let mut run = unfinished::finish(&engine, &pipeline.name, unfinished, stop).await;
    if run.error.is_none() {
        run.add(drive(&engine, &job, &lanes.lanes, &lanes.guarded, &how.options, stop).await);
    }
    run
}

/// Those that others come after first; else by name.
fn in_order(pipelines: &[Pipeline]) -> Vec<&Pipeline> {
    let mut left: Vec<&Pipeline> = pipelines.iter().collect();
    let mut out = Vec::new();
    while !left.is_empty() {
        let waits = |p: &Pipeline, left: &[&Pipeline]| matches!(&p.when, Trigger::After(names) if names.iter().any(|n: &PipelineName| left.iter().any(|l| l.name == *n)));
        // A circle was refused when the files were read.
        let next = left.iter().position(|p| !waits(p, &left)).unwrap_or(0);
        out.push(left.remove(next));
    }
    out
}

/// Tells how a pipeline's run ended.
pub fn tell(session: &Session, run: &PipelineRun) {
    if session.json {
        print::json(&run.to_json());
    }
    if let Some(error) = &run.error {
        let kind = error.kind();
        let name = if error.contexts().iter().any(|(k, v)| *k == "pipeline" && *v == run.pipeline.0) {
            String::new()
        } else {
            format!("{}: ", run.pipeline)
        };
        if kind == sluis_core::ErrorKind::Interrupted && !session.quiet {
            print::err(&format!("{name}{error}\n"));
        } else {
            print::err(&with_name(&error_text(error, session.color), &name));
        }
    }
    if !session.json && !session.quiet {
        print::out(&summary(run));
    }
}

/// `error: …` to `error: NAME: …`.
fn with_name(text: &str, name: &str) -> String {
    match text.split_once("error:") {
        Some((before, after)) => match after.split_once(' ') {
            Some((paint, rest)) => format!("{before}error:{paint} {name}{rest}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

fn summary(run: &PipelineRun) -> String {
    let s = &run.summary;
    let status = match run.status() {
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted",
        Status::BudgetExceeded => "failed: too many rejects",
        Status::Held => return format!("{}: not run: another process is at work on it\n", run.pipeline),
    };
    if s.epochs == 0 {
        let what = if run.error.is_none() { "nothing new" } else { status };
        return format!("{}: {what} ({})\n", run.pipeline, print::seconds(run.took));
    }
    let rate = s.bytes as f64 / run.took.as_secs_f64().max(0.001);
    let mut out = format!(
        "{}: {status}: {} in {}, {} in {} ({}/s)\n  {}\n",
        run.pipeline,
        print::counted(s.files, "file"),
        print::counted(s.epochs, "epoch"),
        print::bytes(s.bytes),
        print::seconds(run.took),
        print::bytes(rate as u64),
        rows_text(&s.rows),
    );
    if s.warned > 0 {
        out.push_str(&format!("  {} failed checks that only warn\n", print::counted(s.warned, "row")));
    }
    if s.values.any() {
        let counts = [(s.values.discarded, "discarded"), (s.values.rescued, "rescued")];
        let said: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", print::counted(*n, "value"))).collect();
        out.push_str(&format!("  {} by contract: sluis history {} --schema\n", said.join(", "), run.pipeline));
    }
    if s.rows.rejected > 0 {
        out.push_str(&format!("  see why: sluis rejects show {}\n", run.pipeline));
    }
    out
}
