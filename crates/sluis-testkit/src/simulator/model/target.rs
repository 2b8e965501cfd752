//! The targets of the model: how each stages, looks its commit key up, and applies.

use std::collections::{BTreeMap, BTreeSet};

use sluis_core::Epoch;

use super::worker::Row;

/// A way to make rows visible. The first ones are right; those from `KuduStagedUnleased` on are wrong, each in a way that was seen in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Files, append: rename without overwrite to a fixed name; target there with the same length = done.
    Rename,
    /// Files on S3: complete the multipart upload; no such upload + object there with the expected etag = done.
    Upload,
    /// New Hive partitions: one add-partitions call, if not exists; then a refresh.
    HiveAdd,
    /// Replaced Hive partitions: one call swings the locations, with the lease.
    HiveSwing,
    /// Key in any ancestor snapshot = done; else append and key by compare-and-set on the version looked at. Others commit in between.
    Iceberg,
    /// One transaction: rows and `progress = e where progress = e - 1`.
    Jdbc,
    /// Fence, then read the progress, then one transaction with rows and progress.
    Kafka,
    /// Tasks upsert directly, with the lease; nothing to commit.
    KuduDirect,
    /// Upserts from a spool, in order, with the lease.
    KuduStaged,
    /// Inserts from a spool; keys that are there are ignored. Rows never change.
    KuduIgnore,
    /// Requests with an idempotency key; the receiver knows keys.
    WebhookKeyed,
    /// The receiver does not: at least once, as declared.
    Webhook,
    /// Wrong: upserts of changing rows without the lease.
    KuduStagedUnleased,
    /// Wrong: the same, directly by the tasks.
    KuduDirectUnleased,
    /// Wrong: swings locations without the lease.
    HiveSwingUnleased,
    /// Wrong: reads the progress before it fences.
    KafkaReadThenFence,
    /// Wrong: looks for the key on the current snapshot alone, and compares nothing.
    IcebergHeadOnly,
    /// Wrong: a rename that deletes its target first.
    RenameDeletesFirst,
    /// Wrong: no commit key.
    NaiveAppend,
}

impl Target {
    pub const RIGHT: [Target; 12] = [
        Target::Rename,
        Target::Upload,
        Target::HiveAdd,
        Target::HiveSwing,
        Target::Iceberg,
        Target::Jdbc,
        Target::Kafka,
        Target::KuduDirect,
        Target::KuduStaged,
        Target::KuduIgnore,
        Target::WebhookKeyed,
        Target::Webhook,
    ];
    /// Wrong if a worker merely dies.
    pub const WRONG_IN_CRASHES: [Target; 3] = [Target::IcebergHeadOnly, Target::RenameDeletesFirst, Target::NaiveAppend];
    /// Wrong if a worker sleeps and wakes up.
    pub const WRONG_WITH_ZOMBIES: [Target; 6] = [
        Target::KuduStagedUnleased,
        Target::KuduDirectUnleased,
        Target::HiveSwingUnleased,
        Target::KafkaReadThenFence,
        Target::IcebergHeadOnly,
        Target::NaiveAppend,
    ];

    /// Whether the source's rows change: keys come again.
    pub fn keyed(self) -> bool {
        use Target::{HiveSwing, HiveSwingUnleased, KuduDirect, KuduDirectUnleased, KuduStaged, KuduStagedUnleased};
        matches!(self, KuduDirect | KuduStaged | KuduStagedUnleased | KuduDirectUnleased | HiveSwing | HiveSwingUnleased)
    }

    /// Whether it writes only with the lease.
    pub fn leased(self) -> bool {
        matches!(self, Target::HiveSwing | Target::KuduDirect | Target::KuduStaged)
    }

    /// The declared exception to I2.
    pub fn direct(self) -> bool {
        matches!(self, Target::KuduDirect | Target::KuduDirectUnleased)
    }

    /// Whether readers see an epoch at once.
    pub fn whole_epochs(self) -> bool {
        matches!(self, Target::HiveAdd | Target::Iceberg | Target::Jdbc | Target::Kafka)
    }
}

/// Where an application is: the committable it is at, and what the look-up gave (a version, a producer's number).
#[derive(Debug, Clone, Copy, Default)]
pub struct Apply {
    i: usize,
    token: u64,
}

/// What one step of applying came to.
pub enum Applied {
    More(Apply),
    Done,
    /// The target refuses this worker for good.
    Fenced,
}

