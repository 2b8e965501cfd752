//! Makes staged files visible, once.
//!
//! Appending: each file has a name of its own that is in the `staged` record; it is renamed (or its upload completed) to that name, never
//! over another file. Replacing: first an entry of the index says which files each source will have; then the new files take their
//! places, one step each; then the files that are too many go. Every step may be repeated, by this process or a later one.
//! Deliberately not here: staging, sweeping.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluis_core::{CommitKey, Committable, Error, ErrorKind, Receipt, Result, StagedEpoch, crash};
use sluis_storage::{IfExists, Published, StagedFile};

use super::index::Entry;
use super::sink::Target;

/// Files published at once.
const AT_ONCE: usize = 8;
/// Names a receipt holds at most.
const NAMED: usize = 20;

/// What a committable of this sink holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub file: StagedFile,
    /// The source file, where its next version will take this file's place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// The first number that is free after this file.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub next: u64,
    /// Whether it takes the place of a file of the source's earlier version.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub over: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Handle {
    pub fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::internal("a handle cannot be written").source(e))
    }

    pub fn of(committable: &Committable) -> Result<Handle> {
        Handle::deserialize(&committable.handle)
            .map_err(|e| Error::new(ErrorKind::Ledger, format!("the ledger's handle of a file for `{}` cannot be read", committable.sink)).source(e))
    }
}

/// Publishes everything of one epoch.
pub async fn commit(target: &Target, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
    let handles = staged.committables.iter().map(Handle::of).collect::<Result<Vec<_>>>()?;
    crash::point("sink.before_publish")?;
    let sources = if target.replaces { by_source(&handles, staged.replaced) } else { BTreeMap::new() };
    let removed = note(target, key, &sources).await?;
    let before = publish(target, &handles).await?;
    stream::iter(&removed).map(Ok).try_for_each_concurrent(AT_ONCE, |path| target.storage.delete(path)).await?;
    for source in sources.keys() {
        target.sources().tidy(source).await?;
    }
    crash::point("sink.after_publish")?;
    let named = |paths: &mut dyn Iterator<Item = &String>| paths.take(NAMED).map(|p| target.storage.address(p)).collect::<Vec<_>>();
    let mut detail = json!({ "files": handles.len(), "names": named(&mut handles.iter().map(|h| &h.file.target)) });
    if !removed.is_empty() {
        detail["removed"] = json!({ "files": removed.len(), "names": named(&mut removed.iter()) });
    }
    Ok(Receipt { sink: target.name.clone(), detail, already: !handles.is_empty() && before == handles.len() })
}

/// The new files of each source, and the first number that is free after them.
fn by_source<'a>(handles: &'a [Handle], replaced: &'a [String]) -> BTreeMap<&'a str, (Vec<String>, u64)> {
    let mut sources: BTreeMap<&str, (Vec<String>, u64)> = replaced.iter().map(|path| (path.as_str(), (Vec::new(), 0))).collect();
    for handle in handles {
        let Some(source) = &handle.source else { continue };
        let (files, next) = sources.entry(source).or_default();
        files.push(handle.file.target.clone());
        *next = (*next).max(handle.next);
    }
    sources
}

/// Notes in the index what each source will have; gives what has to go.
async fn note(target: &Target, key: &CommitKey, sources: &BTreeMap<&str, (Vec<String>, u64)>) -> Result<Vec<String>> {
    let mut notes: Vec<BoxFuture<'_, Result<Entry>>> = Vec::with_capacity(sources.len());
    for (source, (files, next)) in sources {
        notes.push(async move { target.sources().note(key, source, files, *next).await }.boxed());
    }
    let noted: Vec<_> = stream::iter(notes).buffered(AT_ONCE).try_collect().await?;
    Ok(noted.into_iter().flat_map(|entry| entry.removed).collect())
}

/// Publishes the files; gives how many had been published before.
async fn publish(target: &Target, handles: &[Handle]) -> Result<usize> {
    let (mut before, mut left) = (0, handles.len());
    let mut steps: Vec<BoxFuture<'_, Result<Published>>> = Vec::with_capacity(handles.len());
    for handle in handles {
        steps.push(one(target, handle).boxed());
    }
    let mut published = stream::iter(steps).buffered(AT_ONCE);
    while let Some(done) = published.try_next().await? {
        before += usize::from(done == Published::Before);
        left -= 1;
        if left > 0 {
            crash::point("sink.mid_publish")?;
        }
    }
    Ok(before)
}

async fn one(target: &Target, handle: &Handle) -> Result<Published> {
    let if_exists = if handle.over { IfExists::Replace } else { IfExists::Fail };
    target.storage.publish(&handle.file, if_exists).await.map_err(|e| {
        let e = e.context("file", target.storage.address(&handle.file.target));
        if e.kind() != ErrorKind::Conflict {
            return e;
        }
        e.hint("the target was changed by someone else: put back what was taken, or move the foreign file away, then run again; the rows are staged")
    })
}
