//! Work on another thread, or here.
//!
//! Guarantees: dropping the future ends the work; a panic is an error.

use std::future::Future;

use futures::FutureExt;
use futures::future::BoxFuture;
use sluis_core::{Error, Result};

struct Apart<T>(tokio::task::JoinHandle<Result<T>>);

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the work at once on some thread if `apart`; else it is done where the future is polled.
pub fn begin<T: Send + 'static>(apart: bool, work: impl Future<Output = Result<T>> + Send + 'static) -> BoxFuture<'static, Result<T>> {
    if !apart {
        return work.boxed();
    }
    let mut task = Apart(tokio::spawn(work));
    async move { (&mut task.0).await.map_err(|e| Error::internal("a part of a task panicked").source(e))? }.boxed()
}
