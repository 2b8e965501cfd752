//! HTTP as S3 and web addresses both need it: a client with a project's own CA, time limits, failures by class.
//!
//! Time limits are for waiting, not for a whole download: a reader that is slow to take bytes must not fail for it.
//! Deliberately not here: signing, retries (each caller wraps its calls in [`crate::retry::with_backoff`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER};
use reqwest::{Certificate, Request, Response};
use sluis_core::{Error, ErrorKind, Result, Retry};

/// How a client is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebOptions {
    /// PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for a connection, an answer, or the next bytes.
    pub timeout: Duration,
    /// The host is this machine: no proxy, whatever the environment says.
    pub local: bool,
    /// Do not follow redirects to another host (a request that carries secrets).
    pub same_host: bool,
    pub headers: HeaderMap,
}

#[derive(Debug, Clone)]
pub(crate) struct Web {
    client: reqwest::Client,
    timeout: Duration,
}

/// An answer with its body in memory.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        text(&self.headers, name.as_ref())
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.to_str().ok()
}

impl Web {
    pub(crate) fn new(options: &WebOptions) -> Result<Web> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .user_agent(concat!("sluis/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.timeout.min(Duration::from_secs(10)))
            .default_headers(options.headers.clone());
        if options.local {
            builder = builder.no_proxy();
        }
        if options.same_host {
            builder = builder.redirect(reqwest::redirect::Policy::custom(|attempt| {
                let same =
                    attempt.previous().last().is_some_and(|from| from.host() == attempt.url().host() && from.scheme() == attempt.url().scheme());
                if attempt.previous().len() > 10 {
                    attempt.error("more than 10 redirects")
                } else if same {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }));
        }
        if let Some(file) = &options.ca_file {
            for certificate in certificates(file)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|e| Error::config("cannot set up an HTTP client").source(e.without_url()))?;
        Ok(Web { client, timeout: options.timeout })
    }

    /// Sends and waits for the head of the answer: at most the timeout, plus a second for each 64 KiB that go up.
    pub(crate) async fn send(&self, request: Request, patience: Duration) -> Result<Response> {
        let up = request.body().and_then(|b| b.as_bytes()).map_or(0, <[u8]>::len) as u64;
        let limit = self.timeout + patience + Duration::from_secs(up / 65_536);
        match tokio::time::timeout(limit, self.client.execute(request)).await {
            Ok(answer) => answer.map_err(transport),
            Err(_) => Err(Error::unavailable(format!("no answer within {} s", limit.as_secs_f32()))),
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.timeout, response.chunk()).await {
            Ok(chunk) => chunk.map_err(transport),
            Err(_) => Err(Error::unavailable(format!("the answer stopped for {} s", self.timeout.as_secs_f32()))),
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub(crate) async fn body(&self, mut response: Response, limit: usize) -> Result<Answer> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if body.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::Capacity, format!("the answer is longer than {limit} bytes")));
            }
            if body.is_empty() {
                body.reserve(response.content_length().unwrap_or(0).min(limit as u64) as usize);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate>> {
    let pem = std::fs::read(file).map_err(|e| Error::io("read the CA file", file.display(), e))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::config(format!("the CA file {} holds no certificate in PEM form", file.display()))),
        Err(e) => Err(Error::config(format!("the CA file {} is not in PEM form", file.display())).source(e)),
    }
}

/// A failure below HTTP. All of them may pass, but for requests and redirects that make no sense.
fn transport(e: reqwest::Error) -> Error {
    let error = if e.is_builder() || e.is_redirect() {
        Error::new(ErrorKind::Config, if e.is_redirect() { "the server redirects in circles" } else { "the request cannot be made" })
    } else if e.is_connect() {
        Error::unavailable("cannot connect")
            .hint("is the address right, the server up, and (for https) its certificate signed by a CA that is known here (`ca_file`)?")
    } else {
        Error::unavailable("the connection failed")
    };
    // The URL may hold a signature.
    error.source(e.without_url())
}

/// What a status that may pass asks for: `Retry-After` in seconds or as a date.
pub(crate) fn again(headers: &HeaderMap, now: DateTime<Utc>) -> Retry {
    let Some(asked) = text(headers, RETRY_AFTER.as_str()) else { return Retry::Backoff };
    let millis = match asked.trim().parse::<u64>() {
        Ok(seconds) => Some(seconds.saturating_mul(1000)),
        Err(_) => http_date(asked).map(|at| (at - now).num_milliseconds().max(0) as u64),
    };
    millis.map_or(Retry::Backoff, Retry::After)
}

/// Whether a status says that the same request may succeed later.
pub(crate) fn passes(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

pub(crate) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(Into::into)
}

pub(crate) fn last_modified(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(text(headers, LAST_MODIFIED.as_str())?)
}

/// Whether a host is this machine.
pub(crate) fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(again(&headers, now), Retry::Backoff);
        for (text, is) in [
            ("3", Retry::After(3000)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Retry::After(3000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Retry::After(0)),
            ("soon", Retry::Backoff),
        ] {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(again(&headers, now), is, "{text}");
        }
    }

    #[test]
    fn a_ca_file_that_is_none_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAA"] {
            std::fs::write(&file, text).unwrap();
            let options = WebOptions { ca_file: Some(file.clone()), timeout: Duration::from_secs(1), ..WebOptions::default() };
            assert_eq!(Web::new(&options).unwrap_err().kind(), ErrorKind::Config, "{text}");
        }
    }
}
