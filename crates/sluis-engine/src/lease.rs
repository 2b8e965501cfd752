//! Keeping the lane while it is driven: renewing in the background, and again before an effect if time has passed unnoticed.
//!
//! Deliberately not here: taking and giving back (the loop does), what the lease protects against (the ledger refuses old generations).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluis_core::{Clock, ErrorKind, Lease, LedgerStore, Result};
use tokio::sync::watch;

use crate::halt::Halt;

/// Keeps one lease.
pub struct Keeper {
    shared: Arc<Shared>,
    task: Option<tokio::task::JoinHandle<()>>,
}

struct Shared {
    ledger: Arc<dyn LedgerStore>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    lease: Mutex<Lease>,
    lost: watch::Sender<Option<String>>,
}

impl Keeper {
    /// Renews `lease` until dropped.
    pub fn start(ledger: Arc<dyn LedgerStore>, clock: Arc<dyn Clock>, ttl: Duration, lease: Lease) -> Self {
        let shared = Arc::new(Shared { ledger, clock, ttl, lease: Mutex::new(lease), lost: watch::channel(None).0 });
        let task = tokio::runtime::Handle::try_current().ok().map(|runtime| runtime.spawn(shared.clone().keep()));
        Self { shared, task }
    }

    /// What tells that the lease was lost.
    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.shared.lost.subscribe()
    }

    /// To be called before an effect: nothing speaks against it, and the lease holds for a while.
    ///
    /// # Errors
    /// `ErrorKind::Lease`, `ErrorKind::Interrupted`; those of the ledger if the lease ran out while it could not be reached.
    pub async fn ensure(&self, halt: &Halt) -> Result<()> {
        halt.check()?;
        // A process that slept, or whose timers came late, must ask before it acts.
        if !self.shared.expires_within(self.shared.ttl / 2) {
            return Ok(());
        }
        match self.shared.renew().await {
            Err(e) if e.kind() == ErrorKind::Lease || self.shared.expires_within(Duration::ZERO) => Err(e),
            // It could not be renewed now, and it still holds.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Stops renewing; gives the lease as it is now.
    pub fn end(mut self) -> Lease {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.shared.lease()
    }

    /// Whose epochs are written.
    pub fn generation(&self) -> sluis_core::Generation {
        self.shared.lease().generation
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Shared {
    fn lease(&self) -> Lease {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn expires_within(&self, time: Duration) -> bool {
        let left = self.lease().until.signed_duration_since(self.clock.now());
        left.to_std().map_or(true, |left| left <= time)
    }

    async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            while let Err(e) = self.renew().await {
                if e.kind() == ErrorKind::Lease {
                    return;
                }
                if self.expires_within(Duration::ZERO) {
                    self.lost.send_replace(Some(format!("the lease could not be renewed: {e}")));
                    return;
                }
                tracing::warn!(error = %e, "the lease could not be renewed; trying again");
                tokio::time::sleep((self.ttl / 20).max(Duration::from_millis(100))).await;
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        let renewed = self.ledger.renew(&self.lease(), self.ttl).await;
        match renewed {
            Ok(lease) => *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease,
            Err(e) => {
                if e.kind() == ErrorKind::Lease {
                    self.lost.send_replace(Some(e.message().to_owned()));
                }
                return Err(e);
            }
        }
        Ok(())
    }
}
