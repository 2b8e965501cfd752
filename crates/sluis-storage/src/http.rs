//! Files of a web server, to be read: one file's URL, or a folder whose index page lists what is in it.
//!
//! A version is what the server says: etag, else size and `Last-Modified`. A download that breaks off goes on where it stopped, if the
//! version is still the same. Parts of a query that look like secrets are sent but never shown: they are in no address.
//! Deliberately not here: writing (every such call is refused), APIs, pages that a script fills.

mod index;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RANGE};
use reqwest::{Method, Response};
use sluis_core::{Error, ErrorKind, FileVersion, Result, Retry};
use url::Url;

use crate::connection::{Environment, HttpConnection};
use crate::retry::{Backoff, Sleeper, TokioSleeper, with_backoff};
use crate::s3::xml::etag;
use crate::web::{Answer, Web, WebOptions, again, is_local, last_modified, passes, text};
use crate::{Entry, IfExists, Published, StagedFile, StagedWriter, Storage};

/// The longest index page that is read.
const LONGEST_INDEX: usize = 64 << 20;
/// Files of a folder that are asked about at once.
const ASKED_AT_ONCE: usize = 16;
/// What stands as it is in a path of a URL.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'=')
    .remove(b',')
    .remove(b'+')
    .remove(b'@')
    .remove(b'!')
    .remove(b'(')
    .remove(b')');

/// A folder of a web server.
#[derive(Debug, Clone)]
pub struct HttpStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    web: Web,
    backoff: Backoff,
    sleeper: Arc<dyn Sleeper>,
    /// Ends with `/`.
    base: Url,
    root: String,
    /// The one file that was named, and its full URL: its query may be more than its path shows.
    file: Option<(String, Url)>,
}

/// What the server says about a file.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    size: Option<u64>,
    etag: Option<String>,
    modified: Option<DateTime<Utc>>,
}

impl HttpStorage {
    /// Sets up the client for a URL and says which path the URL names: empty for a folder (`…/`). Contacts nobody.
    ///
    /// # Errors
    /// `ErrorKind::Config`: no URL, or settings that do not fit.
    pub fn connect(url: &str, settings: &HttpConnection, environment: &Environment) -> Result<(HttpStorage, String)> {
        Self::connect_with(url, settings, environment, Arc::new(TokioSleeper))
    }

    /// [`HttpStorage::connect`] with the pauses between tries made by `sleeper`.
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(url: &str, settings: &HttpConnection, environment: &Environment, sleeper: Arc<dyn Sleeper>) -> Result<(HttpStorage, String)> {
        let shown = url.split(['?', '@']).next().unwrap_or_default();
        let mut url: Url = url.parse().map_err(|e| Error::config(format!("`{shown}` is not a URL")).source(e))?;
        let Some(host) = url.host_str().map(str::to_owned) else { return Err(Error::config(format!("`{shown}` names no host"))) };
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(Error::config(format!("HTTP connection: {}", problem.message)));
        }
        let headers = headers(settings, &mut url)?;
        let web = Web::new(&WebOptions {
            ca_file: settings.ca_file.clone().or_else(|| environment.get("SSL_CERT_FILE").map(Into::into)),
            timeout: settings.timeout.map_or(Duration::from_secs(30), |t| t.0),
            local: is_local(&host),
            same_host: !headers.is_empty(),
            headers,
        })?;
        url.set_fragment(None);
        let (base, file) = split(url)?;
        let root = base.as_str().trim_end_matches('/').to_owned();
        let root = percent_decode_str(&root).decode_utf8().map(|r| r.into_owned()).unwrap_or(root);
        let path = file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        let backoff = Backoff { retries: settings.retries.unwrap_or(6), ..Backoff::default() };
        Ok((HttpStorage { inner: Arc::new(Inner { web, backoff, sleeper, base, root, file }) }, path))
    }
}

