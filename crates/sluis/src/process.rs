//! This process, as a lease names it; and its signals.
//!
//! Deliberately not here: what a stop means (the engine's).

use std::time::Duration;

use sluis_engine::Stop;

use crate::print;

/// How long a run may take to end after it was asked to stop; then it is abandoned where it is, which costs nothing but its unfinished epoch.
pub const GRACE: Duration = Duration::from_millis(800);
/// Exit code of a second Ctrl-C: as shells have it for SIGINT.
const AT_ONCE: i32 = 130;

/// From now on SIGINT and SIGTERM stop what holds `stop`; a second one ends the process at once. To be called in a runtime.
pub fn stop_on_signals(stop: &Stop, quiet: bool) {
    let stop = stop.clone();
    tokio::spawn(async move {
        if !signal().await {
            return;
        }
        if !quiet {
            print::err("stopping: what is not committed is left for the next run; Ctrl-C again ends at once\n");
        }
        stop.stop();
        signal().await;
        std::process::exit(AT_ONCE);
    });
}

/// The next SIGINT or SIGTERM. False: this system gives none.
async fn signal() -> bool {
    #[cfg(unix)]
    {
        let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return false };
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.is_ok(),
            _ = term.recv() => true,
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
