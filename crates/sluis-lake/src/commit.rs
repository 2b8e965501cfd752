//! Makes an epoch visible: one snapshot with the data, the commit key and the statistics, by a swap of the catalog's pointer.
//!
//! The loop: load the table; is the key in it? then done. Else make manifests, manifest list and metadata, write them, swap. Somebody else
//! was faster: from the start, with a fresh look at the key; nothing is applied blindly.
//! Deliberately not here: which files leave (`remove`, `upsert`), columns that change their types (`retype`), old snapshots (`expire`).
//! Guarantees: at most one snapshot per key ever becomes current; what says that it was committed before is proven by the files it holds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use iceberg::spec::{
    DataFile, MAIN_BRANCH, ManifestContentType, ManifestFile, MetadataLog, Operation, Snapshot, SnapshotRef, Summary, TableMetadata,
    TableMetadataBuilder,
};
use serde_json::json;
use sluis_core::{CommitKey, Error, ErrorKind, Receipt, Result, StagedEpoch, crash};
use uuid::Uuid;

use crate::facts::Facts;
use crate::ids::Owner;
use crate::lake::{Lake, Version};
use crate::manifest::{self, Item, Made};
use crate::remove::{self, Gone, Removed};
use crate::retype::{self, Change};
use crate::schema::table_columns;
use crate::table::{Mode, TRIES, Table, build, busy, changed, deletes_old_metadata, encode, metadata_location, next_number};
use crate::work::hash;
use crate::{expire, upsert};

/// In a snapshot's summary (and the beginning of a table property): a hash of what was staged for its epoch.
const STAGED: &str = "sluis.staged";
/// So many manifests of about one size are made one.
const MERGE: usize = 32;
/// Files written at once.
const AT_ONCE: usize = 8;

/// What table properties that have a lane's last epoch begin with.
pub(crate) const PROPERTY: &str = "sluis.commit.";

/// The table property (and summary key) that has a lane's last epoch.
pub(crate) fn property(key: &CommitKey) -> String {
    format!("{PROPERTY}{}.{}.{}", key.lane.pipeline, key.lane.lane, key.sink)
}

/// The table property that has the hash of what was staged for a lane's last epoch: the snapshot that says it may expire.
fn staged_property(key: &CommitKey) -> String {
    format!("{STAGED}.{}.{}.{}", key.lane.pipeline, key.lane.lane, key.sink)
}

/// The snapshots from the current one back.
pub(crate) fn ancestors(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    std::iter::successors(metadata.current_snapshot(), |s| s.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id)))
}

/// The epoch that a snapshot committed, for this lane and target.
pub(crate) fn epoch_in(snapshot: &Snapshot, property: &str) -> Option<u64> {
    snapshot.summary().additional_properties.get(property).and_then(|e| e.parse().ok())
}

/// What was staged, as a text that tells it from anything else staged for the epoch.
fn fingerprint(files: &[Facts], replaced: &[String]) -> String {
    let mut paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    paths.sort_unstable();
    format!("{:032x}", hash(paths.into_iter().chain([""]).chain(replaced.iter().map(String::as_str))))
}

/// What a try of a commit does.
pub(crate) struct Plan {
    /// With the id of the partition spec of each.
    pub added: Vec<(i32, DataFile)>,
    pub gone: Gone,
    /// Data files written for it; removed if it fails.
    pub written: Vec<String>,
}

/// One try, made in memory.
struct Try {
    next: Version,
    made: Vec<Made>,
    expired_logs: Vec<MetadataLog>,
    expired: Vec<SnapshotRef>,
    snapshot: i64,
    removed: Removed,
}

