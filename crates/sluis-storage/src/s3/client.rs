//! One signed request and its answer: signing, repeating what may pass, and errors by status and code.
//!
//! Our own rather than object_store's store: the commit protocol needs `If-None-Match` on completing an upload, a listing of open
//! uploads, error codes, and keys exactly as they are. Signing and the credential providers are object_store's.
//! Deliberately not here: what the requests mean.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use sluis_core::{Error, ErrorKind, Result, Retry};

use super::xml;
use crate::retry::{Backoff, Sleeper, with_backoff};
use crate::web::{Answer, Web, again, passes};

/// What Amazon's signature leaves as it is.
const IN_QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_KEY: AsciiSet = IN_QUERY.remove(b'/');
/// Codes that mean: again, later.
const BUSY: [&str; 6] = ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"];
/// Longest answer that is held in memory: a range of the largest part, or a page of a listing.
const MOST: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Client {
    pub web: Web,
    /// `None`: requests are not signed.
    pub credentials: Option<AwsCredentialProvider>,
    pub region: String,
    /// URL of the bucket, without a trailing `/`.
    pub url: String,
    pub bucket: String,
    pub backoff: Backoff,
    pub sleeper: Arc<dyn Sleeper>,
    /// What the server calls itself, once it has answered. Empty if it does not say.
    pub server: OnceLock<String>,
}

/// A request to be made, perhaps several times.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    key: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    patience: Duration,
}

impl Call {
    /// On the bucket itself if `key` is empty.
    pub(super) fn new(method: Method, key: &str) -> Call {
        Call { method, key: key.to_owned(), query: Vec::new(), headers: Vec::new(), body: Bytes::new(), patience: Duration::ZERO }
    }
    #[must_use]
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.query.push((name, value.into()));
        self
    }
    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.headers.push((name, value.into()));
        self
    }
    #[must_use]
    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Call {
        self.body = body.into();
        self
    }
    /// For what the server works on for long (joining parts, copying): wait so much more.
    #[must_use]
    pub(super) fn patience(mut self, more: Duration) -> Call {
        self.patience = more;
        self
    }
}

/// A key as it stands in a URL and in `x-amz-copy-source`.
pub(super) fn encoded(key: &str) -> String {
    utf8_percent_encode(key, &IN_KEY).to_string()
}

impl Client {
    /// The answer, whatever its status, but for those that may pass: they are tried again, and in the end are an error.
    pub(super) async fn call(&self, what: &'static str, call: &Call) -> Result<Answer> {
        with_backoff(&self.backoff, self.sleeper.as_ref(), what, |_| self.once(what, call)).await
    }

    async fn once(&self, what: &str, call: &Call) -> Result<Answer> {
        let place = |e: Error| e.context("s3", format!("{what} s3://{}/{}", self.bucket, call.key));
        let request = self.signed(call).await.map_err(place)?;
        let response = self.web.send(request, call.patience).await.map_err(place)?;
        let answer = self.web.body(response, MOST).await.map_err(place)?;
        self.server.get_or_init(|| answer.header("server").unwrap_or_default().to_owned());
        // What a GET brings is a file's content and may look like anything.
        let told = if answer.status < 300 && call.method == Method::GET { None } else { xml::error(&answer.body) };
        // A body can hold an error although the status is 200: completing an upload and copying answer before they are done.
        let busy = told.as_ref().is_some_and(|told| answer.status < 300 || BUSY.contains(&told.code.as_str()));
        if (passes(answer.status) || busy) && told.is_none_or(|told| told.code != "XMinioStorageFull") {
            return Err(place(self.refused(what, &call.key, &answer).retry(again(&answer.headers, Utc::now()))));
        }
        Ok(answer)
    }

