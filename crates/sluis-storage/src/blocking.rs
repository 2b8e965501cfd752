//! Work away from the async threads: what reads and writes disks, encodes, or waits.
//!
//! Deliberately not here: which threads may block (`sluis_core::blocking`).

use sluis_core::{Error, ErrorKind, Result};

/// Runs work away from the async threads; in place where there is no tokio (the simulator), or where the thread may block.
///
/// # Errors
/// `ErrorKind::Interrupted`: the program is ending. A panic of the work goes on.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if sluis_core::blocking::allowed() {
        return Ok(work());
    }
    match tokio::runtime::Handle::try_current() {
        Err(_) => Ok(work()),
        Ok(handle) => match handle.spawn_blocking(work).await {
            Ok(done) => Ok(done),
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::new(ErrorKind::Interrupted, "the program is stopping")),
        },
    }
}
