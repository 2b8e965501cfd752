//! The loop: takes the lane, reads its view, does what [`decide()`](sluis_core::decide()) says, until caught up or told to stop.
//!
//! Deliberately not here: the steps themselves (`plan`, `execute`, `commit`), any recovery other than looking and deciding again.
//! Guarantees: a run that fails, is stopped or dies leaves a lane that the next run takes up; nothing is lost, nothing is there twice.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use sluis_core::columns::schema_from_json;
use sluis_core::secret::redact;
use sluis_core::{Clock, Discovery, Epoch, Error, ErrorKind, LedgerStore, Next, Planned, Result, RowCounts, Split, Staged, ValueCounts, decide};
use tokio::sync::watch;

use crate::commit::{acknowledge_rest, clear_up, commit, landed};
use crate::events::{Event, Observer, Silent};
use crate::execute::execute;
use crate::halt::{Halt, interrupted};
use crate::job::{Job, Lane};
use crate::lease::Keeper;
use crate::ledger::owner::this_process;
use crate::pin::pin;
use crate::plan::{Plan, plan};
use crate::retry::{may_pass, pause};
use crate::task::{Workshop, input_schema};

/// What driving lanes needs besides the job.
#[derive(Clone)]
pub struct Engine {
    pub ledger: Arc<dyn LedgerStore>,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn Observer>,
}

/// How far to go.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Stop after so many epochs; `None`: when caught up.
    pub max_epochs: Option<u64>,
    /// How long the lease holds unless renewed.
    pub lease: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { max_epochs: None, lease: Duration::from_secs(30) }
    }
}

/// Asks a run to stop: it ends after the step it is in, or abandons reading and staging within a second. Cloneable; one `stop` reaches all.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Stop {
    /// Asks all runs that hold a clone of this to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
    /// Returns when stopped.
    pub async fn stopped(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in self: it cannot be gone.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

/// What a run came to; also when it failed, as far as it got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Epochs committed in this run, those recovered included.
    pub epochs: u64,
    pub files: u64,
    /// Bytes read from the source.
    pub bytes: u64,
    pub rows: RowCounts,
    /// Rows that failed `on_fail: warn` checks.
    pub warned: u64,
    /// Values that the contract discarded or rescued.
    pub values: ValueCounts,
}

/// A run's end.
#[derive(Debug)]
pub struct Outcome {
    pub summary: Summary,
    /// `None`: caught up (or `max_epochs` reached). `ErrorKind::Interrupted`: stopped as asked.
    pub error: Option<Error>,
}

/// What a run would do next, without doing it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once, by `explain`")]
pub enum Explanation {
    /// It would read this.
    Plan { epoch: Epoch, discovery: Discovery },
    /// An earlier run left this to be read.
    Execute { planned: Planned },
    /// An earlier run left this to be made visible.
    Commit { planned: Planned, staged: Staged },
}

impl Engine {
    /// Drives `lane` until the source is caught up.
    pub async fn run(&self, job: &Job, lane: &Lane, options: &RunOptions, stop: &Stop) -> Outcome {
        let mut summary = Summary::default();
        let error = self.own(job, lane, options, stop, &mut summary).await.err();
        Outcome { summary, error }
    }

