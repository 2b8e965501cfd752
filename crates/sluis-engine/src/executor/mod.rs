//! Where tasks run: they are plain data, so that threads, processes and other engines can run the same ones.
//!
//! Deliberately not here: what a task does (`task`), what becomes of its report.

use std::sync::Arc;

use async_trait::async_trait;
use sluis_core::Result;

use crate::task::{TaskReport, TaskSpec, Workshop, run_task};

/// Runs tasks.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Runs all of them; exactly one report per task, in the order of the tasks, whatever was retried. Dropped: the tasks are
    /// abandoned, and what they staged stays invisible.
    ///
    /// # Errors
    /// That of the first task that fails; the others are abandoned.
    async fn run(&self, tasks: Vec<TaskSpec>) -> Result<Vec<TaskReport>>;
}

/// Runs tasks in this process, side by side.
pub struct InProcess(pub Arc<Workshop>);

#[async_trait]
impl Executor for InProcess {
    async fn run(&self, tasks: Vec<TaskSpec>) -> Result<Vec<TaskReport>> {
        let running = tasks.iter().map(|task| run_task(&self.0, task));
        futures::future::try_join_all(running).await
    }
}
