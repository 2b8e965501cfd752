//! `explain`: what a run would read, what becomes of it, and what the targets guarantee. Moves no state.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use clap::Args;
use serde_json::{Value, json};
use sluis_core::columns::{schema_to_json, type_name};
use sluis_core::{LedgerStore, Result, Split};
use sluis_engine::{Columns, Engine, Explanation, Job, Lane, Silent, SqliteLedger};

use crate::assemble::Parts;
use crate::cli::check::promise_lines;
use crate::drive::plan_lanes;
use crate::exit::{End, Exit};
use crate::print;
use crate::session::{Session, runtime, shown};

const EXAMPLES: &str = "\
Examples:
  sluis explain
  sluis explain cdrs
  sluis explain pipelines/cdrs.yaml --json

It lists the source, as a run would, and reads a sample to find the columns. Nothing is written, locked or moved.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// A pipeline's file or name, or a folder. Default: the whole project.
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// How many files to list by name.
    #[arg(long, value_name = "N", default_value_t = 10)]
    files: usize,
}

impl Explain {
    pub fn run(self, session: &Session) -> End {
        let asked = session.load(self.path.as_deref())?;
        let ledger = session.existing_ledger(&asked.project)?.map(Arc::new);
        let runtime = runtime()?;
        for pipeline in &asked.pipelines {
            let parts = Parts::resolve(session, &asked.project, pipeline)?;
            let lanes = match &ledger {
                Some(ledger) => plan_lanes(ledger, &pipeline.name, None)?.lanes,
                None => vec![Lane::main(&pipeline.name)],
            };
            let store: Arc<dyn LedgerStore> = match &ledger {
                Some(ledger) => ledger.clone(),
                None => Arc::new(SqliteLedger::in_memory(session.clock.clone())?),
            };
            let engine = Engine { ledger: store, clock: session.clock.clone(), observer: Arc::new(Silent) };
            let told = runtime.block_on(explain(session, &engine, &parts, &lanes)).map_err(|e| e.context("pipeline", &pipeline.name))?;
            if session.json { print::json(&told.to_json(&parts)) } else { print::out(&told.text(&parts, self.files)) }
        }
        Ok(Exit::Done)
    }
}

struct Told {
    job: Job,
    lanes: Vec<(Lane, Explanation)>,
    columns: Option<Columns>,
}

async fn explain(session: &Session, engine: &Engine, parts: &Parts, lanes: &[Lane]) -> Result<Told> {
    let job = parts.plain_job(session)?;
    let mut explained = Vec::new();
    for lane in lanes {
        explained.push((lane.clone(), engine.explain(&job, lane).await?));
    }
    let splits: Vec<Split> = explained.iter().flat_map(|(_, e)| splits(e)).cloned().collect();
    let columns = engine.columns(&job, &splits).await?;
    Ok(Told { job, lanes: explained, columns })
}

fn splits(e: &Explanation) -> &[Split] {
    match e {
        Explanation::Plan { discovery, .. } => &discovery.splits,
        Explanation::Execute { planned } | Explanation::Commit { planned, .. } => &planned.splits,
    }
}

impl Told {
    fn to_json(&self, parts: &Parts) -> Value {
        let lanes: Vec<Value> = self.lanes.iter().map(|(lane, e)| lane_json(lane, e)).collect();
        let targets: Vec<Value> = self.all_sinks().map(|s| json!({ "name": s.name(), "promise": s.guarantee() })).collect();
        let columns =
            self.columns.as_ref().map(|c| json!({ "in": schema_to_json(&c.input), "out": schema_to_json(&c.output), "changes": c.changes }));
        // Secrets were resolved in `parts`; its own form of the pipeline is not shown, the one as written is.
        json!({ "pipeline": parts.pipeline.name, "file": shown(&parts.pipeline.file), "lanes": lanes, "columns": columns, "targets": targets })
    }

    fn all_sinks(&self) -> impl Iterator<Item = &Arc<dyn sluis_core::Sink>> {
        self.job.sinks.iter().chain(std::iter::once(&self.job.rejects))
    }