pub async fn commit(table: &Table, key: &CommitKey, staged: StagedEpoch<'_>) -> Result<Receipt> {
    let mut files = staged.committables.iter().map(Facts::of).collect::<Result<Vec<_>>>()?;
    files.sort_by_key(|f| f.order);
    let replaced: &[String] = if table.settings.replaces { staged.replaced } else { &[] };
    let rows: u64 = files.iter().map(|f| f.rows).sum();
    let receipt = |detail, already| Receipt { sink: table.sink.clone(), detail, already };
    if files.is_empty() && replaced.is_empty() {
        return Ok(receipt(json!({ "table": table.name().to_string(), "rows": 0 }), false));
    }
    let print = fingerprint(&files, replaced);
    // Columns that hold what a narrower type cannot hold exactly.
    let mut as_text = BTreeSet::new();
    for _ in 0..TRIES {
        let Some(version) = table.lake.load(table.name()).await? else {
            if files.is_empty() {
                return Ok(receipt(json!({ "table": table.name().to_string(), "rows": 0 }), false));
            }
            return Err(changed(table.name(), "is gone; an epoch is staged for it"));
        };
        version.writable()?;
        if files.iter().any(|f| f.table != version.metadata.uuid().to_string()) {
            return Err(changed(table.name(), "was dropped and made anew since the epoch was staged for it"));
        }
        if let Some(done) = done(table, &version, key, &files, &print).await? {
            return Ok(receipt(json!({ "table": table.name().to_string(), "snapshot": done, "rows": rows }), true));
        }
        crash::point("sink.before_publish")?;
        // What an earlier try left stays to be looked for.
        let sure = table.unsure().insert(key.lane.lane.clone());
        let change = retype::settle(table, &version, &files, &as_text)?;
        let at = change.as_ref().map_or(version.as_ref(), |c| &c.version);
        let plan = match plan(table, at, change.as_ref(), key, &files, replaced).await {
            Ok(plan) => plan,
            Err(e) => match change.and_then(|c| c.too_narrow(&e)).filter(|column| as_text.insert(column.clone())) {
                Some(_) => continue,
                None => return Err(e),
            },
        };
        let written = plan.written.clone();
        let attempt = make(table, at, key, plan, &print).await?;
        let mut writes: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(attempt.made.len());
        for m in &attempt.made {
            writes.push(table.lake.write(&m.location, m.bytes.clone()).boxed());
        }
        stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        crash::point("sink.mid_publish")?;
        if table.lake.catalog().swap(table.name(), &version.location, &attempt.next.location).await? {
            crash::point("sink.after_publish")?;
            let Try { next, expired_logs, expired, snapshot, removed, .. } = attempt;
            let next = Arc::new(next);
            table.lake.remember(&next);
            let forgotten = forget_metadata(&table.lake, &next.metadata, &expired_logs).await;
            let forgotten = expire::forget(&table.lake, &version.metadata, &next, &expired).await && forgotten;
            if sure && forgotten {
                table.unsure().remove(&key.lane.lane);
            }
            let mut detail = json!({ "table": table.name().to_string(), "snapshot": snapshot, "rows": rows, "files": files.len() });
            if removed.files > 0 {
                detail["removed"] = json!({ "rows": removed.rows, "files": removed.files });
            }
            if let Some(retyped) = change.and_then(|c| c.told()) {
                detail["retyped"] = retyped;
            }
            return Ok(receipt(detail, false));
        }
        tracing::debug!(table = %table.name(), "somebody else committed first; again");
        for location in attempt.made.iter().map(|m| &m.location).chain(&written) {
            table.lake.storage().delete(&table.lake.path(location)?).await?;
        }
        if sure {
            table.unsure().remove(&key.lane.lane);
        }
    }
    Err(busy(table.name()))
}