/// The folder of a URL, and the file it names, if it does: as it is shown, and in full.
fn split(url: Url) -> Result<(Url, Option<(String, Url)>)> {
    let mut base = url.clone();
    base.set_query(None);
    if url.path().ends_with('/') && url.query().is_none() {
        return Ok((base, None));
    }
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let mut shown = percent_decode_str(name).decode_utf8().map_err(|e| Error::config("the URL is not UTF-8").source(e))?.into_owned();
    let visible: Vec<_> = url.query_pairs().filter(|(key, _)| !looks_secret(key)).collect();
    if !visible.is_empty() {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(visible).finish();
        shown = format!("{shown}?{query}");
    }
    for (_, value) in url.query_pairs().filter(|(key, _)| looks_secret(key)) {
        sluis_core::secret::register(&value);
    }
    let base = base.join(".").map_err(|e| Error::config("the URL has no folder").source(e))?;
    Ok((base, Some((shown, url))))
}

/// Whether a query's key names something that must not be shown or kept.
fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["sig", "token", "key", "secret", "password", "credential", "auth"].iter().any(|part| key.contains(part))
        || ["se", "sp", "sv", "sr", "expires"].contains(&key.as_str())
        || key.starts_with("x-amz-")
        || key.starts_with("x-goog-")
}

/// Headers of every request; a user and password in the URL become one of them.
fn headers(settings: &HttpConnection, url: &mut Url) -> Result<HeaderMap> {
    let wrong = |name: &str| Error::config(format!("HTTP connection: the value of `{name}` cannot be put into a header"));
    let mut out = HeaderMap::new();
    let mut add = |name: &str, value: &str| -> Result<()> {
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong(name))?;
        value.set_sensitive(true);
        out.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name))?, value);
        Ok(())
    };
    for (name, value) in &settings.headers {
        add(name, value.expose())?;
    }
    if let Some(token) = &settings.bearer {
        add(AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose()))?;
    }
    if !url.username().is_empty() || url.password().is_some() {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decode(url.username()), decode(url.password().unwrap_or_default()));
        sluis_core::secret::register(&password);
        add(AUTHORIZATION.as_str(), &format!("Basic {}", base64(format!("{user}:{password}").as_bytes())))?;
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| Error::config("the URL cannot hold a user"))?;
    }
    Ok(out)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            out.push(if i <= three.len() { LETTERS[(n >> (18 - 6 * i)) as usize & 63] as char } else { '=' });
        }
    }
    out
}

impl Told {
    fn of(headers: &HeaderMap, size: Option<u64>) -> Told {
        Told { size, etag: text(headers, "etag").map(etag), modified: last_modified(headers) }
    }
    /// Whether this is the version that is expected, as far as both say.
    fn is(&self, expect: &FileVersion) -> bool {
        if let (Some(is), Some(expected)) = (&self.etag, &expect.etag) {
            return is == expected;
        }
        let modified = expect.modified.is_none() || self.modified.is_none() || expect.modified == self.modified;
        modified && self.size.is_none_or(|size| size == expect.size)
    }
}

/// The length of the whole file, from a whole or a partial answer.
fn whole(status: u16, headers: &HeaderMap) -> Option<u64> {
    if status == 206 { text(headers, "content-range")?.rsplit_once('/')?.1.parse().ok() } else { text(headers, "content-length")?.parse().ok() }
}

