//! A target in memory: keeps what is committed, in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use sluis_core::{Attempt, CommitKey, Committable, Guarantee, Receipt, Result, Sink, SinkName, SinkWriter, StagedEpoch, WriteBatch};

#[derive(Default)]
struct Kept {
    staged: HashMap<String, Vec<RecordBatch>>,
    committed: Vec<RecordBatch>,
}

/// The target.
pub struct Capture {
    name: SinkName,
    kept: Arc<Mutex<Kept>>,
}

impl Capture {
    pub fn new(name: SinkName) -> Self {
        Self { name, kept: Arc::default() }
    }
    /// What was committed.
    pub fn batches(&self) -> Vec<RecordBatch> {
        lock(&self.kept).committed.clone()
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(|e| e.into_inner())
}

#[async_trait]
impl Sink for Capture {
    fn name(&self) -> &SinkName {
        &self.name
    }
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce("in memory, for a test".into())
    }
    async fn prepare(&self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }
    async fn writer(&self, attempt: &Attempt) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer { name: self.name.clone(), id: attempt.id.clone(), kept: self.kept.clone(), batches: Vec::new() }))
    }
    async fn commit(&self, _: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
        let mut kept = lock(&self.kept);
        for committable in staged.committables {
            let batches = committable.handle.as_str().and_then(|id| kept.staged.remove(id)).unwrap_or_default();
            kept.committed.extend(batches);
        }
        Ok(Receipt { sink: self.name.clone(), detail: serde_json::Value::Null, already: false })
    }
    async fn sweep(&self, _: &CommitKey, _: &[Committable]) -> Result<()> {
        Ok(())
    }
    async fn probe(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

struct Writer {
    name: SinkName,
    id: String,
    kept: Arc<Mutex<Kept>>,
    batches: Vec<RecordBatch>,
}

#[async_trait]
impl SinkWriter for Writer {
    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        self.batches.push(batch.batch);
        Ok(())
    }
    async fn close(self: Box<Self>) -> Result<Vec<Committable>> {
        let rows = self.batches.iter().map(|b| b.num_rows() as u64).sum();
        lock(&self.kept).staged.insert(self.id.clone(), self.batches);
        Ok(vec![Committable { sink: self.name, rows, bytes: 0, handle: self.id.into() }])
    }
}
