//! One pipeline's run: its lanes side by side, each by the engine, under the pipeline's lock; and what came of it.
//!
//! Whoever works on a pipeline holds its lane `main`: a plain run by driving it, others (several lanes, backfills, replays) by holding it
//! beside their own. So two processes never look for new files of one pipeline at the same time.
//! Guarantee: a run that was asked to stop has ended within a second.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluis_core::{Error, ErrorKind, LaneId, LaneShard, Lease, LeaseHolder, LedgerStore, PipelineName, Result, RowCounts};
use sluis_engine::ledger::inspect::LaneStatus;
use sluis_engine::{Engine, Event, Job, Lane, Observer, Outcome, RunOptions, SqliteLedger, Stop, Summary};

use crate::exit::{Exit, error_json};
use crate::process::GRACE;

/// How a pipeline's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Done,
    Failed,
    Interrupted,
    BudgetExceeded,
    Held,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
            Status::BudgetExceeded => "budget_exceeded",
            Status::Held => "held",
        }
    }
    fn of(error: Option<&Error>) -> Status {
        match error.map(Error::kind) {
            None => Status::Done,
            Some(ErrorKind::Interrupted) => Status::Interrupted,
            Some(ErrorKind::Budget) => Status::BudgetExceeded,
            Some(ErrorKind::Lease) => Status::Held,
            Some(_) => Status::Failed,
        }
    }
}

/// What a pipeline's run came to.
#[derive(Debug)]
pub struct PipelineRun {
    pub pipeline: PipelineName,
    pub summary: Summary,
    pub error: Option<Error>,
    pub took: Duration,
}

impl PipelineRun {
    /// It did not even begin.
    pub fn failed(pipeline: &PipelineName, error: Error) -> Self {
        Self { pipeline: pipeline.clone(), summary: Summary::default(), error: Some(error), took: Duration::ZERO }
    }
    /// And what another run of the same pipeline came to.
    pub fn add(&mut self, other: PipelineRun) {
        self.summary = sum(&self.summary, &other.summary);
        self.took += other.took;
        self.error = self.error.take().or(other.error);
    }
    pub fn status(&self) -> Status {
        Status::of(self.error.as_ref())
    }
    pub fn exit(&self) -> Exit {
        self.error.as_ref().map_or(Exit::Done, Exit::of)
    }
    /// The line of `run --json`.
    pub fn to_json(&self) -> Value {
        let RowCounts { read, written, rejected, filtered, added } = self.summary.rows;
        let mut rows = json!({ "read": read, "written": written, "rejected": rejected, "filtered": filtered });
        if added > 0 {
            rows["added"] = added.into();
        }
        let mut line = json!({
            "pipeline": self.pipeline,
            "status": self.status().word(),
            "epochs": self.summary.epochs,
            "files": self.summary.files,
            "rows": rows,
            "bytes": self.summary.bytes,
            "seconds": (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
        });
        if self.summary.values.any() {
            line["values"] = json!(self.summary.values);
        }
        if let Some(error) = &self.error {
            line["error"] = error_json(error);
        }
        line
    }
}

/// Drives the lanes to their end. `guarded`: lanes to hold meanwhile without driving them.
pub async fn drive(engine: &Engine, job: &Job, lanes: &[Lane], guarded: &[LaneId], options: &RunOptions, stop: &Stop) -> PipelineRun {
    let began = Instant::now();
    let (summary, error) = match Guard::take(engine, guarded, stop).await {
        Err(e) => (Summary::default(), Some(e)),
        Ok(guard) => {
            let outcome = side_by_side(engine, job, lanes, options, stop).await;
            guard.release().await;
            outcome
        }
    };
    PipelineRun { pipeline: job.pipeline.clone(), summary, error, took: began.elapsed() }
}

async fn side_by_side(engine: &Engine, job: &Job, lanes: &[Lane], options: &RunOptions, stop: &Stop) -> (Summary, Option<Error>) {
    let tally = Arc::new(Tally { inner: engine.observer.clone(), sum: Mutex::default() });
    let engine = Engine { observer: tally.clone(), ..engine.clone() };
    let runs = futures::future::join_all(lanes.iter().map(|lane| engine.run(job, lane, options, stop)));
    let late = async {
        stop.stopped().await;
        tokio::time::sleep(GRACE).await;
    };
    let outcomes: Vec<Outcome> = tokio::select! {
        outcomes = runs => outcomes,
        () = late => {
            let error = Error::new(ErrorKind::Interrupted, "interrupted; the epoch at work was left as it is, and the next run takes it up");
            return (tally.sum(), Some(error));
        }
    };
    let mut all = Summary::default();
    let mut worst: Option<Error> = None;
    for Outcome { summary, error } in outcomes {
        all = sum(&all, &summary);
        if let Some(error) = error {
            let code = Exit::of(&error);
            if worst.as_ref().is_none_or(|w| code != Exit::of(w) && code.worse(Exit::of(w)) == code) {
                worst = Some(error);
            }
        }
    }
    (all, worst)
}

/// Counts what is committed, for a run that is abandoned before it can say so itself.
struct Tally {
    inner: Arc<dyn Observer>,
    sum: Mutex<Summary>,
}

impl Tally {
    fn sum(&self) -> Summary {
        self.sum.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Observer for Tally {
    fn event(&self, lane: &LaneId, event: Event) {
        if let Event::Committed { files, bytes, rows, values, .. } = &event {
            let one = Summary { epochs: 1, files: *files, bytes: *bytes, rows: *rows, warned: 0, values: *values };
            let mut all = self.sum.lock().unwrap_or_else(|e| e.into_inner());
            *all = sum(&all, &one);
        }
        self.inner.event(lane, event);
    }
}

fn sum(a: &Summary, b: &Summary) -> Summary {
    Summary {
        epochs: a.epochs + b.epochs,
        files: a.files + b.files,
        bytes: a.bytes + b.bytes,
        rows: a.rows.plus(&b.rows),
        warned: a.warned + b.warned,
        values: a.values.plus(&b.values),
    }
}

/// Leases of lanes that are held and not driven, renewed until released.
pub struct Guard {
    ledger: Arc<dyn LedgerStore>,
    renewer: Option<tokio::task::JoinHandle<()>>,
    leases: Arc<tokio::sync::Mutex<Vec<Lease>>>,
}

/// How long a lease holds, and how often it is renewed.
const TTL: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);

impl Guard {
    /// Takes all of them, or none.
    ///
    /// # Errors
    /// `ErrorKind::Lease` names the holder.
    pub async fn take(engine: &Engine, lanes: &[LaneId], stop: &Stop) -> Result<Guard> {
        let mut guard = Guard { ledger: engine.ledger.clone(), renewer: None, leases: Arc::default() };
        if lanes.is_empty() {
            return Ok(guard);
        }
        let owner = this_process(engine);
        for lane in lanes {
            match engine.ledger.acquire(lane, &owner, TTL).await {
                Ok(lease) => guard.leases.lock().await.push(lease),
                Err(e) => {
                    guard.release().await;
                    return Err(e);
                }
            }
        }
        let (ledger, leases, stop) = (guard.ledger.clone(), guard.leases.clone(), stop.clone());
        guard.renewer = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                for lease in leases.lock().await.iter_mut() {
                    match ledger.renew(lease, TTL).await {
                        Ok(renewed) => *lease = renewed,
                        Err(e) if e.kind() == ErrorKind::Lease => stop.stop(),
                        // It is tried again before the lease ends.
                        Err(_) => {}
                    }
                }
            }
        }));
        Ok(guard)
    }

    /// The leases held.
    pub async fn leases(&self) -> Vec<Lease> {
        self.leases.lock().await.clone()
    }

    /// Gives them back.
    pub async fn release(self) {
        if let Some(renewer) = &self.renewer {
            renewer.abort();
        }
        for lease in self.leases.lock().await.drain(..) {
            // One that is not given back ends with this process.
            let _ = self.ledger.release(&lease).await;
        }
    }
}

