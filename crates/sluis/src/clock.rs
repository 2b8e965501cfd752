//! The machine's clock, or the one that a test sets.
//!
//! `SLUIS_CLOCK=2026-01-31T12:00:00Z` makes this process believe that it is that moment, and stay at it. For tests only: leases never expire then.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sluis_core::clock::FixedClock;
use sluis_core::{Clock, Error, Result};

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// What this process takes for the present.
///
/// # Errors
/// `ErrorKind::Config` if `SLUIS_CLOCK` is not a time.
pub fn clock() -> Result<Arc<dyn Clock>> {
    match std::env::var("SLUIS_CLOCK") {
        Err(_) => Ok(Arc::new(SystemClock)),
        Ok(text) => DateTime::parse_from_rfc3339(&text).map(|at| Arc::new(FixedClock(at.to_utc())) as Arc<dyn Clock>).map_err(|e| {
            Error::config(format!("SLUIS_CLOCK=`{text}` is not a time"))
                .source(e)
                .hint("it is for tests; write it as 2026-01-31T12:00:00Z, or unset it")
        }),
    }
}
