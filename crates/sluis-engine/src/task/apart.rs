//! Work on another thread, or here.
//!
//! Guarantees: dropping the future ends the work; a panic is an error.

use std::future::Future;

use futures::FutureExt;
use futures::future::BoxFuture;
use sluis_core::{Error, Result, blocking};

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
    begin_on(tokio::spawn(work))
}

/// Likewise, on a thread that may block: for work that is made of many small blocking steps.
pub fn begin_blocking<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> BoxFuture<'static, Result<T>> {
    let runtime = tokio::runtime::Handle::current();
    begin_on(tokio::task::spawn_blocking(move || blocking::allow(|| runtime.block_on(work))))
}

fn begin_on<T: Send + 'static>(task: tokio::task::JoinHandle<Result<T>>) -> BoxFuture<'static, Result<T>> {
    let mut task = Apart(task);
    async move { (&mut task.0).await.map_err(|e| Error::internal("a part of a task panicked").source(e))? }.boxed()
}
