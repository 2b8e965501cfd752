//! A clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sluis_core::Clock;

/// Stands still until it is moved. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<AtomicI64>);

impl Default for SimClock {
    /// At noon of 1 January 2026.
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_767_268_800_000)))
    }
}

impl SimClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    /// As when a machine's clock is set.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}
