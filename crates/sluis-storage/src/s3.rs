//! S3 and what speaks it: a bucket, or a prefix in one.
//!
//! Staged on Amazon S3 = a multipart upload whose parts are all there and which is not completed; published = completed, which is one step.
//! What fits one part is staged as a hidden object, `_sluis/<scope>/<name>.staged`, and published by writing it to its place, if nothing is
//! there: that can be done again whatever became of the first try. On other servers what is larger is staged so, too, and published by a copy
//! that the server makes: MinIO loses the parts of an upload whose completion is cut off in the middle (its client dies), and with them rows
//! that the ledger says are staged. A copy carries the name of what it was staged as in its metadata, so that a repeated one knows itself.
//! A marker object `_sluis/<scope>/<name>.upload` that names the target is written before an upload is begun, so that `sweep` finds
//! every upload that was ever begun, also one whose beginner died before it could note its id. `sweep` removes the markers.
//! Deliberately not here: versions of objects, bucket administration.

mod client;
mod credentials;
mod list;
mod profile;
mod read;
mod sts;
mod sweep;
mod upload;
pub(crate) mod xml;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::Method;
use sluis_core::{Error, ErrorKind, FileVersion, Result, Retry};

use self::client::{Call, Client, encoded};
use self::list::Lister;
use self::upload::{Gather, Upload};
use crate::connection::{Environment, S3Connection};
use crate::local::HIDDEN;
use crate::retry::{Backoff, Sleeper, TokioSleeper, with_backoff};
use crate::web::{Answer, Web, WebOptions, is_local, last_modified};
use crate::{Entry, IfExists, Published, StagedFile, StagedWriter, Staging, Storage};

/// The largest object that one copy request takes.
const LARGEST_COPY: u64 = 5 << 30;
/// The server that is known to complete an upload whatever becomes of the client, as it names itself.
const COMPLETES_WHOLE: &str = "AmazonS3";

/// A bucket, or a prefix in one.
#[derive(Debug, Clone)]
pub struct S3Storage {
    client: Arc<Client>,
    /// Without a `/` at its ends; may be empty.
    prefix: String,
    root: String,
    largest_copy: u64,
    hides: Hides,
}

/// What is staged as a hidden object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hides {
    /// What fits one part; and what does not, where a completion that is cut off may lose it.
    AsNeeded,
    /// For tests of uploads: nothing.
    #[cfg(test)]
    Nothing,
}

impl S3Storage {
    /// Sets up the client; contacts nobody.
    ///
    /// # Errors
    /// `ErrorKind::Config`: an endpoint that is no URL, a profile or CA file that does not exist, keys that do not fit together.
    pub fn connect(settings: &S3Connection, bucket: &str, prefix: &str, environment: &Environment) -> Result<S3Storage> {
        Self::connect_with(settings, bucket, prefix, environment, Arc::new(TokioSleeper))
    }

