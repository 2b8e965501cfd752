//! Blocks of one file decoded side by side and delivered in the file's order, in bounded memory.
//!
//! Deliberately not here: how a file is cut into blocks, how a block is decoded: both are parameters.
//! Guarantees: order; at most `threads` blocks decoding and `threads` waiting; a panic of a decoder is an error of the stream, never a
//! silent end; after an error nothing more comes.

use std::future::Future;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Decoded, Error, Result};

/// Blocks up to this many bytes are decoded where they are: handing them to a thread costs more.
const SMALL: usize = 64 * 1024;
/// Files from this many bytes on are driven by a task of their own, so that reading goes on while the consumer works.
pub const LARGE: u64 = 4 << 20;

/// Cuts a file into blocks that can be decoded on their own.
pub trait Cutter: Send + 'static {
    type Block: Send + 'static;
    /// The next block; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Block>>> + Send;
    /// The block's size, which decides where it is decoded.
    fn size(block: &Self::Block) -> usize;
}

/// Runs `decode` over the blocks of `cutter`. `large`: whether the file is worth a task of its own.
pub fn decode_in_order<C, F>(cutter: C, threads: usize, large: bool, decode: F) -> BoxStream<'static, Result<Decoded>>
where
    C: Cutter,
    F: Fn(C::Block) -> Result<Decoded> + Send + Sync + 'static,
{
    let threads = threads.max(1);
    let decode = Arc::new(decode);
    let blocks = stream::unfold(Some(cutter), |cutter| async {
        let mut cutter = cutter?;
        match cutter.next().await {
            Ok(Some(block)) => Some((Ok(block), Some(cutter))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    });
    let decoded = blocks
        .map(move |block| {
            let decode = decode.clone();
            async move {
                let block = block?;
                if C::size(&block) <= SMALL {
                    return decode(block);
                }
                // Spawned on the first poll, which `buffered` does as soon as there is room.
                tokio::task::spawn_blocking(move || decode(block)).await.map_err(|e| Error::internal("a decoder panicked").source(e))?
            }
        })
        .buffered(threads);
    let decoded = until_error(decoded);
    if large { driven(decoded, threads) } else { decoded }
}

/// Ends a stream after its first error.
fn until_error(inner: impl futures::Stream<Item = Result<Decoded>> + Send + 'static) -> BoxStream<'static, Result<Decoded>> {
    inner
        .scan(false, |failed, item| {
            let go_on = !*failed;
            *failed = item.is_err();
            std::future::ready(go_on.then_some(item))
        })
        .boxed()
}

/// Moves the stream into a task that works ahead of the consumer.
fn driven(mut inner: BoxStream<'static, Result<Decoded>>, ahead: usize) -> BoxStream<'static, Result<Decoded>> {
    let (to, from) = tokio::sync::mpsc::channel(ahead);
    let task = tokio::spawn(async move {
        while let Some(item) = inner.next().await {
            if to.send(item).await.is_err() {
                break;
            }
        }
    });
    stream::unfold((from, Some(Abort(task))), |(mut from, mut task)| async move {
        if let Some(item) = from.recv().await {
            return Some((item, (from, task)));
        }
        // The channel is closed: by the end of the file, or because the task died.
        let ended = task.take()?.ended().await;
        ended.err().map(|e| (Err(Error::internal("reading a file panicked").source(e)), (from, None)))
    })
    .boxed()
}

/// Stops the task when the consumer goes away.
struct Abort(tokio::task::JoinHandle<()>);

impl Abort {
    async fn ended(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