/// What a target holds.
#[derive(Default)]
pub struct State {
    /// Invisible, by committable.
    staged: BTreeMap<u64, (Epoch, Row)>,
    /// Files by name.
    files: BTreeMap<(Epoch, usize), Row>,
    /// What was appended.
    rows: Vec<Row>,
    /// By key.
    keyed: BTreeMap<u64, u64>,
    /// Hive: partition -> rows of the location it points to.
    partitions: BTreeMap<u64, Vec<Row>>,
    /// Iceberg: commit keys of all ancestors, the key of the head, the version.
    ancestors: BTreeSet<Epoch>,
    head: Option<Epoch>,
    version: u64,
    /// Kafka, JDBC: progress, kept in the same step as the rows.
    progress: u64,
    producer: u64,
    transaction: Option<(u64, Vec<Row>, Epoch)>,
    /// Webhook: idempotency keys.
    keys_seen: BTreeSet<(Epoch, usize)>,
}

impl State {
    pub fn stage(&mut self, kind: Target, epoch: Epoch, id: u64, row: Row) {
        if kind.direct() {
            self.keyed.insert(row.0, row.1);
        } else {
            self.staged.insert(id, (epoch, row));
        }
    }

    fn row(&self, id: u64) -> Result<Row, String> {
        self.staged.get(&id).map(|(_, row)| *row).ok_or_else(|| format!("what was staged as {id} is gone: swept, though a record names it"))
    }

    fn rows_of(&self, files: &[u64]) -> Result<Vec<Row>, String> {
        files.iter().map(|id| self.row(*id)).collect()
    }

    /// The look-up of the commit key: `None` if the epoch is there.
    pub fn look_up(&mut self, kind: Target, epoch: Epoch) -> Option<Apply> {
        let start = Apply::default();
        match kind {
            Target::Iceberg => (!self.ancestors.contains(&epoch)).then_some(Apply { i: 0, token: self.version }),
            Target::IcebergHeadOnly => (self.head != Some(epoch)).then_some(start),
            Target::Jdbc => (self.progress < epoch.0).then_some(start),
            Target::KuduDirect | Target::KuduDirectUnleased => None,
            Target::Kafka => {
                // Fencing aborts the transaction of whoever was there before; then nobody older can commit any more.
                self.producer += 1;
                self.transaction = None;
                (self.progress < epoch.0).then(|| self.begin(epoch))
            }
            Target::KafkaReadThenFence => (self.progress < epoch.0).then_some(start),
            _ => Some(start),
        }
    }

    fn begin(&mut self, epoch: Epoch) -> Apply {
        self.transaction = Some((self.producer, Vec::new(), epoch));
        Apply { i: 0, token: self.producer }
    }

    /// One external effect of a commit.
    pub fn apply(&mut self, kind: Target, epoch: Epoch, files: &[u64], at: Apply) -> Result<Applied, String> {
        let next = Applied::More(Apply { i: at.i + 1, ..at });
        match kind {
            Target::Iceberg => Ok(self.compare_and_set(epoch, files, at)?),
            Target::HiveAdd if at.i == 0 => {
                if self.ancestors.insert(epoch) {
                    self.rows.extend(self.rows_of(files)?);
                }
                Ok(next)
            }
            // The refresh.
            Target::HiveAdd => Ok(Applied::Done),
            Target::HiveSwing | Target::HiveSwingUnleased => {
                let mut new: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
                for row in self.rows_of(files)? {
                    new.entry(row.0 % 2).or_default().push(row);
                }
                self.partitions.extend(new);
                Ok(Applied::Done)
            }
            Target::Jdbc => {
                if self.progress + 1 == epoch.0 {
                    self.rows.extend(self.rows_of(files)?);
                    self.progress = epoch.0;
                }
                Ok(Applied::Done)
            }
            Target::IcebergHeadOnly => {
                self.rows.extend(self.rows_of(files)?);
                // A compaction commits right after.
                self.head = None;
                Ok(Applied::Done)
            }
            Target::KafkaReadThenFence if at.token == 0 => {
                self.producer += 1;
                Ok(Applied::More(self.begin(epoch)))
            }
            Target::Kafka | Target::KafkaReadThenFence => self.transact(epoch, files, at, next),
            _ if at.i == files.len() => Ok(Applied::Done),
            _ => self.one(kind, epoch, files[at.i], at, next),
        }
    }