    /// [`S3Storage::connect`] with the pauses between tries made by `sleeper`.
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(
        settings: &S3Connection,
        bucket: &str,
        prefix: &str,
        environment: &Environment,
        sleeper: Arc<dyn Sleeper>,
    ) -> Result<S3Storage> {
        let allowed = environment.get("AWS_ALLOW_HTTP").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let settings = &S3Connection { allow_http: settings.allow_http || allowed, ..settings.clone() };
        if let Some(problem) = settings.problems().into_iter().next() {
            let error = Error::config(format!("S3 connection: {}", problem.message));
            return Err(match problem.hint {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        let prefix = prefix.trim_matches('/');
        crate::check_path(prefix)?;
        let found = credentials::find(settings, environment, sleeper.clone())?;
        let path_style = settings.path_style.unwrap_or(found.endpoint.is_some());
        let endpoint = found.endpoint.unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", found.region));
        let url = settings.endpoint_url(&endpoint)?;
        // A bucket's dots are not covered by the certificate of `*.s3.…`.
        let in_path = path_style || (bucket.contains('.') && url.scheme() == "https");
        let base = endpoint.trim_end_matches('/');
        let bucket_url = match base.split_once("://") {
            Some((scheme, host)) if !in_path => format!("{scheme}://{bucket}.{host}"),
            _ => format!("{base}/{}", encoded(bucket)),
        };
        let web = Web::new(&WebOptions {
            ca_file: settings.ca_file.clone().or_else(|| environment.get("AWS_CA_BUNDLE").map(Into::into)),
            timeout: settings.timeout.map_or(Duration::from_secs(30), |t| t.0),
            local: url.host_str().is_some_and(is_local),
            same_host: true,
            ..WebOptions::default()
        })?;
        let root = if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
        let backoff = Backoff { retries: settings.retries.unwrap_or(6), ..Backoff::default() };
        let client = Client {
            web,
            credentials: found.credentials,
            region: found.region,
            url: bucket_url,
            bucket: bucket.to_owned(),
            backoff,
            sleeper,
            server: Default::default(),
        };
        Ok(S3Storage { client: Arc::new(client), prefix: prefix.to_owned(), root, largest_copy: LARGEST_COPY, hides: Hides::AsNeeded })
    }

    /// The key of a path.
    fn key(&self, path: &str) -> Result<String> {
        crate::check_path(path)?;
        Ok(if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) })
    }

    /// The key prefix of a folder: ends with `/`, or is empty.
    fn folder(&self, path: &str) -> Result<String> {
        let key = self.key(path.trim_end_matches('/'))?;
        Ok(if key.is_empty() || key.ends_with('/') { key } else { format!("{key}/") })
    }

    fn lister(&self, prefix: String, delimited: bool, start_after: Option<String>) -> Lister {
        let below = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        Lister { client: self.client.clone(), prefix, delimited, start_after, token: None, below, done: false }
    }

    async fn head_key(&self, key: &str) -> Result<Option<Head>> {
        let answer = self.client.call("look at", &Call::new(Method::HEAD, key)).await?;
        match answer.status {
            200 => Ok(Some(Head::of(&answer)?)),
            404 => Ok(None),
            _ => Err(self.client.refused("look at", key, &answer)),
        }
    }

    /// Whether what does not fit one part is staged as a hidden object, too.
    async fn hides_large(&self) -> Result<bool> {
        if self.hides != Hides::AsNeeded {
            return Ok(false);
        }
        if self.client.server.get().is_none() {
            // Whatever it answers, it says who it is.
            self.client.call("look at", &Call::new(Method::HEAD, &self.key(HIDDEN)?)).await?;
        }
        Ok(self.client.server.get().is_none_or(|server| server != COMPLETES_WHOLE))
    }

    /// What a repeated or refused completion finds: is what is there what was staged?
    async fn published_before(&self, key: &str, size: u64, etag: Option<&str>) -> Result<Published> {
        let place = format!("s3://{}/{key}", self.client.bucket);
        match self.head_key(key).await? {
            Some(head) if head.is(size, etag) => Ok(Published::Before),
            Some(_) => Err(Error::new(ErrorKind::Conflict, format!("{place} exists and holds something else"))
                .hint("the target was changed by someone else; move that object away, or choose another name for the output")),
            None => Err(Error::new(ErrorKind::Conflict, format!("the staged upload of {place} is gone, and so is its target"))
                .hint("somebody aborted the upload (a lifecycle rule of the bucket?) or removed the published object")
                .retry(Retry::Backoff)),
        }
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[String], new: bool) -> Result<Completed> {
        let mut answer = upload::complete(&self.client, key, upload, parts, new).await?;
        if new && answer.status == 501 {
            // The server does not know the condition; that nothing was there was looked at just before.
            answer = upload::complete(&self.client, key, upload, parts, false).await?;
        }
        let code = xml::error(&answer.body).map(|e| e.code);
        match (answer.status, code.as_deref()) {
            // Not taken on trust from the status: an answer without an etag is no acknowledgement.
            (200, None) if xml::parse::<xml::Joined>("completing an upload", &answer.body)?.etag.is_some() => Ok(Completed::Now),
            (412, _) => Ok(Completed::Taken),
            _ if upload::no_such_upload(&answer) => Ok(Completed::NoUpload),
            (_, Some("InvalidPart" | "InvalidPartOrder")) if self.head_key(key).await?.is_some() => Ok(Completed::NoUpload),
            (_, Some("InvalidPart" | "InvalidPartOrder")) => {
                Err(Error::new(ErrorKind::Conflict, format!("parts of the staged upload of s3://{}/{key} are gone", self.client.bucket))
                    .retry(Retry::Backoff))
            }
            _ => Err(self.client.refused("complete the upload of", key, &answer)),
        }
    }

    async fn copy(&self, from: &str, to: &str, head: &Head) -> Result<()> {
        let source = format!("{}/{}", encoded(&self.client.bucket), encoded(from));
        if head.size > self.largest_copy {
            return self.copy_parts(&source, to, head).await;
        }
        let mut call = Call::new(Method::PUT, to).header("x-amz-copy-source", source).patience(upload::JOINING);
        if let Some(etag) = &head.etag {
            call = call.header("x-amz-copy-source-if-match", format!("\"{etag}\""));
        }
        let answer = self.client.call("copy to", &call).await?;
        if answer.status == 200 && xml::error(&answer.body).is_none() { Ok(()) } else { Err(self.client.refused("copy to", to, &answer)) }
    }

    async fn copy_parts(&self, source: &str, to: &str, head: &Head) -> Result<()> {
        let upload = Upload::begin(self.client.clone(), to.to_owned(), head.staged.as_deref()).await?;
        let size = (self.largest_copy / 5).max(head.size.div_ceil(10_000));
        let ranges: Vec<_> = (0..head.size).step_by(size as usize).map(|at| (at, head.size.min(at + size) - 1)).collect();
        let parts = stream::iter(ranges.into_iter().enumerate()).map(|(i, (from, to_byte))| {
            let call = Call::new(Method::PUT, to)
                .query("partNumber", (i + 1).to_string())
                .query("uploadId", upload.id.clone())
                .header("x-amz-copy-source", source)
                .header("x-amz-copy-source-range", format!("bytes={from}-{to_byte}"))
                .patience(upload::JOINING);
            async move {
                let answer = self.client.call("copy to", &call).await?;
                if answer.status != 200 || xml::error(&answer.body).is_some() {
                    return Err(self.client.refused("copy to", to, &answer));
                }
                Ok(xml::etag(&xml::parse::<xml::CopiedPart>("copying a part", &answer.body)?.etag))
            }
        });
        let copied = parts.buffered(read::AT_ONCE).try_collect::<Vec<_>>().await;
        let done = match copied {
            Ok(parts) => self.complete(to, &upload.id, &parts, false).await,
            Err(e) => Err(e),
        };
        match done {
            // Completed by a try whose answer was lost.
            Ok(Completed::Now | Completed::NoUpload) => Ok(()),
            Ok(Completed::Taken) => Err(Error::internal("an unconditional completion was refused by a condition")),
            Err(e) => {
                let _ = sweep::abort(&self.client, to, &upload.id).await;
                Err(e)
            }
        }
    }
}

enum Completed {
    Now,
    Taken,
    NoUpload,
}

/// What a HEAD says.
struct Head {
    size: u64,
    etag: Option<String>,
    /// What it was staged as, if it was.
    staged: Option<String>,
    modified: Option<chrono::DateTime<chrono::Utc>>,
}

impl Head {
    fn of(answer: &Answer) -> Result<Head> {
        let size = answer.header("content-length").and_then(|n| n.parse().ok());
        Ok(Head {
            size: size.ok_or_else(|| Error::unavailable("the S3 server does not say how large the object is"))?,
            etag: answer.header("etag").map(xml::etag),
            staged: answer.header(upload::STAGED_AS).map(str::to_owned),
            modified: last_modified(&answer.headers),
        })
    }
    fn is(&self, size: u64, etag: Option<&str>) -> bool {
        self.size == size && etag.is_none_or(|etag| self.etag.as_deref() == Some(etag))
    }
}

#[async_trait]
impl Storage for S3Storage {
    fn root(&self) -> &str {
        &self.root
    }