impl Inner {
    fn url(&self, path: &str) -> Result<Url> {
        if let Some((_, url)) = self.file.as_ref().filter(|(shown, _)| shown == path) {
            return Ok(url.clone());
        }
        crate::check_path(path)?;
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path(), utf8_percent_encode(path, &IN_PATH)));
        Ok(url)
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// An answer's head, whatever its status, but for those that may pass.
    async fn once(&self, method: &Method, path: &str, more: &HeaderMap) -> Result<Response> {
        let mut request = reqwest::Request::new(method.clone(), self.url(path)?);
        *request.headers_mut() = more.clone();
        let response = self.web.send(request, Duration::ZERO).await.map_err(|e| e.context("url", self.place(path)))?;
        let status = response.status().as_u16();
        if passes(status) {
            let asks = again(response.headers(), Utc::now());
            return Err(Error::unavailable(format!("{} answered {status}", self.place(path))).retry(asks));
        }
        Ok(response)
    }

    async fn send(&self, method: &Method, path: &str, more: &HeaderMap) -> Result<Response> {
        with_backoff(&self.backoff, self.sleeper.as_ref(), "http", |_| self.once(method, path, more)).await
    }

    /// Head and body together, so that a break in the body is tried again, too.
    async fn fetch(&self, path: &str, more: &HeaderMap, limit: usize) -> Result<Answer> {
        let fetch = |_| async { self.web.body(self.once(&Method::GET, path, more).await?, limit).await };
        with_backoff(&self.backoff, self.sleeper.as_ref(), "http", fetch).await
    }

    fn refused(&self, path: &str, status: u16) -> Error {
        let place = self.place(path);
        match status {
            404 | 410 => Error::not_found(format!("{place} does not exist")),
            401 | 403 | 407 => Error::new(ErrorKind::Permission, format!("{place} may not be read: the server answered {status}"))
                .hint("give an `http` connection with `bearer` or `headers`, and say what it is `for`"),
            300..=399 => Error::config(format!("{place} is somewhere else: the server answered {status}"))
                .hint("it redirects to another host, where the headers of this connection are not sent: use that address"),
            _ => Error::new(ErrorKind::Unavailable, format!("{place}: the server answered {status}")).retry(Retry::Never),
        }
    }

    async fn told(&self, path: &str) -> Result<Option<Told>> {
        let response = self.send(&Method::HEAD, path, &HeaderMap::new()).await?;
        match response.status().as_u16() {
            // From the header: what HEAD answers has no body whose length could be asked for.
            200 => {
                let told = Told::of(response.headers(), whole(200, response.headers()));
                if told.size.is_some() {
                    return Ok(Some(told));
                }
            }
            404 | 410 => return Ok(None),
            // Some servers, and signed URLs made for GET, refuse HEAD.
            _ => {}
        }
        let mut response = self.send(&Method::GET, path, &range_header(&(0..1), None)?).await?;
        match response.status().as_u16() {
            404 | 410 => Ok(None),
            416 => Ok(Some(Told::of(response.headers(), Some(0)))),
            status @ (200 | 206) => {
                let mut told = Told::of(response.headers(), whole(status, response.headers()));
                if told.size.is_none() {
                    // Nothing says how long it is: count.
                    let mut size = 0;
                    while let Some(chunk) = self.web.chunk(&mut response).await? {
                        size += chunk.len() as u64;
                    }
                    told.size = Some(size);
                }
                Ok(Some(told))
            }
            status => Err(self.refused(path, status)),
        }
    }

    async fn entry(&self, path: String) -> Result<Option<Entry>> {
        let told = self.told(&path).await?;
        Ok(told.map(|t| Entry { path, size: t.size.unwrap_or(0), modified: t.modified, etag: t.etag }))
    }

    async fn index(&self, folder: &str) -> Result<index::Index> {
        let answer = self.fetch(folder, &HeaderMap::new(), LONGEST_INDEX).await?;
        match answer.status {
            200 => {}
            404 | 410 if !folder.is_empty() => return Ok(index::Index::default()),
            status => return Err(self.refused(folder, status)),
        }
        let kind = answer.header("content-type").unwrap_or("text/html").to_ascii_lowercase();
        if !kind.contains("html") {
            return Err(Error::config(format!("{} is no index page but `{kind}`", self.place(folder)))
                .hint("name a single file without a `/` at the end, or the folder's index page"));
        }
        Ok(index::parse(&self.url(folder)?, &String::from_utf8_lossy(&answer.body)))
    }

    fn changed(&self, path: &str, how: &str) -> Error {
        Error::new(ErrorKind::SourceChanged, format!("{} {how}", self.place(path)))
    }

    /// Turns an answer to a GET into an error if it is not the version that is expected.
    fn judge(&self, path: &str, status: u16, headers: &HeaderMap, expect: Option<&FileVersion>) -> Result<Told> {
        match status {
            200 | 206 => {}
            404 | 410 if expect.is_some() => return Err(self.changed(path, "vanished")),
            412 if expect.is_some() => return Err(self.changed(path, "changed")),
            _ => return Err(self.refused(path, status)),
        }
        let told = Told::of(headers, whole(status, headers));
        if expect.is_some_and(|expect| !told.is(expect)) { Err(self.changed(path, "changed")) } else { Ok(told) }
    }
}

/// `Range`, and `If-Match` where there is an etag that can be compared byte by byte.
fn range_header(range: &Range<u64>, etag: Option<&str>) -> Result<HeaderMap> {
    let mut more = condition(etag);
    let text = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    more.insert(RANGE, HeaderValue::from_str(&text).map_err(|e| Error::internal("a range is no header").source(e))?);
    Ok(more)
}

