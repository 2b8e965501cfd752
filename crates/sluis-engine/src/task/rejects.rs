//! Rejected rows as a batch for the rejects' target.
//!
//! Guarantees: the columns are those of [`schema`]; what a replay makes is the same; memory is bounded by [`ROWS`] and [`BYTES`].

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sluis_core::reject::RAW_LIMIT;
use sluis_core::{Error, RejectReason, Result};

use super::TaskSpec;

/// Rejects written at once, at most.
const ROWS: usize = 16 * 1024;
/// And about this many bytes of them.
const BYTES: usize = 4 << 20;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pipeline", false),
        text("lane", false),
        Field::new("epoch", DataType::Int64, false),
        text("file", false),
        Field::new("line", DataType::Int64, false),
        text("column", true),
        text("reason", false),
        text("message", false),
        Field::new("raw", DataType::Binary, true),
        Field::new("rejected_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
});

/// The columns of rejects.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Gathers rejects.
#[derive(Default)]
pub struct Rejects {
    file: StringBuilder,
    line: Int64Builder,
    column: StringBuilder,
    reason: StringBuilder,
    message: StringBuilder,
    raw: BinaryBuilder,
    rows: usize,
    bytes: usize,
}

impl Rejects {
    /// `raw`: the row as it stood, `None` where the format has no row text.
    pub fn push(&mut self, file: &str, line: u64, column: Option<&str>, reason: RejectReason, message: &str, raw: Option<&[u8]>) {
        let raw = raw.map(|raw| &raw[..raw.len().min(RAW_LIMIT)]);
        self.file.append_value(file);
        self.line.append_value(i64::try_from(line).unwrap_or(i64::MAX));
        self.column.append_option(column);
        self.reason.append_value(reason.code());
        self.message.append_value(message);
        self.raw.append_option(raw);
        self.rows += 1;
        self.bytes += file.len() + message.len() + raw.map_or(0, <[u8]>::len);
    }

    /// Whether it is time to take them away.
    pub fn full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    /// Empty, with room for what is there.
    fn of_this_size(&self) -> Rejects {
        let text = |of: &StringBuilder| StringBuilder::with_capacity(self.rows, of.values_slice().len());
        Rejects {
            file: text(&self.file),
            line: Int64Builder::with_capacity(self.rows),
            column: text(&self.column),
            reason: text(&self.reason),
            message: text(&self.message),
            raw: BinaryBuilder::with_capacity(self.rows, self.raw.values_slice().len()),
            rows: 0,
            bytes: 0,
        }
    }

    /// What was gathered, if anything.
    pub fn take(&mut self, spec: &TaskSpec) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        // As many again are to be expected: growing step by step cost a tenth of the time of a file of bad rows.
        let next = if self.full() { self.of_this_size() } else { Rejects::default() };
        let Rejects { mut file, mut line, mut column, mut reason, mut message, mut raw, rows, .. } = std::mem::replace(self, next);
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
        let at = TimestampMicrosecondArray::from_value(spec.planned_at.timestamp_micros(), rows).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            same(spec.lane.pipeline.as_str()),
            same(&spec.lane.lane),
            Arc::new(Int64Array::from_value(spec.epoch.0 as i64, rows)),
            Arc::new(file.finish()),
            Arc::new(line.finish()),
            Arc::new(column.finish()),
            Arc::new(reason.finish()),
            Arc::new(message.finish()),
            Arc::new(raw.finish()),
            Arc::new(at),
        ];
        RecordBatch::try_new(schema(), columns).map(Some).map_err(|e| Error::internal("rejects are no batch").source(e))
    }
}