/// The snapshot that committed the key before, if it was; `Some(None)` if it was and the snapshot is gone.
async fn done(table: &Table, version: &Version, key: &CommitKey, files: &[Facts], print: &str) -> Result<Option<Option<i64>>> {
    let metadata = &version.metadata;
    let property = property(key);
    let last = metadata.properties().get(&property).and_then(|e| e.parse::<u64>().ok());
    let last = last.max(ancestors(metadata).find_map(|s| epoch_in(s, &property)));
    if last.is_none_or(|last| last < key.epoch.0) {
        return Ok(None);
    }
    if let Some(snapshot) = ancestors(metadata).find(|s| epoch_in(s, &property) == Some(key.epoch.0)) {
        if snapshot.summary().additional_properties.get(STAGED).is_some_and(|p| p == print) {
            return Ok(Some(Some(snapshot.snapshot_id())));
        }
        return Err(another(table, key));
    }
    let same = || metadata.properties().get(&staged_property(key)).is_some_and(|p| p == print);
    if files.is_empty() || (last == Some(key.epoch.0) && same()) || any_live(table, version, files).await? {
        return Ok(Some(None));
    }
    Err(another(table, key))
}

async fn any_live(table: &Table, version: &Version, files: &[Facts]) -> Result<bool> {
    for m in manifest::current(&table.lake, version).await? {
        let entries = manifest::entries(&table.lake, &version.metadata, m).await?;
        if entries.iter().any(|e| e.live() && files.iter().any(|f| f.path == e.file.file_path())) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn another(table: &Table, key: &CommitKey) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("table `{}` says that epoch {} of `{}` was committed before, and it does not hold what is staged for it", table.name(), key.epoch, key.lane),
    )
    .hint("another ledger has driven a pipeline of this name into the table (was the state folder lost or copied?): restore that ledger, give the pipeline another name, or write to a new table")
}

/// What a try adds and removes. `version`: with the columns as they are to be, if there is a `change`.
async fn plan(table: &Table, version: &Version, change: Option<&Change>, key: &CommitKey, files: &[Facts], replaced: &[String]) -> Result<Plan> {
    let metadata = &version.metadata;
    let mut added = Vec::with_capacity(files.len());
    for f in files {
        let Some(spec) = metadata.partition_spec_by_id(f.spec) else {
            return Err(changed(table.name(), "has lost the partition spec that an epoch was staged by"));
        };
        added.push((f.spec, f.data_file(spec, metadata.current_schema())?));
    }
    if table.settings.mode != Mode::Append || !replaced.is_empty() || change.is_some() {
        let manifests = manifest::current(&table.lake, version).await?;
        if manifests.iter().any(manifest::lists_deletes) {
            return Err(Error::new(ErrorKind::Conflict, format!("table `{}` has delete files, which another engine wrote", table.name()))
                .hint("let that engine compact the table (rewrite its data files), or write with `mode: append`"));
        }
    }
    let plan = match &table.settings.mode {
        Mode::Upsert { key: columns } => {
            let reading = change.map_or_else(|| table_columns(metadata.current_schema()), Change::reading);
            upsert::plan(table, version, key, columns, files, added, reading).await?
        }
        mode => {
            let partitions = if *mode == Mode::Replace { remove::partitions(table, version, files).await? } else { Gone::nothing() };
            let gone = partitions.or(remove::origins(table, version, replaced)?);
            Plan { added, gone, written: Vec::new() }
        }
    };
    match change {
        Some(change) => change.apply(table, key, plan).await,
        None => Ok(plan),
    }
}

