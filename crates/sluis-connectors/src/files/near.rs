//! Small pieces of I/O about many files: on this machine by the chunk, on a thread that may block; elsewhere many at a time.
//!
//! Handing a look at one local file to another thread costs more than the look. Deliberately not here: what is asked.
//! Guarantees: answers in the order of the questions; the first error ends it.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use sluis_core::{Error, Result, blocking};
use sluis_storage::StorageRef;

/// Requests at once, where each is one to another machine.
const FAR_AT_ONCE: usize = 16;
/// Local files that one thread takes at once.
const CHUNK: usize = 64;
/// Threads that do so at a time.
const THREADS: usize = 4;

/// Whether storage is a folder of this machine.
pub fn is_near(storage: &StorageRef) -> bool {
    !storage.root().contains("://")
}

/// Asks `ask` about each item. `near`: all of them are of this machine.
///
/// # Errors
/// The first one of `ask`.
pub async fn each<T: Send + 'static, R: Send + 'static>(
    near: bool,
    items: Vec<T>,
    ask: impl Fn(T) -> BoxFuture<'static, Result<R>> + Clone + Send + 'static,
) -> Result<Vec<R>> {
    if !near || items.len() < 2 {
        let asked: Vec<_> = items.into_iter().map(ask).collect();
        return stream::iter(asked).buffered(FAR_AT_ONCE).try_collect().await;
    }
    let runtime = tokio::runtime::Handle::current();
    let size = items.len().div_ceil(THREADS).clamp(1, CHUNK);
    let mut answers: Vec<BoxFuture<'static, Result<Vec<R>>>> = Vec::with_capacity(items.len() / size + 1);
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let (chunk, ask, runtime) = (items.by_ref().take(size).collect(), ask.clone(), runtime.clone());
        let done = async move { tokio::task::spawn_blocking(move || blocking::allow(|| runtime.block_on(one_by_one(chunk, ask)))).await };
        answers.push(done.map(|joined| joined.map_err(|e| Error::internal("a look at files panicked").source(e))?).boxed());
    }
    let answers: Vec<Vec<R>> = stream::iter(answers).buffered(THREADS).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn one_by_one<T, R>(items: Vec<T>, ask: impl Fn(T) -> BoxFuture<'static, Result<R>>) -> Result<Vec<R>> {
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        answers.push(ask(item).await?);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluis_core::ErrorKind;

    #[tokio::test]
    async fn answers_come_in_order_near_and_far() {
        for near in [true, false] {
            for n in [0_u64, 1, 2, 63, 64, 65, 1000] {
                let ask = move |i: u64| -> BoxFuture<'static, Result<u64>> {
                    Box::pin(async move {
                        assert_eq!(blocking::allowed(), near && n > 1);
                        Ok(i * 2)
                    })
                };
                let answers = each(near, (0..n).collect(), ask).await.unwrap();
                assert_eq!(answers, (0..n).map(|i| i * 2).collect::<Vec<_>>());
            }
            let ask =
                |i: u64| -> BoxFuture<'static, Result<u64>> { Box::pin(async move { if i == 700 { Err(Error::not_found("700")) } else { Ok(i) } }) };
            assert_eq!(each(near, (0..1000).collect(), ask).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}
