//! Reading objects: whole ones in ranges that are under way at once, single ranges, always of one version.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::Method;
use sluis_core::{Error, ErrorKind, FileVersion, Result};

use super::client::{Call, Client};
use super::xml;
use crate::web::{Answer, last_modified};

/// Large objects are read in ranges of this size, so many of them at once.
const RANGE: u64 = 8 << 20;
pub(super) const AT_ONCE: usize = 4;

/// The whole object as a stream: of a large one, some ranges are under way at once.
pub(super) async fn whole(client: &Arc<Client>, key: String, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
    let etag = expect.and_then(|e| e.etag.as_deref());
    // Of an empty object no range can be asked for.
    let range = (expect.map(|e| e.size) != Some(0)).then_some(0..RANGE);
    let mut first = get(client, &key, range, etag).await?;
    if first.status == 416 {
        first = get(client, &key, None, etag).await?;
    }
    let whole = judge(client, &key, &first, expect)?;
    let etag = first.header("etag").map(xml::etag);
    let had = first.body.len() as u64;
    let first = stream::iter((!first.body.is_empty()).then_some(Ok(first.body)));
    if had >= whole {
        return Ok(first.boxed());
    }
    let client = client.clone();
    let rest = (had..whole).step_by(RANGE as usize).map(move |at| at..whole.min(at + RANGE));
    let rest = stream::iter(rest).map(move |range| {
        // In a task: it goes on while the reader is busy with what came before.
        let task = tokio::spawn(next_range(client.clone(), key.clone(), range, etag.clone()));
        Aborted(task)
    });
    Ok(first.chain(rest.buffered(AT_ONCE)).boxed())
}

/// One range, exactly.
pub(super) async fn range(client: &Client, key: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
    if range.start >= range.end {
        return Ok(Bytes::new());
    }
    let answer = get(client, key, Some(range.clone()), expect.and_then(|e| e.etag.as_deref())).await?;
    if answer.status != 416 {
        judge(client, key, &answer, expect)?;
    }
    if answer.status == 206 && answer.body.len() as u64 == range.end - range.start {
        return Ok(answer.body);
    }
    if answer.status == 200 && answer.body.len() as u64 >= range.end {
        return Ok(answer.body.slice(range.start as usize..range.end as usize));
    }
    Err(Error::new(
        ErrorKind::CorruptInput,
        format!("s3://{}/{key} is shorter than asked for: {}..{} is not in it", client.bucket, range.start, range.end),
    ))
}

/// A GET, of a range or of the whole, under the condition of an etag. Statuses 200, 206, 404, 412, 416 are the caller's to judge.
async fn get(client: &Client, key: &str, range: Option<Range<u64>>, etag: Option<&str>) -> Result<Answer> {
    let mut call = Call::new(Method::GET, key);
    if let Some(range) = range {
        call = call.header("range", format!("bytes={}-{}", range.start, range.end - 1));
    }
    if let Some(etag) = etag {
        call = call.header("if-match", format!("\"{etag}\""));
    }
    let answer = client.call("read", &call).await?;
    let bucket_missing = answer.status == 404 && xml::error(&answer.body).is_some_and(|e| e.code == "NoSuchBucket");
    if matches!(answer.status, 200 | 206 | 404 | 412 | 416) && !bucket_missing { Ok(answer) } else { Err(client.refused("read", key, &answer)) }
}

fn changed(client: &Client, key: &str, how: &str) -> Error {
    Error::new(ErrorKind::SourceChanged, format!("s3://{}/{key} {how}", client.bucket))
}

/// Turns what is not the expected version into an error; gives the size of the whole object.
fn judge(client: &Client, key: &str, answer: &Answer, expect: Option<&FileVersion>) -> Result<u64> {
    match answer.status {
        404 if expect.is_none() => return Err(Error::not_found(format!("s3://{}/{key} does not exist", client.bucket))),
        404 => return Err(changed(client, key, "vanished")),
        412 => return Err(changed(client, key, "changed")),
        _ => {}
    }
    let whole = match answer.header("content-range").and_then(|r| r.rsplit_once('/')) {
        Some((_, total)) => total.parse().map_err(|_| Error::unavailable("the S3 server does not say how large the object is"))?,
        None => answer.body.len() as u64,
    };
    let Some(expect) = expect else { return Ok(whole) };
    // A server that does not know the condition has sent what it has.
    let same = match (&expect.etag, answer.header("etag")) {
        (Some(expected), Some(is)) => *expected == xml::etag(is),
        (Some(_), None) => false,
        (None, _) => expect.modified.is_none_or(|at| last_modified(&answer.headers).is_some_and(|is| is.timestamp() == at.timestamp())),
    };
    if same && whole == expect.size { Ok(whole) } else { Err(changed(client, key, "changed")) }
}

async fn next_range(client: Arc<Client>, key: String, range: Range<u64>, etag: Option<String>) -> Result<Bytes> {
    let answer = get(&client, &key, Some(range.clone()), etag.as_deref()).await?;
    let same = etag.is_none() || answer.header("etag").map(xml::etag) == etag;
    if answer.status == 206 && same && answer.body.len() as u64 == range.end - range.start {
        Ok(answer.body)
    } else {
        Err(changed(&client, &key, "changed while it was read"))
    }
}

/// A task that ends when nobody waits for it any more.
struct Aborted(tokio::task::JoinHandle<Result<Bytes>>);

impl Future for Aborted {
    type Output = Result<Bytes>;
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|done| match done {
            Ok(result) => result,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::new(ErrorKind::Interrupted, "the program is stopping")),
        })
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}