    fn list(&self, prefix: &str, start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        let folder = self.folder(prefix);
        // Only compared, never opened: it need not be a proper path.
        let after = start_after.map(|path| if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) });
        let lister = match folder {
            Ok(folder) => self.lister(folder, false, after),
            Err(e) => return stream::iter([Err(e)]).boxed(),
        };
        stream::try_unfold((lister, VecDeque::new()), |(mut lister, mut page): (Lister, VecDeque<Entry>)| async move {
            loop {
                if let Some(entry) = page.pop_front() {
                    return Ok(Some((entry, (lister, page))));
                }
                match lister.next().await? {
                    Some((files, _)) => page = files.into(),
                    None => return Ok(None),
                }
            }
        })
        .boxed()
    }

    fn sorted(&self) -> bool {
        true
    }

    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        let mut lister = self.lister(self.folder(prefix)?, true, None);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        while let Some((more_files, more_folders)) = lister.next().await? {
            files.extend(more_files);
            folders.extend(more_folders);
        }
        Ok((files, folders))
    }

    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        if path.is_empty() || path.ends_with('/') {
            return Ok(None);
        }
        let head = self.head_key(&self.key(path)?).await?;
        Ok(head.map(|h| Entry { path: path.to_owned(), size: h.size, modified: h.modified, etag: h.etag }))
    }

    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let key = self.key(path)?;
        read::whole(&self.client, key, expect).await
    }

    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
        let key = self.key(path)?;
        read::range(&self.client, &key, range, expect).await
    }

    async fn stage(&self, target: &str, scope: &str, name: &str) -> Result<Box<dyn StagedWriter>> {
        let place = format!("{HIDDEN}/{}/{name}", scope.trim_matches('/'));
        let marker = self.key(&format!("{place}{}", sweep::MARKER))?;
        Ok(Box::new(Writer {
            storage: self.clone(),
            key: self.key(target)?,
            target: target.to_owned(),
            marker: Some(marker),
            hidden: Some(format!("{place}{}", sweep::STAGED)).filter(|_| self.hides == Hides::AsNeeded),
            gather: Gather::new(),
            upload: None,
        }))
    }

    async fn publish(&self, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        let (upload, parts, etag) = match &file.staging {
            Staging::Hidden { path } => return self.publish_hidden(path, file, if_exists).await,
            Staging::Multipart { upload, parts, etag } => (upload, parts, etag),
        };
        let key = self.key(&file.target)?;
        let new = if_exists == IfExists::Fail;
        // Looked at first because some servers ignore the condition of the completion.
        if new && self.head_key(&key).await?.is_some() {
            return self.published_before(&key, file.size, etag.as_deref()).await;
        }
        // A request that was cut off may still be at work in the server: parts or the upload are gone then, and the object comes. So what
        // looks lost is looked at a few times.
        let publish = |_| async {
            match self.complete(&key, upload, parts, new).await? {
                Completed::Now => Ok(Published::Now),
                Completed::Taken | Completed::NoUpload => {
                    let before = self.published_before(&key, file.size, etag.as_deref()).await;
                    // The object that is to be replaced may still be there.
                    before.map_err(|e| if e.kind() == ErrorKind::Conflict && !new { e.retry(Retry::Backoff) } else { e })
                }
            }
        };
        let done = with_backoff(&self.client.backoff, self.client.sleeper.as_ref(), "publish", publish).await;
        done.map_err(|e| if e.kind() == ErrorKind::Conflict { e.retry(Retry::Never) } else { e })
    }

    async fn sweep(&self, scope_prefix: &str, keep: &[StagedFile]) -> Result<u64> {
        sweep::sweep(self, scope_prefix, keep).await
    }

    async fn put(&self, path: &str, bytes: Bytes, if_exists: IfExists) -> Result<()> {
        let key = self.key(path)?;
        let call = Call::new(Method::PUT, &key).body(bytes.clone());
        let answer = match if_exists {
            IfExists::Replace => self.client.call("write", &call).await?,
            IfExists::Fail => {
                let answer = self.client.call("write", &call.clone().header("if-none-match", "*")).await?;
                match answer.status {
                    501 if self.head_key(&key).await?.is_none() => self.client.call("write", &call).await?,
                    412 | 501 => return self.already(path, &bytes).await,
                    _ => answer,
                }
            }
        };
        if answer.status == 200 { Ok(()) } else { Err(self.client.refused("write", &key, &answer)) }
    }

    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>> {
        let key = self.key(path)?;
        Ok(Box::new(Writer { storage: self.clone(), key, target: path.to_owned(), marker: None, hidden: None, gather: Gather::new(), upload: None }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.key(from)?, self.key(to)?);
        match self.head_key(&from).await? {
            Some(head) => self.copy(&from, &to, &head).await?,
            None if self.head_key(&to).await?.is_some() => return Ok(()),
            None => return Err(Error::not_found(format!("s3://{}/{from} does not exist", self.client.bucket))),
        }
        sweep::delete(&self.client, &from).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        sweep::delete(&self.client, &self.key(path)?).await
    }
}

