//! How long to wait before something that failed is tried again.
//!
//! Deliberately not here: what is tried again. Whether it may pass was decided where the failure was understood.

use std::time::Duration;

use sluis_core::{Error, ErrorKind, Retry};

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// Pauses grow up to this.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether trying again can help.
pub fn may_pass(error: &Error) -> bool {
    error.retry_policy() != Retry::Never && !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Lease | ErrorKind::Crash)
}

/// The pause after failure number `failures` (from 1): doubled each time, and somewhat random, so that many runs do not come back at once.
pub fn pause(error: &Error, failures: usize) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(16);
    let (at_least, grown) = match error.retry_policy() {
        Retry::After(ms) => (Duration::from_millis(ms), Duration::from_millis(ms).saturating_mul(doubled)),
        Retry::Backoff | Retry::Never => (Duration::ZERO, FIRST.saturating_mul(doubled)),
    };
    // Between half of it and all of it.
    let share = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    grown.min(LONGEST).mul_f64(0.5 + share / 2.0).max(at_least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_and_respect_what_the_remote_asked_for() {
        let e = Error::unavailable("down");
        for failures in 1..40 {
            let most = (FIRST * (1 << (failures - 1).min(16))).min(LONGEST);
            let pause = pause(&e, failures as usize);
            assert!(pause >= most / 2 && pause <= most, "{failures}: {pause:?}");
        }
        let slow = Error::unavailable("slow down").retry(Retry::After(300));
        assert!(pause(&slow, 1) >= Duration::from_millis(300));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(may_pass(&Error::unavailable("down")));
        for error in [Error::not_found("x"), Error::new(ErrorKind::Permission, "x"), Error::new(ErrorKind::Lease, "x").retry(Retry::Backoff)] {
            assert!(!may_pass(&error), "{error:?}");
        }
    }
}