/// Makes the files of a try.
async fn make(table: &Table, version: &Version, key: &CommitKey, plan: Plan, print: &str) -> Result<Try> {
    let metadata = &version.metadata;
    let id = Owner::of(key, metadata.uuid()).id(key.epoch.0);
    let snapshot = fresh_snapshot_id(metadata);
    let mut names = Names { folder: format!("{}/metadata", metadata.location()), id, number: 0 };
    let mut made = Vec::new();
    let before = manifest::current(&table.lake, version).await?;
    let outcome = remove::apply(table, version, before, &plan.gone, snapshot, &mut names, &mut made).await?;
    let (mut manifests, removed) = (outcome.manifests, outcome.removed);
    let (count, rows, bytes) = plan.added.iter().fold((0_u64, 0, 0), |(c, r, b), (_, f)| (c + 1, r + f.record_count(), b + f.file_size_in_bytes()));
    let merged = merge(table, version, manifests, snapshot, &mut names, &mut made).await?;
    manifests = add(version, plan.added, snapshot, &mut names, &mut made).await?;
    manifests.extend(merged);
    let sequence = metadata.next_sequence_number();
    let parent = metadata.current_snapshot_id();
    let list = format!("{}/snap-{snapshot}-1-{id}.avro", names.folder);
    let (list_file, manifests) = manifest::make_list(list.clone(), snapshot, parent, sequence, manifests).await?;
    made.push(list_file);
    let property = property(key);
    let mut summary = totals(metadata, (count, rows, bytes), &removed);
    summary.insert(property.clone(), key.epoch.0.to_string());
    summary.insert(STAGED.to_owned(), print.to_owned());
    let operation = match (count, removed.files) {
        (_, 0) => Operation::Append,
        (0, _) => Operation::Delete,
        _ => Operation::Overwrite,
    };
    let built = Snapshot::builder()
        .with_snapshot_id(snapshot)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        // A clock that was set back must not stop the table.
        .with_timestamp_ms(table.now().timestamp_millis().max(metadata.last_updated_ms()))
        .with_manifest_list(list)
        .with_summary(Summary { operation, additional_properties: summary })
        .with_schema_id(metadata.current_schema_id())
        .build();
    let expired = expire::choose(metadata);
    let expired_ids: Vec<i64> = expired.iter().map(|s| s.snapshot_id()).collect();
    let mut properties = HashMap::from([(property, key.epoch.0.to_string()), (staged_property(key), print.to_owned())]);
    if let Some(swept) = table.swept().get(&key.lane.lane) {
        properties.insert(crate::sweep::property(key), swept.to_string());
    }
    let builder = TableMetadataBuilder::new_from_metadata(metadata.as_ref().clone(), Some(version.location.clone()))
        .set_branch_snapshot(built, MAIN_BRANCH)
        .and_then(|b| b.remove_snapshots(&expired_ids).set_properties(properties))
        .map_err(crate::work::broken("a snapshot cannot be added to the table"))?;
    let result = build(builder)?;
    let location = metadata_location(metadata.location(), next_number(&version.location), &id);
    made.push(Made { location: location.clone(), bytes: encode(&result.metadata)?.into() });
    let next = Version { name: version.name.clone(), location, metadata: Arc::new(result.metadata), manifests: manifests.into() };
    Ok(Try { next, made, expired_logs: result.expired_metadata_logs, expired, snapshot, removed })
}

/// Addresses for the manifests of a try.
pub(crate) struct Names {
    folder: String,
    id: Uuid,
    number: u32,
}

impl Names {
    pub fn next(&mut self) -> String {
        self.number += 1;
        format!("{}/{}-m{}.avro", self.folder, self.id, self.number - 1)
    }
}

fn fresh_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = ((high ^ low) >> 1) as i64;
        if id != 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// The manifests with the new files, one for each partition spec.
async fn add(version: &Version, added: Vec<(i32, DataFile)>, snapshot: i64, names: &mut Names, made: &mut Vec<Made>) -> Result<Vec<ManifestFile>> {
    let mut by_spec: Vec<(i32, Vec<Item>)> = Vec::new();
    for (spec, file) in added {
        match by_spec.iter_mut().find(|(id, _)| *id == spec) {
            Some((_, items)) => items.push(Item::Added(file)),
            None => by_spec.push((spec, vec![Item::Added(file)])),
        }
    }
    let mut manifests = Vec::new();
    for (spec, items) in by_spec {
        let Some(spec) = version.metadata.partition_spec_by_id(spec) else { return Err(Error::internal("a data file's partition spec is gone")) };
        let (file, manifest) = manifest::make(names.next(), snapshot, version.metadata.current_schema(), spec, items).await?;
        made.push(file);
        manifests.push(manifest);
    }
    Ok(manifests)
}