impl S3Storage {
    /// Brings a hidden object to its place; then it goes.
    async fn publish_hidden(&self, hidden: &str, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        if file.size >= upload::PART as u64 {
            return self.publish_copy(hidden, file, if_exists).await;
        }
        let bytes = match crate::read_all(self, hidden, None).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let before = self.published_before(&self.key(&file.target)?, file.size, None).await;
                return before.map_err(|e| e.retry(Retry::Never));
            }
            Err(e) => return Err(e),
        };
        if bytes.len() as u64 != file.size {
            return Err(self.tampered(hidden, bytes.len() as u64, file.size));
        }
        let before = if_exists == IfExists::Fail && self.head(&file.target).await?.is_some();
        self.put(&file.target, bytes, if_exists)
            .await
            .map_err(|e| e.hint("the target was changed by someone else; move that object away, or choose another name for the output"))?;
        sweep::delete(&self.client, &self.key(hidden)?).await?;
        Ok(if before { Published::Before } else { Published::Now })
    }

    /// Lets the server copy a hidden object to its place; then it goes.
    async fn publish_copy(&self, hidden: &str, file: &StagedFile, if_exists: IfExists) -> Result<Published> {
        let (from, to) = (self.key(hidden)?, self.key(&file.target)?);
        let is_ours = |head: &Head| head.size == file.size && head.staged.as_deref() == Some(encoded(hidden).as_str());
        let taken = || {
            let message = format!("{} exists and holds something else", self.address(&file.target));
            Error::new(ErrorKind::Conflict, message)
                .hint("the target was changed by someone else; move that object away, or choose another name for the output")
        };
        let Some(staged) = self.head_key(&from).await? else {
            return match self.head_key(&to).await? {
                Some(there) if is_ours(&there) => Ok(Published::Before),
                Some(_) => Err(taken()),
                None => Err(Error::new(ErrorKind::Conflict, format!("{} is gone, and its target is not there", self.address(hidden)))
                    .hint("somebody removed a staged object, or the published one")),
            };
        };
        if staged.size != file.size {
            return Err(self.tampered(hidden, staged.size, file.size));
        }
        let published = match self.head_key(&to).await? {
            Some(there) if is_ours(&there) => Published::Before,
            Some(_) if if_exists == IfExists::Fail => return Err(taken()),
            _ => {
                self.copy(&from, &to, &staged).await?;
                // Servers do not make a copy depend on what is there: of two that come at once the later one stands.
                if !self.head_key(&to).await?.is_some_and(|there| is_ours(&there)) {
                    return Err(taken());
                }
                Published::Now
            }
        };
        sweep::delete(&self.client, &from).await?;
        Ok(published)
    }

    fn tampered(&self, hidden: &str, size: u64, staged: u64) -> Error {
        let message = format!("{} has {size} bytes where {staged} were staged", self.address(hidden));
        Error::new(ErrorKind::Conflict, message).hint("somebody changed a staged file; the epoch cannot be committed from it")
    }

    /// A put was refused because there is something: was it we, in a try whose answer was lost?
    async fn already(&self, path: &str, bytes: &Bytes) -> Result<()> {
        let same = match self.head(path).await? {
            Some(there) if there.size == bytes.len() as u64 => crate::read_all(self, path, None).await? == *bytes,
            _ => false,
        };
        if same { Ok(()) } else { Err(Error::new(ErrorKind::Conflict, format!("{} exists and holds something else", self.address(path)))) }
    }
}