    fn compare_and_set(&mut self, epoch: Epoch, files: &[u64], at: Apply) -> Result<Applied, String> {
        if at.token != self.version {
            // Another committed meanwhile: look again.
            let again = Apply { i: 0, token: self.version };
            return Ok(if self.ancestors.contains(&epoch) { Applied::Done } else { Applied::More(again) });
        }
        self.rows.extend(self.rows_of(files)?);
        self.ancestors.insert(epoch);
        // A compaction commits right after: the head is another's.
        self.version += 2;
        Ok(Applied::Done)
    }

    fn transact(&mut self, epoch: Epoch, files: &[u64], at: Apply, next: Applied) -> Result<Applied, String> {
        if self.producer != at.token {
            return Ok(Applied::Fenced);
        }
        if at.i < files.len() {
            let row = self.row(files[at.i])?;
            if let Some((_, rows, _)) = &mut self.transaction {
                rows.push(row);
            }
            return Ok(next);
        }
        if let Some((_, rows, _)) = self.transaction.take() {
            self.rows.extend(rows);
            self.progress = epoch.0;
        }
        Ok(Applied::Done)
    }

    /// One committable of those that go one by one.
    fn one(&mut self, kind: Target, epoch: Epoch, id: u64, at: Apply, next: Applied) -> Result<Applied, String> {
        let name = (epoch, at.i);
        match kind {
            Target::Rename if self.files.contains_key(&name) => {}
            Target::Rename | Target::Upload => match self.staged.remove(&id) {
                Some((_, row)) => drop(self.files.insert(name, row)),
                None if self.files.contains_key(&name) => {}
                None => return Err(format!("{name:?} is neither staged nor visible")),
            },
            Target::RenameDeletesFirst => {
                self.files.remove(&name);
                match self.staged.remove(&id) {
                    Some((_, row)) => drop(self.files.insert(name, row)),
                    None => return Err(format!("{name:?} is neither staged nor visible")),
                }
            }
            Target::KuduStaged | Target::KuduStagedUnleased => {
                let (k, v) = self.row(id)?;
                self.keyed.insert(k, v);
            }
            Target::KuduIgnore => {
                let (k, v) = self.row(id)?;
                self.keyed.entry(k).or_insert(v);
            }
            Target::WebhookKeyed => {
                let row = self.row(id)?;
                if self.keys_seen.insert(name) {
                    self.rows.push(row);
                }
            }
            _ => self.rows.push(self.row(id)?),
        }
        Ok(next)
    }

    /// Removes what was staged up to `epoch` and no record names.
    pub fn sweep(&mut self, up_to: Epoch, keep: &[u64]) {
        self.staged.retain(|id, (epoch, _)| *epoch > up_to || keep.contains(id));
    }

    pub fn visible(&self, kind: Target) -> Vec<Row> {
        match kind {
            Target::Rename | Target::Upload | Target::RenameDeletesFirst => self.files.values().copied().collect(),
            Target::HiveSwing | Target::HiveSwingUnleased => self.partitions.values().flatten().copied().collect(),
            _ if kind.keyed() || kind == Target::KuduIgnore => self.keyed.iter().map(|(k, v)| (*k, *v)).collect(),
            _ => self.rows.clone(),
        }
    }

    /// Compares what is visible with what the source gave, epoch by epoch.
    pub fn conserved(&self, kind: Target, source: &[Row], epochs: &[&[Row]]) -> Result<(), String> {
        let mut want: Vec<Row> = match kind {
            Target::HiveSwing | Target::HiveSwingUnleased => {
                let mut partitions: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
                for rows in epochs {
                    let mut new: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
                    rows.iter().for_each(|row| new.entry(row.0 % 2).or_default().push(*row));
                    partitions.extend(new);
                }
                partitions.into_values().flatten().collect()
            }
            _ if kind.keyed() => source.iter().copied().collect::<BTreeMap<u64, u64>>().into_iter().collect(),
            _ => source.to_vec(),
        };
        let mut got = self.visible(kind);
        if kind == Target::Webhook {
            got.sort_unstable();
            got.dedup();
        }
        want.sort_unstable();
        got.sort_unstable();
        if got == want { Ok(()) } else { Err(format!("the target holds {got:?} and should hold {want:?}")) }
    }
}