    /// Takes the lane, drives it, gives it back.
    async fn own(&self, job: &Job, lane: &Lane, options: &RunOptions, stop: &Stop, summary: &mut Summary) -> Result<()> {
        check(job)?;
        if stop.is_stopped() {
            return Err(interrupted());
        }
        let lease = self.ledger.acquire(&lane.id, &this_process(self.clock.now()), options.lease).await?;
        tracing::info!(lane = %lane.id, generation = lease.generation.0, "started");
        self.observer.event(&lane.id, Event::Started { generation: lease.generation.0 });
        let keeper = Keeper::start(self.ledger.clone(), self.clock.clone(), options.lease, lease);
        let halt = Halt::new(stop.clone(), keeper.lost());
        let (engine, job, lane) = (self.clone(), Arc::new(job.clone()), lane.clone());
        let mut drive = Drive { engine, job, lane, keeper, halt, summary: Summary::default(), prepared: None, epoch: None, begun: None, more: true };
        let done = drive.all_epochs(options).await;
        let Drive { keeper, lane, summary: reached, .. } = drive;
        *summary = reached;
        let lease = keeper.end();
        // One that died gives nothing back; what was lost is another's.
        let keeps = done.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::Crash | ErrorKind::Lease));
        if !keeps && let Err(e) = self.ledger.release(&lease).await {
            self.observer.event(&lane.id, Event::Problem(format!("the lease could not be given back, it will run out: {}", sentence(&e))));
        }
        done
    }

    /// What `run` would do next. Takes no lease and moves no state.
    ///
    /// # Errors
    /// Those of the ledger and of the source.
    pub async fn explain(&self, job: &Job, lane: &Lane) -> Result<Explanation> {
        Ok(match decide(self.ledger.read(&lane.id).await?) {
            Next::Plan { epoch, from } => {
                let history = self.ledger.history(&job.pipeline);
                Explanation::Plan { epoch, discovery: job.source.discover(&from, &job.limits, lane.shard, history.as_ref()).await? }
            }
            Next::Execute { planned } => Explanation::Execute { planned },
            Next::Commit { planned, staged } => Explanation::Commit { planned, staged },
        })
    }
}

/// The columns of what a run would read.
#[derive(Debug)]
pub struct Columns {
    /// As they come in, and as they go on.
    pub input: SchemaRef,
    pub output: SchemaRef,
    /// What landing them changes in rows that are there, a sentence each.
    pub changes: Vec<String>,
}

impl Engine {
    /// The columns that a run would find in these splits, by a sample of them, and what would become of them; `None` if nothing is known.
    ///
    /// # Errors
    /// Those of source, format, SQL and targets.
    pub async fn columns(&self, job: &Job, splits: &[Split]) -> Result<Option<Columns>> {
        let known = self.ledger.last_schema(&job.pipeline).await?.as_ref().map(schema_from_json).transpose()?;
        // Nothing stops it: whoever asks may drop it.
        let halt = Halt::new(Stop::default(), watch::channel(None).1);
        let workshop = Workshop::new(Arc::new(job.clone()), Arc::new(Silent), halt);
        let pinned = pin(&workshop, splits, known).await?;
        if pinned.schema.fields().is_empty() {
            return Ok(None);
        }
        let input = input_schema(&pinned.schema, &job.added_columns())?;
        let output = match workshop.plan(&input).await? {
            Some(plan) => plan.output_schema(),
            None => input.clone(),
        };
        let changes = futures::future::try_join_all(job.sinks.iter().map(|sink| sink.changes(&output))).await?;
        Ok(Some(Columns { input, output, changes: changes.concat() }))
    }
}

/// What no configuration may ask for.
fn check(job: &Job) -> Result<()> {
    assert!(!job.sinks.is_empty(), "a pipeline has at least one target");
    if job.settings.replaces_files && job.transform.as_ref().is_some_and(|t| t.across_rows()) {
        return Err(Error::config(
            "`on_overwrite: replace` and `scope: epoch` do not go together: a row made of several files belongs to none of them",
        )
        .hint("choose another `on_overwrite`, or do without `scope: epoch`"));
    }
    Ok(())
}

/// An error as one line, secrets hidden.
pub(crate) fn sentence(e: &Error) -> String {
    let mut text = e.to_string();
    for cause in e.causes() {
        text.push_str(": ");
        text.push_str(&cause);
    }
    redact(&text)
}

/// A lane being driven: what all steps of an epoch share.
pub(crate) struct Drive {
    pub engine: Engine,
    pub job: Arc<Job>,
    pub lane: Lane,
    pub keeper: Keeper,
    pub halt: Halt,
    pub summary: Summary,
    /// The columns that the targets were last made ready for.
    pub prepared: Option<SchemaRef>,
    /// The epoch in hand.
    epoch: Option<Epoch>,
    /// The epoch that this run began or has taken up.
    begun: Option<Epoch>,
    /// Whether the source may have more than was planned last.
    more: bool,
}

