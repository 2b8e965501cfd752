//! Time as an input: everything that needs the hour takes a [`Clock`], so tests and the simulator own it.

use chrono::{DateTime, Utc};

/// Where the present moment comes from.
pub trait Clock: Send + Sync {
    /// The present moment, in UTC. It may go backwards (a machine's clock is set): callers must not assume order.
    fn now(&self) -> DateTime<Utc>;
}

/// A clock that stands still, for tests and for `sluis test`.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}
