//! Locks on tables and partitions, with the heartbeats that keep them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Repeat;
use crate::connection::Raises;
use crate::wire::{Struct, Type, Value};
use crate::{Client, Error, Kind, Result};

const LOCKED: Raises = &[(1, Kind::NoSuchTransaction), (2, Kind::NoSuchTransaction), (3, Kind::NoSuchLock)];
const BEATEN: Raises = &[(1, Kind::NoSuchLock), (2, Kind::NoSuchTransaction), (3, Kind::NoSuchTransaction)];

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Others may read and write.
    SharedRead,
    /// Others may read.
    SharedWrite,
    /// Nobody else.
    Exclusive,
}

/// What is locked: a database, a table, or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOn {
    /// What others are kept from.
    pub kind: LockKind,
    /// The database.
    pub database: String,
    /// The table, if not the whole database.
    pub table: Option<String>,
    /// The partition's name, if not the whole table.
    pub partition: Option<String>,
}

/// Whether a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// It is.
    Acquired,
    /// Somebody else's is in the way.
    Waiting,
    /// It is gone.
    Gone,
}

/// A lock that is held, and kept by heartbeats, until it is released. Dropped without a release it ends when the metastore misses its heartbeats
/// (`hive.txn.timeout`, five minutes).
#[derive(Debug)]
pub struct Lock {
    client: Client,
    id: i64,
    beats: tokio::task::JoinHandle<()>,
    lost: watch::Receiver<Option<Error>>,
}

impl LockOn {
    /// A table.
    pub fn table(kind: LockKind, database: &str, table: &str) -> LockOn {
        LockOn { kind, database: database.into(), table: Some(table.into()), partition: None }
    }

    fn value(&self) -> Value {
        let kind = match self.kind {
            LockKind::SharedRead => 1,
            LockKind::SharedWrite => 2,
            LockKind::Exclusive => 3,
        };
        let level = match (&self.table, &self.partition) {
            (None, _) => 1,
            (Some(_), None) => 2,
            (Some(_), Some(_)) => 3,
        };
        let component = Struct::default().with(1, kind).with(2, level).with(3, self.database.as_str());
        let component = component.with_some(4, self.table.as_deref()).with_some(5, self.partition.as_deref());
        // 6: something outside of transactions.
        component.with(6, 6).with(7, false).into()
    }
}

impl Client {
    /// Asks for locks, all at once, in the name of `user` and `agent` (which `SHOW LOCKS` shows). They may be [`LockState::Waiting`]: see
    /// [`Client::check_lock`], or take [`Client::acquire`].
    ///
    /// # Errors
    /// [`Kind::Internal`] if the metastore's database has no tables for locks, and as every call.
    pub async fn lock(&self, what: &[LockOn], user: &str, host: &str, agent: &str) -> Result<(i64, LockState)> {
        let components = Value::List(Type::Struct, what.iter().map(LockOn::value).collect());
        let request = Struct::default().with(1, components).with(3, user).with(4, host).with(5, agent);
        answered(self.get("lock", Struct::default().with(1, request), LOCKED, Repeat::Never).await?)
    }

    /// How a lock stands. This is a heartbeat, too.
    ///
    /// # Errors
    /// [`Kind::NoSuchLock`] if it is gone, and as every call.
    pub async fn check_lock(&self, id: i64) -> Result<LockState> {
        let request = Struct::default().with(1, Struct::default().with(1, id));
        Ok(answered(self.get("check_lock", request, LOCKED, Repeat::Safe).await?)?.1)
    }

    /// Keeps a lock alive.
    ///
    /// # Errors
    /// [`Kind::NoSuchLock`] if it is gone, and as every call.
    pub async fn heartbeat(&self, id: i64) -> Result<()> {
        self.call("heartbeat", Struct::default().with(1, Struct::default().with(1, id)), BEATEN, Repeat::Safe).await.map(drop)
    }

    /// Gives a lock back.
    ///
    /// # Errors
    /// [`Kind::NoSuchLock`] if it is gone, and as every call.
    pub async fn unlock(&self, id: i64) -> Result<()> {
        let raises = &[(1, Kind::NoSuchLock), (2, Kind::InvalidOperation)];
        self.call("unlock", Struct::default().with(1, Struct::default().with(1, id)), raises, Repeat::Never).await.map(drop)
    }

    /// Waits for locks up to `patience`, then keeps them by a heartbeat every `beat` (a third of the metastore's `hive.txn.timeout` at most) until
    /// they are released.
    ///
    /// # Errors
    /// [`Kind::Locked`] if somebody else still has one, and as every call. Nothing is left behind then.
    pub async fn acquire(&self, what: &[LockOn], user: &str, host: &str, agent: &str, patience: Duration, beat: Duration) -> Result<Lock> {
        let end = Instant::now() + patience;
        let (id, mut state) = self.lock(what, user, host, agent).await?;
        let mut pause = Duration::from_millis(50);
        while state == LockState::Waiting {
            if Instant::now() >= end {
                self.unlock(id).await?;
                let names: Vec<String> = what.iter().map(ToString::to_string).collect();
                return Err(Error::new(Kind::Locked, format!("somebody else has locked {} (SHOW LOCKS tells who)", names.join(", "))));
            }
            tokio::time::sleep(pause.min(end - Instant::now())).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            state = self.check_lock(id).await?;
        }
        if state == LockState::Gone {
            return Err(Error::new(Kind::NoSuchLock, "the metastore gave up the lock while it was waited for"));
        }
        let (tell, lost) = watch::channel(None);
        let beats = tokio::spawn(beats(self.clone(), id, beat, tell));
        Ok(Lock { client: self.clone(), id, beats, lost })
    }
}

/// Until the lock is gone. A metastore that cannot be reached is tried again: the lock lives longer than one beat.
async fn beats(client: Client, id: i64, beat: Duration, tell: watch::Sender<Option<Error>>) {
    loop {
        tokio::time::sleep(beat).await;
        match client.heartbeat(id).await {
            Err(e) if matches!(e.kind(), Kind::NoSuchLock | Kind::NoSuchTransaction) => {
                tell.send_replace(Some(e));
                return;
            }
            _ => {}
        }
    }
}

impl Lock {
    /// The lock's number in the metastore.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whether it is still held, as far as the heartbeats know. Look right before what must not be done without it.
    ///
    /// # Errors
    /// [`Kind::NoSuchLock`] if it was lost.
    pub fn still_held(&self) -> Result<()> {
        match &*self.lost.borrow() {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// [`Kind::NoSuchLock`] if it was lost before, and as every call.
    pub async fn release(self) -> Result<()> {
        self.beats.abort();
        self.client.unlock(self.id).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

impl std::fmt::Display for LockOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.database)?;
        self.table.iter().try_for_each(|t| write!(f, ".{t}"))?;
        self.partition.iter().try_for_each(|p| write!(f, " ({p})"))
    }
}

fn answered(mut answer: Struct) -> Result<(i64, LockState)> {
    let (Some(Value::I64(id)), Some(Value::I32(state))) = (answer.take(1), answer.take(2)) else {
        return Err(Error::protocol("the answer to a lock has no number or state"));
    };
    let state = match state {
        1 => LockState::Acquired,
        2 => LockState::Waiting,
        _ => LockState::Gone,
    };
    Ok((id, state))
}
