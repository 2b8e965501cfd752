//! Stages rows as files: finds each row's folder, keeps a bounded number of files open, starts new ones when they are full or columns change.
//!
//! Deliberately not here: publishing. Guarantees: nothing is seen before the commit; the rows of the committables are the rows written;
//! a file has one set of columns; memory is bounded by [`Limits`] plus one batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use sluis_core::columns::{align, unite};
use sluis_core::{Attempt, Committable, Error, ErrorKind, Result, SinkWriter, WriteBatch};
use sluis_formats::archive::Archive;
use sluis_storage::blocking::blocking;

use super::commit::Handle;
use super::config::Mode;
use super::divide::{Portion, divide};
use super::layout::Fill;
use super::naming::{Names, below};
use super::output::{Label, Output};
use super::sink::Target;

/// The column that says which file a row is from, for `raw`.
pub const FILE: &str = "_file";
/// Files finished at once: uploads and syncs wait for each other's latency.
const AT_ONCE: usize = 8;

/// How much may be held open.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files open at once.
    pub files: usize,
    /// Bytes in memory, over all open files.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 200, bytes: 256 << 20 }
    }
}

/// The writer of one attempt.
pub struct FilesWriter {
    target: Arc<Target>,
    attempt: Attempt,
    /// The columns that files have now: those of all batches so far, united.
    columns: Option<SchemaRef>,
    /// By folder.
    open: BTreeMap<String, Output>,
    /// The source file whose rows are coming, where files are kept apart by it; for `raw` it may be a member of an archive.
    origin: Option<Arc<str>>,
    /// The source file as its versions count, for `raw`: of a member it is the archive.
    source: Option<Arc<str>>,
    names: HashMap<Arc<str>, Names>,
    /// For `raw`: source files so far, and targets.
    came: HashSet<Arc<str>>,
    taken: HashSet<String>,
    sequence: u64,
    done: Vec<Committable>,
    rows: u64,
}

impl FilesWriter {
    pub fn new(target: Arc<Target>, attempt: Attempt) -> Self {
        Self {
            target,
            attempt,
            columns: None,
            open: BTreeMap::new(),
            origin: None,
            source: None,
            names: HashMap::new(),
            came: HashSet::new(),
            taken: HashSet::new(),
            sequence: 0,
            done: Vec::new(),
            rows: 0,
        }
    }

    /// Rows of one source file, or (`Append`) of any.
    async fn take(&mut self, origin: Option<Arc<str>>, batch: RecordBatch) -> Result<()> {
        if self.origin != origin {
            // Source files come one after the other: those of the one before are complete.
            self.close_all().await?;
            self.origin = origin;
        }
        let target = self.target.clone();
        for portion in blocking(move || divide(&batch, &target.settings.partition_by)).await?? {
            self.put(portion).await?;
        }
        Ok(())
    }

    async fn put(&mut self, portion: Portion) -> Result<()> {
        let Portion { folder, rows } = portion;
        let rows = self.fit(rows).await?;
        let (roll_rows, roll_bytes) = match self.target.mode {
            // One source file is one file, however large.
            Mode::Raw => (u64::MAX, u64::MAX),
            _ => (self.target.settings.roll_rows.unwrap_or(u64::MAX), self.target.settings.roll_bytes),
        };
        let mut at = 0;
        while at < rows.num_rows() {
            let file = match self.open.remove(&folder) {
                Some(file) => file,
                None => self.begin(&folder, &rows.schema()).await?,
            };
            let count = usize::try_from(roll_rows - file.rows).unwrap_or(usize::MAX).min(rows.num_rows() - at);
            let file = file.write(rows.slice(at, count)).await?;
            at += count;
            if file.rows >= roll_rows || file.bytes() >= roll_bytes {
                self.end(vec![file]).await?;
            } else {
                self.open.insert(folder.clone(), file);
            }
        }
        self.shrink().await
    }

    /// `rows` with the columns that files have now; if they bring new ones, files begin anew.
    async fn fit(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let columns = match &self.columns {
            Some(columns) if *columns == rows.schema() => return Ok(rows),
            Some(columns) => unite(columns, rows.schema_ref()),
            None => rows.schema(),
        };
        if self.columns.as_ref() != Some(&columns) {
            self.close_all().await?;
            self.columns = Some(columns.clone());
        }
        blocking(move || align(&rows, &columns, sluis_formats::cast_column)).await?
    }

    async fn begin(&mut self, folder: &str, columns: &SchemaRef) -> Result<Output> {
        let encoder = self.target.settings.factory.encoder(columns)?;
        let label = self.label(folder).await?;
        let scope = self.target.scope(&self.attempt.lane.lane, self.attempt.epoch.0);
        let staged = self.target.storage.stage(&label.target, &scope, &format!("{}-{:05}", self.attempt.id, self.sequence)).await?;
        self.sequence += 1;
        Ok(Output::new(label, encoder, staged, self.target.gathers()))
    }

    fn name(&self, number: u64) -> String {
        self.target.template.render(&Fill {
            pipeline: self.attempt.lane.pipeline.as_str(),
            lane: &self.attempt.lane.lane,
            sink: self.target.name.as_str(),
            epoch: self.attempt.epoch.0,
            task: if self.target.mode == Mode::Replace && self.origin.is_some() { 0 } else { self.attempt.task },
            number,
            origin: self.origin.as_deref(),
            ext: &self.target.settings.factory.extension(),
        })
    }

