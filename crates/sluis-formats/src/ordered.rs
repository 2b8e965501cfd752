//! Blocks of one file decoded side by side and delivered in the file's order, in bounded memory.
//!
//! Deliberately not here: how a file is cut into blocks, how a block is decoded: both are parameters.
//! Guarantees: order; at most `threads` blocks decoding and `threads` waiting; a panic of a decoder is an error of the stream, never a
//! silent end; after an error nothing more comes.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use sluis_core::{Decoded, Error, Result};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::{JoinError, JoinHandle};

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

/// Batches decoded ahead of the consumer, per unit.
const AHEAD: usize = 2;

/// A unit of a file that becomes any number of batches.
enum Unit {
    /// On a thread.
    Running(Receiver<Result<Decoded>>, JoinHandle<()>),
    /// Done on the spot.
    Done(VecDeque<Result<Decoded>>),
}

struct Units<C, F> {
    cutter: Option<C>,
    running: VecDeque<Unit>,
    threads: usize,
    panicked: fn(JoinError) -> Error,
    work: Arc<F>,
}

/// Like [`decode_in_order`], for units that are too large for one batch (row groups, stripes, blocks of any size): `work` gives batches one
/// by one and stops when it is answered `false`. `panicked`: what a panic of `work` means.
pub fn units_in_order<C, F>(cutter: C, threads: usize, panicked: fn(JoinError) -> Error, work: F) -> BoxStream<'static, Result<Decoded>>
where
    C: Cutter,
    F: Fn(C::Block, &mut dyn FnMut(Decoded) -> bool) -> Result<()> + Send + Sync + 'static,
{
    let units = Units { cutter: Some(cutter), running: VecDeque::new(), threads: threads.max(1), panicked, work: Arc::new(work) };
    until_error(stream::unfold(units, |mut units| async move { units.next().await.map(|item| (item, units)) }))
}

impl<C, F> Units<C, F>
where
    C: Cutter,
    F: Fn(C::Block, &mut dyn FnMut(Decoded) -> bool) -> Result<()> + Send + Sync + 'static,
{
    async fn next(&mut self) -> Option<Result<Decoded>> {
        loop {
            while self.running.len() < self.threads
                && let Some(cutter) = &mut self.cutter
            {
                match cutter.next().await {
                    Ok(Some(block)) => self.start(block),
                    Ok(None) => self.cutter = None,
                    Err(e) => {
                        self.cutter = None;
                        self.running.push_back(Unit::Done([Err(e)].into()));
                    }
                }
            }
            let item = match self.running.front_mut()? {
                Unit::Running(batches, _) => batches.recv().await,
                Unit::Done(items) => items.pop_front(),
            };
            if item.is_some() {
                return item;
            }
            if let Some(Unit::Running(_, task)) = self.running.pop_front()
                && let Err(e) = task.await
            {
                return Some(Err((self.panicked)(e)));
            }
        }
    }

    fn start(&mut self, block: C::Block) {
        let work = self.work.clone();
        if C::size(&block) <= SMALL {
            let mut items = VecDeque::new();
            let result = work(block, &mut |d| {
                items.push_back(Ok(d));
                true
            });
            items.extend(result.err().map(Err));
            self.running.push_back(Unit::Done(items));
            return;
        }
        let (to, batches) = channel(AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            if let Err(e) = work(block, &mut |d| to.blocking_send(Ok(d)).is_ok()) {
                // Nobody listens any more: nothing to say.
                let _ = to.blocking_send(Err(e));
            }
        });
        self.running.push_back(Unit::Running(batches, task));
    }
}

/// Ends a stream after its first error.
pub fn until_error(inner: impl futures::Stream<Item = Result<Decoded>> + Send + 'static) -> BoxStream<'static, Result<Decoded>> {
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