/// What an epoch came to.
enum Turn {
    Committed,
    /// The record of someone else stands.
    LookAgain,
    Done,
}

impl Drive {
    pub fn tell(&self, event: Event) {
        self.engine.observer.event(&self.lane.id, event);
    }

    /// Epoch after epoch, trying again what may pass.
    async fn all_epochs(&mut self, options: &RunOptions) -> Result<()> {
        let mut cleared = false;
        let mut failures = 0;
        loop {
            match self.turn(options, &mut cleared).await {
                Ok(Turn::Done) => return Ok(()),
                Ok(Turn::Committed) => failures = 0,
                Ok(Turn::LookAgain) => {}
                Err(error) => {
                    failures += 1;
                    if !may_pass(&error) || failures >= self.job.settings.tries.max(1) {
                        return Err(error);
                    }
                    let (pause, of) = (pause(&error, failures), self.job.settings.tries);
                    let pause_ms = pause.as_millis() as u64;
                    tracing::warn!(lane = %self.lane.id, error = %sentence(&error), attempt = failures, of, pause_ms, "failed; trying again");
                    self.tell(Event::Retrying { epoch: self.epoch, error: sentence(&error), attempt: failures, of, pause_ms });
                    self.halt
                        .unless(async {
                            tokio::time::sleep(pause).await;
                            Ok(())
                        })
                        .await?;
                }
            }
        }
    }

    /// Looks, decides, and takes one epoch as far as it goes.
    async fn turn(&mut self, options: &RunOptions, cleared: &mut bool) -> Result<Turn> {
        self.halt.check()?;
        let view = self.engine.ledger.read(&self.lane.id).await?;
        if !*cleared && view.committed.is_some() {
            // The last run may have died between its commit and clearing up.
            if let Some((planned, staged)) = self.engine.ledger.last_committed(&self.lane.id).await? {
                clear_up(self, &planned, &staged).await?;
            }
        }
        *cleared = true;
        let mut next = decide(view);
        loop {
            next = match next {
                Next::Plan { epoch, from } => {
                    self.epoch = Some(epoch);
                    if !self.more || options.max_epochs.is_some_and(|most| self.summary.epochs >= most) {
                        return Ok(Turn::Done);
                    }
                    match plan(self, epoch, from).await? {
                        Plan::CaughtUp => {
                            acknowledge_rest(self).await?;
                            return Ok(Turn::Done);
                        }
                        Plan::LookAgain => return Ok(Turn::LookAgain),
                        Plan::Planned { planned, more } => {
                            (self.begun, self.more) = (Some(epoch), more);
                            Next::Execute { planned }
                        }
                    }
                }
                Next::Execute { planned } => {
                    self.take_up(planned.epoch, "execute");
                    match execute(self, &planned).await? {
                        Some(staged) => Next::Commit { planned, staged },
                        None => return Ok(Turn::LookAgain),
                    }
                }
                Next::Commit { planned, staged } => {
                    self.take_up(planned.epoch, "commit");
                    commit(self, &planned, &staged).await?;
                    self.count(&planned, &staged);
                    clear_up(self, &planned, &staged).await?;
                    return Ok(Turn::Committed);
                }
            };
        }
    }

    /// Notes that an epoch is in hand; says so if an earlier run left it.
    fn take_up(&mut self, epoch: Epoch, step: &'static str) {
        self.epoch = Some(epoch);
        if self.begun != Some(epoch) {
            self.begun = Some(epoch);
            tracing::info!(lane = %self.lane.id, %epoch, step, "recovering");
            self.tell(Event::Recovering { epoch, step });
        }
    }

    fn count(&mut self, planned: &Planned, staged: &Staged) {
        let files = landed(planned, staged).count();
        // A file that changed has a new version, which is there to be found.
        self.more |= files < planned.splits.len();
        self.summary.epochs += 1;
        self.summary.files += files as u64;
        self.summary.bytes += staged.bytes();
        self.summary.rows = self.summary.rows.plus(&staged.rows());
        self.summary.values = self.summary.values.plus(&staged.values());
    }
}