fn condition(etag: Option<&str>) -> HeaderMap {
    let strong = etag.filter(|etag| !etag.starts_with("W/"));
    let value = strong.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok());
    value.map(|value| (IF_MATCH, value)).into_iter().collect()
}

/// A download under way, which goes on after a break.
struct Download {
    inner: Arc<Inner>,
    path: String,
    told: Told,
    got: u64,
    response: Option<Response>,
    /// Bytes at the start of the answer that we have had: the server sends whole files only.
    skip: u64,
    breaks: u32,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(response) = &mut self.response else {
                self.resume().await?;
                continue;
            };
            match self.inner.web.chunk(response).await {
                Ok(Some(mut chunk)) => {
                    let skipped = self.skip.min(chunk.len() as u64);
                    self.skip -= skipped;
                    chunk = chunk.slice(skipped as usize..);
                    self.got += chunk.len() as u64;
                    if !chunk.is_empty() {
                        self.breaks = 0;
                        return Ok(Some(chunk));
                    }
                }
                Ok(None) if self.told.size.is_some_and(|size| size != self.got) => {
                    self.broke(Error::unavailable("the answer ended too soon")).await?
                }
                Ok(None) => return Ok(None),
                Err(e) => self.broke(e).await?,
            }
        }
    }

    async fn broke(&mut self, e: Error) -> Result<()> {
        self.response = None;
        let jitter = self.inner.sleeper.jitter();
        match self.inner.backoff.pause(self.breaks, e.retry_policy(), jitter) {
            Some(pause) => {
                self.breaks += 1;
                self.inner.sleeper.sleep(pause).await;
                Ok(())
            }
            None => Err(e.context("url", self.inner.place(&self.path)).context("bytes", self.got)),
        }
    }

    async fn resume(&mut self) -> Result<()> {
        let mut more = condition(self.told.etag.as_deref());
        if self.got > 0 {
            let open = HeaderValue::from_str(&format!("bytes={}-", self.got));
            more.insert(RANGE, open.map_err(|e| Error::internal("a range is no header").source(e))?);
        }
        let response = self.inner.send(&Method::GET, &self.path, &more).await?;
        let status = response.status().as_u16();
        let expect =
            FileVersion { path: String::new(), size: self.told.size.unwrap_or(self.got), modified: self.told.modified, etag: self.told.etag.clone() };
        let told = self.inner.judge(&self.path, status, response.headers(), Some(&expect))?;
        if self.got > 0 && told.etag.is_none() && told.modified.is_none() {
            return Err(Error::unavailable(format!("{} broke off, and nothing tells whether it is still the same", self.inner.place(&self.path)))
                .retry(Retry::Never));
        }
        self.skip = if status == 206 { 0 } else { self.got };
        self.response = Some(response);
        Ok(())
    }
}

#[async_trait]
impl Storage for HttpStorage {
    fn root(&self) -> &str {
        &self.inner.root
    }

