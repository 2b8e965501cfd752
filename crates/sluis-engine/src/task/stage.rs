//! The writers of one attempt: each batch goes to all targets; rejects to theirs. Writers are opened with the first rows for them, so that
//! an epoch without rows touches no target.
//!
//! Deliberately not here: which rows. Guarantees: batches in order; nothing is durable unless [`Out::End`] came.

use std::sync::Arc;

use sluis_core::{Attempt, Committable, Result, SinkWriter, WriteBatch, crash};
use tokio::sync::mpsc;

use super::rejects;
use crate::job::Job;

/// What writers are given.
pub enum Out {
    Rows(WriteBatch),
    Rejects(WriteBatch),
    /// All was given: make it durable.
    End,
}

/// Writes what comes. `None`: it stopped coming before the end, and was abandoned.
///
/// # Errors
/// Those of the targets.
pub async fn stage(job: Arc<Job>, attempt: Attempt, mut from: mpsc::Receiver<Out>) -> Result<Option<Vec<Committable>>> {
    let mut writers: Vec<Box<dyn SinkWriter>> = Vec::new();
    let mut rejects: Option<Box<dyn SinkWriter>> = None;
    while let Some(out) = from.recv().await {
        match out {
            Out::Rows(batch) => {
                if writers.is_empty() {
                    writers = futures::future::try_join_all(job.sinks.iter().map(|sink| sink.writer(&attempt))).await?;
                }
                futures::future::try_join_all(writers.iter_mut().map(|writer| writer.write(batch.clone()))).await?;
                crash::point("task.mid_write")?;
            }
            Out::Rejects(batch) => {
                let writer = match &mut rejects {
                    Some(writer) => writer,
                    None => {
                        job.rejects.prepare(&rejects::schema()).await?;
                        rejects.insert(job.rejects.writer(&attempt).await?)
                    }
                };
                writer.write(batch).await?;
                crash::point("task.mid_write")?;
            }
            Out::End => {
                let closing = writers.into_iter().chain(rejects).map(|writer| writer.close());
                let committables = futures::future::try_join_all(closing).await?;
                crash::point("task.after_close")?;
                return Ok(Some(committables.into_iter().flatten().collect()));
            }
        }
    }
    Ok(None)
}