fn this_process(engine: &Engine) -> LeaseHolder {
    sluis_engine::ledger::owner::this_process(engine.clock.now())
}

/// The lane that stands for the whole pipeline.
pub fn main_lane(pipeline: &PipelineName) -> LaneId {
    Lane::main(pipeline).id
}

/// The lanes a run drives, and those it only holds.
pub struct LanePlan {
    pub lanes: Vec<Lane>,
    pub guarded: Vec<LaneId>,
}

/// Chooses the lanes of a run: as many as asked for, else as many as the pipeline had.
///
/// # Errors
/// `ErrorKind::Config`: the number would change while an epoch is open.
pub fn plan_lanes(ledger: &SqliteLedger, pipeline: &PipelineName, asked: Option<u32>) -> Result<LanePlan> {
    let known = ledger.lanes(Some(pipeline))?;
    let numbered =
        |lane: &str| if lane == "main" { Some(1) } else { lane.split_once("of").and_then(|(k, n)| k.parse::<u32>().ok().and(n.parse().ok())) };
    let had = known
        .iter()
        .filter_map(|l| Some((numbered(&l.lane.lane)?, l.open.is_some(), l.last_committed.map(|(_, at)| at))))
        .max_by_key(|(_, open, at)| (*open, *at))
        .map_or(1, |(n, ..)| n);
    let n = asked.unwrap_or(had);
    if n != had {
        // If somebody is at work on it, taking the lane says who.
        let left = |l: &&LaneStatus| l.open.is_some() && !l.holder.as_ref().is_some_and(|h| h.alive);
        if let Some(open) = known.iter().filter(left).find(|l| numbered(&l.lane.lane).is_some_and(|m| m != n)) {
            let message = format!(
                "the number of lanes of `{pipeline}` cannot change from {had} to {n} now: lane `{}` has an epoch that is not finished",
                open.lane.lane
            );
            return Err(Error::config(message).hint(format!("finish it with `sluis run --lanes {had}`, then change the number")));
        }
    }
    if n == 1 {
        return Ok(LanePlan { lanes: vec![Lane::main(pipeline)], guarded: Vec::new() });
    }
    let lanes =
        (0..n).map(|i| Lane { id: LaneId { pipeline: pipeline.clone(), lane: format!("{}of{n}", i + 1) }, shard: LaneShard { index: i, of: n } });
    Ok(LanePlan { lanes: lanes.collect(), guarded: vec![main_lane(pipeline)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_run_has_its_keys_in_order() {
        let run = PipelineRun {
            pipeline: PipelineName::new("p"),
            summary: Summary {
                epochs: 1,
                files: 2,
                bytes: 3,
                rows: RowCounts { read: 5, written: 4, rejected: 1, ..Default::default() },
                ..Summary::default()
            },
            error: None,
            took: Duration::from_millis(1500),
        };
        let expected = r#"{"pipeline":"p","status":"done","epochs":1,"files":2,"rows":{"read":5,"written":4,"rejected":1,"filtered":0},"bytes":3,"seconds":1.5}"#;
        assert_eq!(run.to_json().to_string(), expected);
        let failed = PipelineRun::failed(&PipelineName::new("p"), Error::new(ErrorKind::Budget, "too many"));
        assert_eq!((failed.status().word(), failed.exit()), ("budget_exceeded", Exit::Budget));
        assert_eq!(failed.to_json()["error"]["kind"], "budget");
    }
}