/// Makes one of many small manifests of about one size, so that thousands of epochs stay fast: each file's entry is rewritten a few times in its life.
async fn merge(
    table: &Table,
    version: &Version,
    manifests: Vec<ManifestFile>,
    snapshot: i64,
    names: &mut Names,
    made: &mut Vec<Made>,
) -> Result<Vec<ManifestFile>> {
    let class = |m: &ManifestFile| match manifest::live_files(m) {
        0..32 => 0,
        32..1024 => 1,
        _ => 2,
    };
    let mut groups: HashMap<(i32, u32), Vec<usize>> = HashMap::new();
    for (i, m) in manifests.iter().enumerate() {
        let ours = m.content == ManifestContentType::Data && m.added_snapshot_id != snapshot && class(m) < 2;
        if ours {
            groups.entry((m.partition_spec_id, class(m))).or_default().push(i);
        }
    }
    let mut out = Vec::new();
    let mut merged = vec![false; manifests.len()];
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, members)| members.len() >= MERGE).collect();
    groups.sort();
    for ((spec, _), members) in groups {
        let Some(spec) = version.metadata.partition_spec_by_id(spec) else { continue };
        let mut reads: Vec<BoxFuture<'_, Result<Vec<manifest::Entry>>>> = Vec::with_capacity(members.len());
        for i in &members {
            reads.push(manifest::entries(&table.lake, &version.metadata, &manifests[*i]).boxed());
        }
        let read = stream::iter(reads).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
        let items: Vec<Item> = read.into_iter().flatten().filter(manifest::Entry::live).map(Item::Existing).collect();
        if !items.is_empty() {
            let (file, manifest) = manifest::make(names.next(), snapshot, version.metadata.current_schema(), spec, items).await?;
            made.push(file);
            out.push(manifest);
        }
        members.into_iter().for_each(|i| merged[i] = true);
    }
    out.extend(manifests.into_iter().zip(merged).filter(|(_, merged)| !merged).map(|(m, _)| m));
    Ok(out)
}

fn totals(metadata: &TableMetadata, (files, rows, bytes): (u64, u64, u64), removed: &Removed) -> HashMap<String, String> {
    let mut summary = HashMap::new();
    let mut say = |key: &str, n: u64| {
        if n > 0 {
            summary.insert(key.to_owned(), n.to_string());
        }
    };
    say("added-data-files", files);
    say("added-records", rows);
    say("added-files-size", bytes);
    say("deleted-data-files", removed.files);
    say("deleted-records", removed.rows);
    say("removed-files-size", removed.bytes);
    let before = |key: &str| match metadata.current_snapshot() {
        None => Some(0),
        Some(s) => s.summary().additional_properties.get(key).and_then(|n| n.parse::<u64>().ok()),
    };
    for (key, plus, minus) in [
        ("total-data-files", files, removed.files),
        ("total-records", rows, removed.rows),
        ("total-files-size", bytes, removed.bytes),
        ("total-delete-files", 0, 0),
        ("total-position-deletes", 0, 0),
        ("total-equality-deletes", 0, 0),
    ] {
        if let Some(before) = before(key) {
            summary.insert(key.to_owned(), (before + plus).saturating_sub(minus).to_string());
        }
    }
    summary
}

/// Removes metadata files that are in no log any more; says whether all are gone. A failure is only logged: a later sweep finds them.
pub(crate) async fn forget_metadata(lake: &Lake, metadata: &TableMetadata, logs: &[MetadataLog]) -> bool {
    if !deletes_old_metadata(metadata) {
        return true;
    }
    let mut all = true;
    for log in logs {
        all &= expire::remove(lake, &log.metadata_file).await;
    }
    all
}
