//! Trying again: what the error's own [`Retry`] asks for, with growing, jittered pauses, a bounded number of times.
//!
//! Deliberately not here: deciding what is worth a retry. That is decided where the failure is understood, and carried by the error.

use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use sluis_core::{Error, Result, Retry};

/// How often and how long apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Tries after the first one; 0 = no retry.
    pub retries: u32,
    /// The first pause, before jitter; it doubles from try to try.
    pub first: Duration,
    /// The longest pause that we choose ourselves. A remote that asks for more gets it, up to [`MOST_ASKED`].
    pub most: Duration,
}

/// A remote that asks for a longer pause than this is not waited for: the call fails and the next run tries again.
pub const MOST_ASKED: Duration = Duration::from_secs(120);

impl Default for Backoff {
    /// Six tries within about ten seconds.
    fn default() -> Self {
        Self { retries: 5, first: Duration::from_millis(200), most: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The pause before retry number `attempt` (from 0); `None`: do not try again. `jitter` is from 0 to 1.
    pub fn pause(&self, attempt: u32, asked: Retry, jitter: f64) -> Option<Duration> {
        if attempt >= self.retries {
            return None;
        }
        // Half fixed, half random: spreads callers out, yet never comes back at once.
        let full = self.first.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.most);
        let ours = full.div_f64(2.0) + full.div_f64(2.0).mul_f64(jitter.clamp(0.0, 1.0));
        match asked {
            Retry::Never => None,
            Retry::Backoff => Some(ours),
            Retry::After(millis) if Duration::from_millis(millis) > MOST_ASKED => None,
            Retry::After(millis) => Some(ours.max(Duration::from_millis(millis))),
        }
    }
}

/// Time and chance, as inputs: tests give one that does not sleep.
#[async_trait]
pub trait Sleeper: Send + Sync + Debug {
    async fn sleep(&self, pause: Duration);
    /// From 0 to 1.
    fn jitter(&self) -> f64;
}

/// Sleeps on tokio's timer; chance from the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSleeper;

#[async_trait]
impl Sleeper for TokioSleeper {
    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
    fn jitter(&self) -> f64 {
        // Every RandomState has fresh keys, so an empty hash of it is a random number.
        (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Calls `op` until it succeeds, fails for good, or the tries are used up; the last error then says how often it was tried.
/// `op` gets the number of the try, from 0. Only for calls that may be repeated.
pub async fn with_backoff<T, F, Fut>(backoff: &Backoff, sleeper: &dyn Sleeper, what: &str, mut op: F) -> Result<T>
where
    F: FnMut(u32) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut attempt = 0;
    loop {
        let error = match op(attempt).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(pause) = backoff.pause(attempt, error.retry_policy(), sleeper.jitter()) else {
            return Err(tried(error, attempt));
        };
        attempt += 1;
        tracing::debug!(what, attempt, pause_ms = pause.as_millis() as u64, error = %error, "trying again");
        sleeper.sleep(pause).await;
    }
}

fn tried(error: Error, attempt: u32) -> Error {
    if attempt == 0 { error } else { error.context("tries", attempt + 1) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::executor::block_on;
    use sluis_core::ErrorKind;

    use super::*;

    #[derive(Debug, Default)]
    struct Noted(Mutex<Vec<Duration>>);
    #[async_trait]
    impl Sleeper for Noted {
        async fn sleep(&self, pause: Duration) {
            self.0.lock().unwrap().push(pause);
        }
        fn jitter(&self) -> f64 {
            1.0
        }
    }

    #[test]
    fn retries_what_may_pass_with_growing_pauses() {
        let noted = Noted::default();
        let backoff = Backoff { retries: 3, first: Duration::from_millis(100), most: Duration::from_millis(300) };
        let done = block_on(with_backoff(&backoff, &noted, "x", |n| async move { if n < 3 { Err(Error::unavailable("busy")) } else { Ok(n) } }));
        assert_eq!(done.unwrap(), 3);
        assert_eq!(*noted.0.lock().unwrap(), [100, 200, 300].map(Duration::from_millis));
    }

    #[test]
    fn gives_up_and_says_how_often() {
        let noted = Noted::default();
        let backoff = Backoff { retries: 2, ..Backoff::default() };
        let e = block_on(with_backoff(&backoff, &noted, "x", |_| async { Err::<(), _>(Error::unavailable("busy")) })).unwrap_err();
        assert_eq!(e.contexts(), [("tries", "3".to_owned())]);
        assert_eq!(noted.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again_and_what_the_remote_asks_is_honoured() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(0, Retry::Never, 0.5), None);
        assert_eq!(backoff.pause(0, Retry::After(3000), 0.0), Some(Duration::from_secs(3)));
        assert_eq!(backoff.pause(0, Retry::After(3_600_000), 0.0), None);
        assert_eq!(backoff.pause(5, Retry::Backoff, 0.0), None);
        assert_eq!(backoff.pause(4, Retry::Backoff, 1.0), Some(Duration::from_millis(3200)));
        let noted = Noted::default();
        let e = block_on(with_backoff(&backoff, &noted, "x", |_| async { Err::<(), _>(Error::new(ErrorKind::Permission, "no")) })).unwrap_err();
        assert!(e.contexts().is_empty() && noted.0.lock().unwrap().is_empty());
    }

    #[test]
    fn chance_is_between_zero_and_one() {
        assert!((0..100).map(|_| TokioSleeper.jitter()).all(|j| (0.0..1.0).contains(&j)));
    }
}