/// Writes an object: staged (with a marker), or at its place.
struct Writer {
    storage: S3Storage,
    key: String,
    target: String,
    marker: Option<String>,
    /// Where it is staged if it is small, or hidden whatever its size.
    hidden: Option<String>,
    gather: Gather,
    upload: Option<Upload>,
}

impl Writer {
    async fn upload(&mut self) -> Result<&mut Upload> {
        if self.upload.is_none() {
            if self.hidden.is_some() && !self.storage.hides_large().await? {
                self.hidden = None;
            }
            if let Some(hidden) = &self.hidden {
                self.key = self.storage.key(hidden)?;
            }
            let client = &self.storage.client;
            if let Some(marker) = &self.marker {
                sweep::mark(client, marker, &self.key).await?;
            }
            let staged_as = self.hidden.as_ref().map(|hidden| encoded(hidden));
            self.upload = Some(Upload::begin(client.clone(), self.key.clone(), staged_as.as_deref()).await?);
        }
        self.upload.as_mut().ok_or_else(|| Error::internal("an upload was begun and is not there"))
    }
}

/// What is written at its place has no marker: a writer that is given up aborts its upload at once.
/// (One whose process dies leaves it to the bucket's lifecycle rules.)
impl Drop for Writer {
    fn drop(&mut self) {
        let (None, Some(upload), Ok(runtime)) = (&self.marker, self.upload.take(), tokio::runtime::Handle::try_current()) else { return };
        let (client, key) = (self.storage.client.clone(), std::mem::take(&mut self.key));
        runtime.spawn(async move {
            let id = upload.id.clone();
            // First the parts that are on their way, so that none arrives after the abort.
            drop(upload);
            if let Err(error) = sweep::abort(&client, &key, &id).await {
                tracing::warn!(key, %error, "an abandoned upload could not be aborted");
            }
        });
    }
}