    async fn label(&mut self, folder: &str) -> Result<Label> {
        let source = self.source.as_ref().or(self.origin.as_ref()).filter(|_| self.target.replaces).map(|o| o.to_string());
        match (&self.origin.clone(), self.target.mode) {
            (Some(origin), Mode::Replace) => {
                let mut names = self.names_of(origin).await?;
                let (target, over) = names.next(folder, |n| self.name(n));
                let next = names.next;
                self.names.insert(origin.clone(), names);
                Ok(Label { target, source, next, over })
            }
            (Some(origin), Mode::Raw) => {
                let target = below(folder, &self.name(self.sequence));
                let over = self.raw_over(origin, source.as_deref(), &target).await?;
                Ok(Label { target, source, next: 0, over })
            }
            _ => Ok(Label { target: below(folder, &self.name(self.sequence)), source, next: 0, over: false }),
        }
    }

    async fn names_of(&mut self, origin: &Arc<str>) -> Result<Names> {
        if let Some(names) = self.names.remove(origin) {
            return Ok(names);
        }
        let before = self.target.sources().current(origin).await?;
        Ok(Names::new(before, |n| self.name(n)))
    }

    /// Whether an earlier version of the same source is at `target`; what else is there is in the way, and better said now than at the commit.
    async fn raw_over(&mut self, origin: &Arc<str>, source: Option<&str>, target: &str) -> Result<bool> {
        let address = self.target.storage.address(target);
        if !self.taken.insert(target.to_owned()) {
            return Err(Error::new(ErrorKind::Conflict, format!("two source files would be {address}")).context("file", origin).hint(
                "give them different names, as in `name: \"{source}-{name}\"`, or folders, with `partition_by` and a column that `match` captures",
            ));
        }
        if let Some(source) = source
            && self.target.sources().current(source).await?.is_some_and(|e| e.files.iter().any(|f| f == target))
        {
            return Ok(true);
        }
        if self.target.storage.head(target).await?.is_some() {
            return Err(Error::new(ErrorKind::Conflict, format!("{address} exists")).context("file", origin).hint(
                "another source file, or an earlier version of this one, has that name: choose names that differ, as in `name: \"{epoch}-{name}\"`",
            ));
        }
        Ok(false)
    }

    /// Ends files; their order is kept.
    async fn end(&mut self, files: Vec<Output>) -> Result<()> {
        let ended: Vec<_> = stream::iter(files).map(Output::finish).buffered(AT_ONCE).try_collect().await?;
        for (label, rows, file) in ended {
            let bytes = file.size;
            let handle = Handle { file, source: label.source, next: label.next, over: label.over };
            self.done.push(Committable { sink: self.target.name.clone(), rows, bytes, handle: handle.to_value()? });
        }
        Ok(())
    }

    async fn close_all(&mut self) -> Result<()> {
        let files = std::mem::take(&mut self.open).into_values().collect();
        self.end(files).await
    }

    /// Ends the largest files until what is open is within the limits.
    async fn shrink(&mut self) -> Result<()> {
        let limits = self.target.limits;
        let mut held: u64 = self.open.values().map(Output::held).sum();
        while self.open.len() > 1 && (self.open.len() > limits.files || held > limits.bytes) {
            let Some(largest) = self.open.iter().max_by_key(|(_, f)| f.bytes()).map(|(folder, _)| folder.clone()) else { return Ok(()) };
            let Some(file) = self.open.remove(&largest) else { return Ok(()) };
            tracing::debug!(file = file.label.target, open = self.open.len(), held, "ended a file early to bound memory");
            held -= file.held();
            self.end(vec![file]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for FilesWriter {
    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        if batch.batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.batch.num_rows() as u64;
        match self.target.mode {
            Mode::Append => self.take(None, batch.batch).await,
            Mode::Replace => self.take(batch.origin, batch.batch).await,
            Mode::Raw => {
                let source = batch.origin.clone();
                for (origin, rows) in by_file(batch)? {
                    if self.origin.as_ref() != Some(&origin) {
                        if !self.came.insert(origin.clone()) {
                            return Err(Error::internal(format!("the pieces of {origin} did not come one after the other")));
                        }
                        // What is open is of the source before.
                        self.close_all().await?;
                        self.source.clone_from(&source);
                    }
                    self.take(Some(origin), rows).await?;
                }
                Ok(())
            }
        }
    }

    async fn close(mut self: Box<Self>) -> Result<Vec<Committable>> {
        self.close_all().await?;
        let staged: u64 = self.done.iter().map(|c| c.rows).sum();
        assert_eq!(staged, self.rows, "every row written is staged");
        Ok(self.done)
    }
}

/// For `raw`: the rows of each source file, or member of one, by `_file` (which is left out) or else by the batch's origin.
fn by_file(batch: WriteBatch) -> Result<Vec<(Arc<str>, RecordBatch)>> {
    let WriteBatch { mut batch, origin } = batch;
    let Some((at, _)) = batch.schema().column_with_name(FILE) else {
        let origin = origin.ok_or_else(|| {
            Error::config("`raw` keeps source files apart, and these rows do not say which file they are from")
                .hint("add `metadata: [file]` to the source, and keep the column `_file` in `select`")
        })?;
        if Archive::by_name(&origin).is_some() {
            return Err(Error::config("`raw` keeps files apart, and rows of an archive do not say which of its members they are from")
                .context("file", &origin)
                .hint("add `metadata: [file]` to the source, and keep the column `_file` in `select`"));
        }
        return Ok(vec![(origin, batch)]);
    };
    let files = batch.remove_column(at);
    let files = match files.data_type() {
        DataType::Utf8 => files,
        _ => sluis_formats::cast_column(&files, &DataType::Utf8)?,
    };
    let files = files.as_string::<i32>();
    let mut out: Vec<(Arc<str>, RecordBatch)> = Vec::new();
    let mut start = 0;
    for row in 1..=files.len() {
        if row == files.len() || files.value(row) != files.value(start) {
            out.push((files.value(start).into(), batch.slice(start, row - start)));
            start = row;
        }
    }
    Ok(out)
}
