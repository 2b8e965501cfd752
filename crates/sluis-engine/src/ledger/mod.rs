//! The ledger on SQLite: one file, WAL, opened by every later version.
//!
//! | room | what |
//! |---|---|
//! | `open` | creating, recognising and refusing files; the tables |
//! | `records` | conditional create, the lane's view, the invariants that are enforced |
//! | `files` | the history of file versions: kept with `planned` and `staged`, looked up by `discover` |
//! | `lease` | ownership of lanes |
//! | [`owner`] | who this process is, whether another one is still there |
//! | [`inspect`], `fsck` | questions of people |
//! | `failure` | what SQLite says, in words a person can act on |
//!
//! Guarantees: what [`LedgerStore`] says. A call that returned is on the disk (WAL, `synchronous=FULL`). Each call is one transaction.
//! Memory is bounded: SQLite caches 16 MiB, and no call reads more of the history than it was asked about.
//!
//! Deliberately not here: crash points (they stand around the calls, in the engine), deciding what comes next.

pub mod drift;
mod failure;
mod files;
mod fsck;
pub mod inspect;
mod lease;
mod open;
pub mod owner;
mod records;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use sluis_core::{
    Clock, Created, Error, ErrorKind, FileHistory, KnownFile, LaneId, LaneView, Lease, LeaseHolder, LedgerStore, PipelineName, Planned, Record,
    Result, Staged,
};

use failure::Step;
pub use open::VERSION;

/// The ledger in one SQLite file. Clones of one `Arc` and several processes may use one file side by side.
pub struct SqliteLedger {
    file: Arc<LedgerFile>,
    clock: Arc<dyn Clock>,
}

/// The open file and the one connection to it; calls take turns.
struct LedgerFile {
    connection: Mutex<Connection>,
    place: Place,
}

/// What stands behind the connection.
enum Place {
    /// Nothing: gone with the last ledger that shares it.
    Memory,
    File {
        path: PathBuf,
        /// Device and inode of what was opened: a file that was moved away meanwhile is not written to.
        identity: Option<(u64, u64)>,
        /// Opened by [`SqliteLedger::open_existing`].
        looking_only: bool,
    },
}

impl LedgerFile {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolled it back: the connection is as good as before.
        self.connection.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn name(&self) -> String {
        match &self.place {
            Place::Memory => ":memory:".into(),
            Place::File { path, .. } => path.display().to_string(),
        }
    }

    /// One consistent look.
    fn read<T>(&self, f: impl FnOnce(&Connection) -> Step<T>) -> Result<T> {
        let connection = self.connection();
        let run = || -> Step<T> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)?;
            let out = f(&transaction)?;
            transaction.commit()?;
            Ok(out)
        };
        run().map_err(|fault| fault.told(&self.name()))
    }

    /// One transaction, durable when this returns; nothing of it if `f` fails.
    fn write<T>(&self, f: impl FnOnce(&Connection) -> Step<T>) -> Result<T> {
        self.check_writable()?;
        let connection = self.connection();
        let run = || -> Step<T> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            let out = f(&transaction)?;
            transaction.commit()?;
            Ok(out)
        };
        run().map_err(|fault| fault.told(&self.name()))
    }

    fn check_writable(&self) -> Result<()> {
        match &self.place {
            Place::File { path, looking_only: true, .. } => {
                Err(Error::internal("the ledger was opened for looking only, and is to be written").context("ledger", path.display()))
            }
            Place::File { path, identity: Some(identity), .. } if open::identity(path) != Some(*identity) => {
                Err(Error::new(ErrorKind::Ledger, "the ledger's file was moved, deleted or replaced while it was in use; nothing more is written")
                    .context("ledger", path.display())
                    .hint("put the file back, then run again: what was not committed is redone"))
            }
            _ => Ok(()),
        }
    }

    /// Does `f` where it may block: beside the runtime for a file, right here in memory (and without a runtime), so that a simulator stays
    /// deterministic.
    async fn off_runtime<T: Send + 'static>(self: &Arc<Self>, f: impl FnOnce(&LedgerFile) -> Result<T> + Send + 'static) -> Result<T> {
        let beside = match &self.place {
            Place::Memory => None,
            Place::File { .. } => tokio::runtime::Handle::try_current().ok(),
        };
        let Some(runtime) = beside else { return f(self) };
        let file = self.clone();
        match runtime.spawn_blocking(move || f(&file)).await {
            Ok(result) => result,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::new(ErrorKind::Interrupted, "the ledger was not asked any more: the program is ending")),
        }
    }
}

