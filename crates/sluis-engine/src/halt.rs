//! Reasons to stop before the work is done: asked to, or the lane is another's now.
//!
//! Deliberately not here: what is abandoned (whatever future is dropped: writers that are dropped leave nothing visible).

use std::future::Future;
use std::time::Duration;

use sluis_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::run::Stop;

/// How long a call that may be repeated is waited for when a run is to stop.
const GRACE: Duration = Duration::from_millis(700);

/// Knows whether to go on. Cheap to clone and to ask.
#[derive(Clone)]
pub struct Halt {
    stop: Stop,
    /// Set once, to the sentence that says how the lease was lost.
    lost: watch::Receiver<Option<String>>,
}

impl Halt {
    pub fn new(stop: Stop, lost: watch::Receiver<Option<String>>) -> Self {
        Self { stop, lost }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `ErrorKind::Lease` or `ErrorKind::Interrupted`.
    pub fn check(&self) -> Result<()> {
        if let Some(how) = &*self.lost.borrow() {
            return Err(lost(how));
        }
        if self.stop.is_stopped() { Err(interrupted()) } else { Ok(()) }
    }

    /// Returns when it is time to stop.
    pub async fn halted(&self) -> Error {
        let mut receiver = self.lost.clone();
        let is_lost = async {
            let how = receiver.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
            match how {
                Some(how) => how,
                // Nobody renews any more: the run is ending on its own.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            how = is_lost => lost(&how),
            () = self.stop.stopped() => interrupted(),
        }
    }

    /// Does the work, or drops it as soon as it is time to stop.
    pub async fn unless<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            why = self.halted() => Err(why),
            done = work => done,
        }
    }

    /// Does the work; when it is time to stop, waits a moment for its end before it is dropped.
    pub async fn finish_or_leave<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let patience = async {
            let why = self.halted().await;
            tokio::time::sleep(GRACE).await;
            why
        };
        tokio::select! {
            biased;
            done = work => done,
            why = patience => Err(why),
        }
    }
}

/// The error of a run that was asked to stop.
pub fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped as asked").hint("run again to go on: what was not committed is redone")
}

fn lost(how: &str) -> Error {
    Error::new(ErrorKind::Lease, how).hint("another process drives this lane now; see `sluis status`")
}
