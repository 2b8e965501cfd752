//! One file being written: an encoder and the staged file its bytes go to.
//!
//! Deliberately not here: names, which rows come. Guarantees: encoding runs away from the async threads; memory is what
//! [`Output::held`] says, about.

use arrow_array::RecordBatch;
use bytes::Bytes;
use sluis_core::{Encoder, Result};
use sluis_storage::blocking::blocking;
use sluis_storage::{StagedFile, StagedWriter};

/// What a file is known by, beside its bytes.
#[derive(Debug, Clone)]
pub struct Label {
    pub target: String,
    /// The source file, where each output is of one.
    pub source: Option<String>,
    /// The first number beyond those this file and the ones before it took.
    pub next: u64,
    /// Whether it takes the place of a file of its source's earlier version.
    pub over: bool,
}

/// A file being written.
pub struct Output {
    pub label: Label,
    encoder: Box<dyn Encoder>,
    staged: Box<dyn StagedWriter>,
    pub rows: u64,
    sent: u64,
    buffered: u64,
    /// What the storage may hold back of one file.
    gathers: u64,
}

impl Output {
    pub fn new(label: Label, encoder: Box<dyn Encoder>, staged: Box<dyn StagedWriter>, gathers: u64) -> Self {
        Self { label, encoder, staged, rows: 0, sent: 0, buffered: 0, gathers }
    }

    /// Bytes it has in memory, about.
    pub fn held(&self) -> u64 {
        self.buffered + self.sent.min(self.gathers)
    }

    /// Bytes it would have if it ended now, about.
    pub fn bytes(&self) -> u64 {
        self.sent + self.buffered
    }

    pub async fn write(mut self, rows: RecordBatch) -> Result<Self> {
        let count = rows.num_rows() as u64;
        let mut encoder = self.encoder;
        let (encoder, out) = blocking(move || {
            let mut out = Vec::new();
            encoder.write(&rows, &mut out).map(|()| (encoder, out))
        })
        .await?
        .map_err(|e| e.context("file", &self.label.target))?;
        self.rows += count;
        self.buffered = encoder.buffered_bytes() as u64;
        self.encoder = encoder;
        if !out.is_empty() {
            self.sent += out.len() as u64;
            self.staged.write(Bytes::from(out)).await?;
        }
        Ok(self)
    }

    /// Ends the file; durable when it returns.
    pub async fn finish(self) -> Result<(Label, u64, StagedFile)> {
        let Output { label, encoder, mut staged, rows, .. } = self;
        let out = blocking(move || {
            let mut out = Vec::new();
            encoder.finish(&mut out).map(|()| out)
        })
        .await?
        .map_err(|e| e.context("file", &label.target))?;
        if !out.is_empty() {
            staged.write(Bytes::from(out)).await?;
        }
        Ok((label, rows, staged.finish().await?))
    }
}