    fn text(&self, parts: &Parts, most: usize) -> String {
        let p = &parts.pipeline;
        let mut out = format!("{} ({})\n", p.name, shown(&p.file));
        for (lane, e) in &self.lanes {
            out.push_str(&lane_text(lane, e, most));
        }
        if let Some(Columns { input, .. }) = &self.columns {
            out.push_str(&format!("  rows come with: {}\n", fields(input)));
        }
        for check in &p.checks {
            out.push_str(&format!("  check {} (or {}): {}\n", check.name, check.on_fail.word(), print::short(&check.that, 100)));
        }
        for select in &p.selects {
            out.push_str(&format!("  select {}: {}\n", select.name, print::short(&select.sql.split_whitespace().collect::<Vec<_>>().join(" "), 200)));
        }
        if let Some(Columns { output, changes, .. }) = &self.columns {
            out.push_str(&format!("  rows go on with: {}\n", fields(output)));
            changes.iter().for_each(|change| out.push_str(&format!("  {change}\n")));
        }
        let sinks = self.all_sinks().map(|s| (format!("into {}", s.name()), s.guarantee()));
        promise_lines(sinks).iter().for_each(|l| out.push_str(&format!("  {l}\n")));
        let s = &self.job.settings;
        let (tasks, threads) = (print::counted(s.tasks as u64, "task"), print::counted(s.threads as u64, "thread"));
        out.push_str(&format!("  an epoch is worked on by {tasks} on {threads}, {} rows at a time\n", print::count(s.batch_rows as u64)));
        out
    }
}

fn fields(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect::<Vec<_>>().join(", ")
}

fn totals(splits: &[Split]) -> (u64, u64) {
    let files = splits.iter().filter_map(|s| s.file.as_ref());
    files.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f.size))
}

fn lane_json(lane: &Lane, e: &Explanation) -> Value {
    let (files, bytes) = totals(splits(e));
    let (next, epoch, more, notes) = match e {
        Explanation::Plan { epoch, discovery } => ("plan", epoch, discovery.more, discovery.notes.clone()),
        Explanation::Execute { planned } => ("execute", &planned.epoch, false, Vec::new()),
        Explanation::Commit { planned, .. } => ("commit", &planned.epoch, false, Vec::new()),
    };
    json!({ "lane": lane.id.lane, "next": next, "epoch": epoch, "files": files, "bytes": bytes, "more": more, "notes": notes, "splits": splits(e) })
}

fn lane_text(lane: &Lane, e: &Explanation, most: usize) -> String {
    let splits = splits(e);
    let (files, bytes) = totals(splits);
    let amount = format!("{}, {}", print::counted(files, "file"), print::bytes(bytes));
    let lane = if lane.id.lane == "main" { String::new() } else { format!("lane {}: ", lane.id.lane) };
    let mut out = match e {
        Explanation::Plan { discovery, .. } if discovery.splits.is_empty() => format!("  {lane}nothing new\n"),
        Explanation::Plan { epoch, discovery } => {
            let more = if discovery.more { ", and more in later epochs" } else { "" };
            format!("  {lane}epoch {epoch} would read {amount}{more}\n")
        }
        Explanation::Execute { planned } => format!("  {lane}epoch {} was planned by an earlier run and would be read: {amount}\n", planned.epoch),
        Explanation::Commit { planned, staged } => {
            format!(
                "  {lane}epoch {} was staged by an earlier run and would be made visible: {}\n",
                planned.epoch,
                crate::progress::rows_text(&staged.rows())
            )
        }
    };
    for split in splits.iter().take(most) {
        let size = split.file.as_ref().map_or(String::new(), |f| format!(" ({})", print::bytes(f.size)));
        let replaces = if split.replaces { ", replacing an earlier version's rows" } else { "" };
        out.push_str(&format!("    {}{size}{replaces}\n", shown(std::path::Path::new(split.name()))));
    }
    if splits.len() > most {
        out.push_str(&format!("    and {}\n", print::counted((splits.len() - most) as u64, "other")));
    }
    if let Explanation::Plan { discovery, .. } = e {
        discovery.notes.iter().for_each(|n| out.push_str(&format!("  note: {n}\n")));
    }
    out
}
