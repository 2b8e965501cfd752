//! A task: a group of splits, read, transformed and staged; plain data in, plain data out.
//!
//! | room | what |
//! |---|---|
//! | `spec` | what goes in and what comes out |
//! | `read` | splits opened and decoded ahead, delivered in order, verified |
//! | `columns` | the columns of the epoch: pinned ones, constants, and what files bring beyond |
//! | `contract` | columns and values that the contract keeps out of a batch |
//! | `seen` | which files had which columns |
//! | `coalesce` | small batches become large ones |
//! | `flow` | the course of rows through the task, and their counts |
//! | `rejects` | rejected rows as a batch |
//! | `stage` | the writers |
//! | `progress` | how much was told as read |
//! | `apart` | work on another thread, or here |
//!
//! Deliberately not here: which splits, what becomes of the report. Guarantees: file order, whatever the number of threads; bounded memory;
//! rows of a file that changed or is damaged are not in what was staged; what an abandoned attempt staged stays invisible.

mod apart;
mod coalesce;
mod columns;
mod contract;
mod flow;
mod progress;
mod read;
mod rejects;
mod seen;
mod spec;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use sluis_core::columns::schema_from_json;
use sluis_core::{Attempt, Epoch, Error, LaneId, Outcome, Result, TransformPlan};

use crate::events::{Event, Observer};
use crate::halt::Halt;
use crate::job::Job;

pub use columns::input_schema;
pub use seen::{Seen, SeenValues};
pub use spec::{TaskReport, TaskSpec, Wider};

use flow::Flow;
use progress::Told;

/// What tasks of one epoch share in one process.
pub struct Workshop {
    pub(crate) job: Arc<Job>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) halt: Halt,
    /// Plans of this epoch, by input schema.
    plans: tokio::sync::Mutex<Vec<(SchemaRef, Arc<dyn TransformPlan>)>>,
    /// Of attempts that came to a report.
    told: Told,
}

impl Workshop {
    pub(crate) fn new(job: Arc<Job>, observer: Arc<dyn Observer>, halt: Halt) -> Self {
        Self { job, observer, halt, plans: tokio::sync::Mutex::default(), told: Told::default() }
    }

    /// All tasks of the epoch begin again.
    pub(crate) fn read_again(&self, lane: &LaneId, epoch: Epoch) {
        self.tell_again(&self.told, lane, epoch);
    }

    /// What was told is read again.
    fn tell_again(&self, told: &Told, lane: &LaneId, epoch: Epoch) {
        let (files, bytes, rows) = told.take();
        if files + bytes + rows > 0 {
            self.observer.event(lane, Event::Reread { epoch, files, bytes, rows });
        }
    }

    /// The plan for batches of `input`; `None` if rows go on as they are.
    ///
    /// # Errors
    /// `ErrorKind::Config`: the SQL does not fit the columns.
    pub async fn plan(&self, input: &SchemaRef) -> Result<Option<Arc<dyn TransformPlan>>> {
        let Some(transform) = &self.job.transform else { return Ok(None) };
        let mut plans = self.plans.lock().await;
        if let Some((_, plan)) = plans.iter().find(|(schema, _)| schema == input) {
            return Ok(Some(plan.clone()));
        }
        let plan = transform.plan(input).await?;
        plans.push((input.clone(), plan.clone()));
        Ok(Some(plan))
    }
}

/// Why an attempt ended early.
pub(crate) enum Fault {
    Error(Error),
    /// What is known now changes what should have been staged: begin again with it.
    Again(Lesson),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Fault::Error(e)
    }
}

/// What an attempt found out too late.
pub(crate) enum Lesson {
    /// A split ended so after some of its rows had been staged.
    Ended(usize, Outcome),
    /// Files have these columns; one run over all rows needs them from the start.
    Columns(SchemaRef),
    /// Values are not of their columns' types, and these would hold them. The whole epoch begins again.
    Types(Learned),
}

/// By column: the type, and the first split that needs it.
pub(crate) type Learned = BTreeMap<String, (DataType, usize)>;

/// What earlier attempts of the task found out.
pub(crate) struct Known {
    /// How splits end, by number within the task.
    pub ends: BTreeMap<usize, Outcome>,
    /// The columns of files.
    pub columns: SchemaRef,
}

/// Runs a task to its report, in as many attempts as its files make necessary.
///
/// # Errors
/// Those of the parts. Nothing is visible then.
pub async fn run_task(workshop: &Arc<Workshop>, spec: &TaskSpec) -> Result<TaskReport> {
    let mut known = Known { ends: BTreeMap::new(), columns: schema_from_json(&spec.schema)? };
    let splits = Arc::new(spec.splits.clone());
    loop {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let attempt = Attempt { lane: spec.lane.clone(), epoch: spec.epoch, task: spec.task, id };
        let told = Arc::new(Told::default());
        let run = Flow::run(workshop, spec, &splits, attempt, &known, told.clone()).await;
        match &run {
            // With a wider type all tasks begin again: the epoch tells it.
            Ok(_) | Err(Fault::Again(Lesson::Types(_))) => workshop.told.add(told.take()),
            Err(Fault::Again(_)) => workshop.tell_again(&told, &spec.lane, spec.epoch),
            Err(Fault::Error(_)) => {}
        }
        match run {
            Ok(report) => return Ok(report),
            Err(Fault::Error(e)) => return Err(e),
            Err(Fault::Again(Lesson::Types(learned))) => return Ok(TaskReport::wider(spec.task, learned)),
            Err(Fault::Again(Lesson::Columns(columns))) => {
                assert!(columns != known.columns, "an attempt is repeated only for something new");
                known.columns = columns;
            }
            Err(Fault::Again(Lesson::Ended(split, outcome))) => {
                tracing::info!(lane = %spec.lane, epoch = %spec.epoch, file = spec.splits[split].name(), ?outcome, "begins again without this file");
                let before = known.ends.insert(split, outcome);
                assert!(before.is_none(), "a split that ended is not read again");
            }
        }
    }
}