    fn list(&self, prefix: &str, _start_after: Option<&str>) -> BoxStream<'static, Result<Entry>> {
        let inner = self.inner.clone();
        let start = prefix.trim_end_matches('/');
        let start = if start.is_empty() { String::new() } else { format!("{start}/") };
        // Folders that are still to be looked into, deepest first: memory goes with depth and width, not with files.
        let folders = VecDeque::from([start]);
        let pages = stream::try_unfold((inner, folders), |(inner, mut folders)| async move {
            let Some(folder) = folders.pop_front() else { return Ok::<_, Error>(None) };
            let index = inner.index(&folder).await?;
            for name in index.folders.into_iter().rev() {
                folders.push_front(format!("{folder}{name}/"));
            }
            let paths: Vec<String> = index.files.into_iter().map(|name| format!("{folder}{name}")).collect();
            let asked = inner.clone();
            let entries = stream::iter(paths).map(move |path| {
                let inner = asked.clone();
                async move { inner.entry(path).await }
            });
            Ok(Some((entries.buffered(ASKED_AT_ONCE), (inner, folders))))
        });
        pages.try_flatten().try_filter_map(|entry| std::future::ready(Ok(entry))).boxed()
    }

    fn sorted(&self) -> bool {
        false
    }

    async fn list_folder(&self, prefix: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        let folder = prefix.trim_end_matches('/');
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let index = self.inner.index(&folder).await?;
        let paths: Vec<String> = index.files.into_iter().map(|name| format!("{folder}{name}")).collect();
        let asked = stream::iter(paths).map(|path| self.inner.entry(path)).buffered(ASKED_AT_ONCE);
        let files = asked.try_filter_map(|entry| std::future::ready(Ok(entry))).try_collect().await?;
        Ok((files, index.folders))
    }

    async fn head(&self, path: &str) -> Result<Option<Entry>> {
        if path.is_empty() || path.ends_with('/') {
            return Ok(None);
        }
        self.inner.entry(path.to_owned()).await
    }

    async fn read(&self, path: &str, expect: Option<&FileVersion>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let more = condition(expect.and_then(|e| e.etag.as_deref()));
        let response = self.inner.send(&Method::GET, path, &more).await?;
        let told = self.inner.judge(path, response.status().as_u16(), response.headers(), expect)?;
        let length = expect.map(|e| e.size);
        let download = Download {
            inner: self.inner.clone(),
            path: path.to_owned(),
            told: Told { size: told.size.or(length), ..told },
            got: 0,
            response: Some(response),
            skip: 0,
            breaks: 0,
        };
        Ok(stream::try_unfold(download, |mut d| async move { Ok(d.next().await?.map(|chunk| (chunk, d))) }).boxed())
    }

    async fn read_range(&self, path: &str, range: Range<u64>, expect: Option<&FileVersion>) -> Result<Bytes> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let more = range_header(&range, expect.and_then(|e| e.etag.as_deref()))?;
        let get = |_| async {
            let mut response = self.inner.once(&Method::GET, path, &more).await?;
            let status = response.status().as_u16();
            if status == 206 {
                return self.inner.web.body(response, length as usize).await;
            }
            let headers = response.headers().clone();
            let mut body = Vec::new();
            if status == 200 {
                // The server knows no ranges: read up to the end of ours, keep ours.
                let mut at = 0;
                while at < range.end {
                    let Some(chunk) = self.inner.web.chunk(&mut response).await? else { break };
                    let next = at + chunk.len() as u64;
                    let (from, to) = (range.start.max(at).min(next), range.end.min(next));
                    body.extend_from_slice(&chunk[(from - at) as usize..(to.max(from) - at) as usize]);
                    at = next;
                }
            }
            Ok(Answer { status, headers, body: body.into() })
        };
        let answer = with_backoff(&self.inner.backoff, self.inner.sleeper.as_ref(), "http", get).await?;
        if answer.status != 416 {
            self.inner.judge(path, answer.status, &answer.headers, expect)?;
        }
        if answer.body.len() as u64 == length {
            return Ok(answer.body);
        }
        Err(Error::new(
            ErrorKind::CorruptInput,
            format!("{} is shorter than asked for: {}..{} is not in it", self.inner.place(path), range.start, range.end),
        ))
    }

    async fn stage(&self, target: &str, _scope: &str, _name: &str) -> Result<Box<dyn StagedWriter>> {
        Err(self.read_only(target))
    }
    async fn publish(&self, file: &StagedFile, _if_exists: IfExists) -> Result<Published> {
        Err(self.read_only(&file.target))
    }
    async fn sweep(&self, _scope_prefix: &str, _keep: &[StagedFile]) -> Result<u64> {
        Err(self.read_only(""))
    }
    async fn put(&self, path: &str, _bytes: Bytes, _if_exists: IfExists) -> Result<()> {
        Err(self.read_only(path))
    }
    async fn create(&self, path: &str) -> Result<Box<dyn StagedWriter>> {
        Err(self.read_only(path))
    }
    async fn rename(&self, from: &str, _to: &str) -> Result<()> {
        Err(self.read_only(from))
    }
    async fn delete(&self, path: &str) -> Result<()> {
        Err(self.read_only(path))
    }
}

impl HttpStorage {
    fn read_only(&self, path: &str) -> Error {
        Error::config(format!("{} is read over HTTP, which is read-only here", self.address(path)))
            .hint("write to a folder or to S3; and keep the source's files after commit (`after: keep`)")
    }
}

#[cfg(test)]
mod tests;