#[async_trait]
impl StagedWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        for part in self.gather.push(bytes) {
            self.upload().await?.send(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StagedFile> {
        let (rest, size) = (self.gather.rest(), self.gather.total);
        if self.marker.is_none() && self.upload.is_none() {
            // Small: one request does it.
            self.storage.put(&self.target, rest, IfExists::Replace).await?;
            let target = std::mem::take(&mut self.target);
            return Ok(StagedFile { staging: Staging::Hidden { path: target.clone() }, target, size });
        }
        if let (None, Some(hidden)) = (&self.upload, self.hidden.clone()) {
            self.storage.put(&hidden, rest, IfExists::Replace).await?;
            return Ok(StagedFile { target: std::mem::take(&mut self.target), size, staging: Staging::Hidden { path: hidden } });
        }
        let upload = self.upload().await?;
        if !rest.is_empty() {
            upload.send(rest).await?;
        }
        let (parts, etag) = upload.settle().await?;
        let id = upload.id.clone();
        if self.marker.is_none() || self.hidden.is_some() {
            match self.storage.complete(&self.key, &id, &parts, false).await? {
                Completed::Now => {}
                Completed::Taken | Completed::NoUpload => {
                    self.storage.published_before(&self.key, size, etag.as_deref()).await?;
                }
            }
        }
        self.upload = None;
        let staging = match self.hidden.take() {
            Some(path) => Staging::Hidden { path },
            None => Staging::Multipart { upload: id, parts, etag },
        };
        Ok(StagedFile { target: std::mem::take(&mut self.target), size, staging })
    }
}

#[cfg(test)]
mod tests;