    async fn signed(&self, call: &Call) -> Result<reqwest::Request> {
        let mut url = self.url.clone();
        url.push('/');
        url.push_str(&encoded(&call.key));
        for (i, (name, value)) in call.query.iter().enumerate() {
            url.push_str(if i == 0 { "?" } else { "&" });
            url.push_str(&format!("{name}={}", utf8_percent_encode(value, &IN_QUERY)));
        }
        let wrong = |what: &str| Error::config(format!("`{}` cannot be put into an S3 request", what.escape_default()));
        let mut request = HttpRequest::new(HttpRequestBody::from(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = url.parse().map_err(|_| wrong(&url))?;
        for (name, value) in &call.headers {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(|_| wrong(value))?);
        }
        if call.method == Method::PUT || call.method == Method::POST {
            request.headers_mut().insert(CONTENT_LENGTH, call.body.len().into());
        }
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await.map_err(no_credentials)?;
            AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        }
        let (head, _) = request.into_parts();
        let mut out = reqwest::Request::new(head.method, head.uri.to_string().parse().map_err(|_| wrong(&url))?);
        *out.headers_mut() = head.headers;
        if call.method == Method::PUT || call.method == Method::POST {
            *out.body_mut() = Some(call.body.clone().into());
        }
        Ok(out)
    }

    /// The error that a status and a code mean, where the caller has no better word for it.
    pub(super) fn refused(&self, what: &str, key: &str, answer: &Answer) -> Error {
        let told = xml::error(&answer.body).unwrap_or_default();
        let place = format!("s3://{}/{key}", self.bucket);
        let (kind, hint) = match (told.code.as_str(), answer.status) {
            ("NoSuchBucket", _) => {
                return Error::not_found(format!("the bucket {} does not exist", self.bucket)).hint("is it the right endpoint and region?");
            }
            ("InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired", _) => {
                (ErrorKind::Permission, "these credentials are not, or no longer, valid")
            }
            ("SignatureDoesNotMatch", _) => {
                (ErrorKind::Permission, "the secret key does not belong to the access key, or a proxy changes requests on the way")
            }
            ("RequestTimeTooSkewed", _) => (ErrorKind::Permission, "this machine's clock is wrong: set it, then run again"),
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _) | ("", 301 | 307) => {
                let region = answer.header("x-amz-bucket-region").map(str::to_owned).or(told.region);
                let hint =
                    region.map_or_else(|| "say the bucket's `region`".to_owned(), |r| format!("the bucket is in another region: say `region: {r}`"));
                return Error::config(format!("cannot {what} {place}: the bucket is not in region {}", self.region)).hint(hint);
            }
            ("XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => {
                (ErrorKind::Capacity, "the server has no room left")
            }
            (_, 401 | 403) => (ErrorKind::Permission, "these credentials may not do this here: check the user's and the bucket's policy"),
            (_, 404) => (ErrorKind::NotFound, ""),
            ("SlowDown", _) | (_, 429) => (ErrorKind::Unavailable, "the service asks to slow down; the next run goes on where this one stopped"),
            (_, 200..=299 | 500..) => (ErrorKind::Unavailable, "the service has trouble; the next run goes on where this one stopped"),
            (code, _) if BUSY.contains(&code) => (ErrorKind::Unavailable, ""),
            (_, 409) => (ErrorKind::Conflict, ""),
            _ => (ErrorKind::Config, "the service does not accept this request"),
        };
        let code = if told.code.is_empty() { String::new() } else { format!(" {}", told.code) };
        let error = Error::new(kind, format!("cannot {what} {place}: the server answered {}{code}", answer.status));
        let error = if hint.is_empty() { error } else { error.hint(hint) };
        let error = if told.message.is_empty() { error } else { error.context("server", told.message.trim()) };
        error.retry(if kind == ErrorKind::Unavailable { Retry::Backoff } else { Retry::Never })
    }
}

/// A provider failed: nobody is signed in, or the sign-in service does not answer.
fn no_credentials(e: object_store::Error) -> Error {
    let e = match e {
        object_store::Error::Generic { store, source } => match source.downcast::<Error>() {
            Ok(ours) => return *ours,
            Err(source) => object_store::Error::Generic { store, source },
        },
        e => e,
    };
    Error::new(ErrorKind::Permission, "there are no S3 credentials")
        .hint(
            "give a connection `access_key` and `secret_key`, a `profile`, or `anonymous: true`; or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
        .source(e)
}