impl SqliteLedger {
    /// Opens it, creating it (and its folder) if it is not there. Small ledgers are checked for damage on the way.
    ///
    /// # Errors
    /// `ErrorKind::Ledger`: damaged, or written by a newer version, with the way out as hint; `Permission`, `Capacity`: the folder.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let connection = open::for_writing(path)?;
        let place = Place::File { path: path.to_owned(), identity: open::identity(path), looking_only: false };
        Ok(Self { file: Arc::new(LedgerFile { connection: Mutex::new(connection), place }), clock })
    }

    /// Opens it for looking only; `None` if it is not there. Creates nothing. Damage shows when it is met: [`SqliteLedger::fsck`] looks everywhere.
    ///
    /// # Errors
    /// As [`SqliteLedger::open`].
    pub fn open_existing(path: &Path, clock: Arc<dyn Clock>) -> Result<Option<Self>> {
        let Some(connection) = open::for_looking(path)? else { return Ok(None) };
        let place = Place::File { path: path.to_owned(), identity: open::identity(path), looking_only: true };
        Ok(Some(Self { file: Arc::new(LedgerFile { connection: Mutex::new(connection), place }), clock }))
    }

    /// An empty one in memory, for tests and the simulator; calls never leave the caller's thread.
    ///
    /// # Errors
    /// `ErrorKind::Capacity`: no memory.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self> {
        let connection = open::in_memory()?;
        Ok(Self { file: Arc::new(LedgerFile { connection: Mutex::new(connection), place: Place::Memory }), clock })
    }

    /// The same ledger as another process would have it: shared contents, a clock of its own.
    pub fn shared(&self, clock: Arc<dyn Clock>) -> Self {
        Self { file: self.file.clone(), clock }
    }

    /// As `history`, for `backfill --again` in `lane`: what other lanes landed counts as asked for once more
    /// ([`KnownFile::again`]); what `lane` itself landed is known as ever, so that a backfill goes on where it stopped.
    pub fn history_again(&self, pipeline: &PipelineName, lane: &str) -> Box<dyn FileHistory> {
        Box::new(History { file: self.file.clone(), pipeline: pipeline.clone(), again: Some(lane.to_owned()) })
    }
}

#[async_trait]
impl LedgerStore for SqliteLedger {
    async fn read(&self, lane: &LaneId) -> Result<LaneView> {
        let lane = lane.clone();
        self.file.off_runtime(move |file| file.read(|c| records::view(c, &lane))).await
    }

    async fn create(&self, lane: &LaneId, record: Record) -> Result<Created> {
        let lane = lane.clone();
        self.file.off_runtime(move |file| file.write(|c| records::create(c, &lane, record))).await
    }

    async fn acquire(&self, lane: &LaneId, owner: &LeaseHolder, ttl: Duration) -> Result<Lease> {
        let (lane, owner, clock) = (lane.clone(), owner.clone(), self.clock.clone());
        // The clock is read when the transaction has begun: waiting for another process must not age the answer.
        self.file.off_runtime(move |file| file.write(|c| lease::acquire(c, &lane, &owner, ttl, clock.now()))?).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
        let (lease, clock) = (lease.clone(), self.clock.clone());
        self.file.off_runtime(move |file| file.write(|c| lease::renew(c, &lease, ttl, clock.now()))).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.file.off_runtime(move |file| file.write(|c| lease::release(c, &lease))).await
    }

    fn history(&self, pipeline: &PipelineName) -> Box<dyn FileHistory> {
        Box::new(History { file: self.file.clone(), pipeline: pipeline.clone(), again: None })
    }

    async fn last_committed(&self, lane: &LaneId) -> Result<Option<(Planned, Staged)>> {
        let lane = lane.clone();
        self.file.off_runtime(move |file| file.read(|c| records::last_committed(c, &lane))).await
    }

    async fn last_schema(&self, pipeline: &PipelineName) -> Result<Option<serde_json::Value>> {
        let pipeline = pipeline.clone();
        self.file.off_runtime(move |file| file.read(|c| records::last_schema(c, &pipeline))).await
    }
}

/// The file history of one pipeline.
struct History {
    file: Arc<LedgerFile>,
    pipeline: PipelineName,
    /// Shows what other lanes than this one landed as asked for once more.
    again: Option<String>,
}

#[async_trait]
impl FileHistory for History {
    async fn lookup(&self, paths: &[String]) -> Result<Vec<Option<KnownFile>>> {
        let (pipeline, again, paths) = (self.pipeline.clone(), self.again.clone(), paths.to_vec());
        self.file.off_runtime(move |file| file.read(|c| files::lookup(c, &pipeline, &paths, again.as_deref()))).await
    }

    async fn is_first_run(&self) -> Result<bool> {
        let pipeline = self.pipeline.clone();
        self.file.off_runtime(move |file| file.read(|c| files::is_first_run(c, &pipeline))).await
    }
}
