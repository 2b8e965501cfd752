//! Assuming a role: temporary credentials from the security token service, renewed before they expire.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::CredentialProvider;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use sluis_core::{Clock, Error, ErrorKind, Result, Retry};
use tokio::sync::Mutex;
use url::Url;

use super::xml;
use crate::retry::{Backoff, Sleeper, with_backoff};
use crate::web::{Web, WebOptions, again, is_local, passes};

/// A role to assume.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub arn: String,
    pub external_id: Option<String>,
    pub session: Option<String>,
}

/// Credentials are renewed when they have less than this left.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

#[derive(Debug)]
pub(super) struct AssumeRole {
    base: AwsCredentialProvider,
    role: Role,
    endpoint: Url,
    region: String,
    web: Web,
    backoff: Backoff,
    sleeper: Arc<dyn Sleeper>,
    clock: Box<dyn ClockDebug>,
    held: Mutex<Option<(Arc<AwsCredential>, DateTime<Utc>)>>,
}

trait ClockDebug: Clock + std::fmt::Debug {}
impl<T: Clock + std::fmt::Debug> ClockDebug for T {}

#[derive(Debug)]
struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

impl AssumeRole {
    pub(super) fn new(
        base: AwsCredentialProvider,
        role: Role,
        endpoint: Url,
        region: String,
        ca_file: Option<PathBuf>,
        sleeper: Arc<dyn Sleeper>,
    ) -> Result<AssumeRole> {
        let local = endpoint.host_str().is_some_and(is_local);
        let web = Web::new(&WebOptions { ca_file, timeout: Duration::from_secs(15), local, same_host: true, ..WebOptions::default() })?;
        let backoff = Backoff { retries: 4, ..Backoff::default() };
        Ok(AssumeRole { base, role, endpoint, region, web, backoff, sleeper, clock: Box::new(SystemClock), held: Mutex::new(None) })
    }

    async fn ask(&self) -> Result<(Arc<AwsCredential>, DateTime<Utc>)> {
        let body = Bytes::from(self.form());
        let answer = with_backoff(&self.backoff, self.sleeper.as_ref(), "assume a role", |_| async {
            let request = self.signed(&body).await?;
            let answer = self.web.body(self.web.send(request, Duration::ZERO).await?, 1 << 20).await?;
            let status = answer.status;
            if passes(status) {
                return Err(Error::unavailable(format!("the token service answered {status}")).retry(again(&answer.headers, self.clock.now())));
            }
            Ok(answer)
        })
        .await?;
        if answer.status != 200 {
            let told = xml::parse::<xml::StsError>("assuming a role", &answer.body).map(|e| e.error).unwrap_or_default();
            return Err(Error::new(ErrorKind::Permission, format!("the role {} cannot be assumed", self.role.arn))
                .context("status", answer.status)
                .context("server", format!("{} {}", told.code, told.message).trim())
                .hint("the role's trust policy must name these credentials, and the external id must be the one it asks for"));
        }
        let got: xml::AssumeRoleResponse = xml::parse("assuming a role", &answer.body)?;
        let got = got.assume_role_result.credentials;
        let token = got.session_token.filter(|t| !t.is_empty());
        sluis_core::secret::register(&got.secret_access_key);
        token.iter().for_each(|token| sluis_core::secret::register(token));
        Ok((Arc::new(AwsCredential { key_id: got.access_key_id, secret_key: got.secret_access_key, token }), got.expiration))
    }

    fn form(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole").append_pair("Version", "2011-06-15").append_pair("RoleArn", &self.role.arn);
        form.append_pair("RoleSessionName", self.role.session.as_deref().unwrap_or("sluis"));
        if let Some(id) = &self.role.external_id {
            form.append_pair("ExternalId", id);
        }
        form.finish()
    }

    async fn signed(&self, body: &Bytes) -> Result<reqwest::Request> {
        let base = self.base.get_credential().await;
        let base = base.map_err(|e| Error::new(ErrorKind::Permission, "there are no credentials to assume a role with").source(e))?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.as_str().parse().map_err(|_| Error::config("the token service's address is not a URL"))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        AwsAuthorizer::new(&base, "sts", &self.region).authorize(&mut request, None);
        let mut out = reqwest::Request::new(Method::POST, self.endpoint.clone());
        *out.headers_mut() = std::mem::take(request.headers_mut());
        *out.body_mut() = Some(body.clone().into());
        Ok(out)
    }
}

#[async_trait]
impl CredentialProvider for AssumeRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some((credential, _)) = held.as_ref().filter(|(_, until)| *until - now > MARGIN) {
            return Ok(credential.clone());
        }
        match self.ask().await {
            Ok((credential, until)) => {
                *held = Some((credential.clone(), until));
                Ok(credential)
            }
            // What is held still works: a service that is away for a moment does no harm.
            Err(e) => match held.as_ref() {
                Some((credential, until)) if *until > now && e.retry_policy() != Retry::Never => Ok(credential.clone()),
                _ => Err(object_store::Error::Generic { store: "S3", source: Box::new(e) }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use object_store::StaticCredentialProvider;
    use sluis_core::clock::FixedClock;

    use super::*;
    use crate::retry::TokioSleeper;

    /// Answers with these, one connection each; gives what was asked.
    fn serve(answers: Vec<String>) -> (Url, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let thread = std::thread::spawn(move || {
            let serve_one = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                while !String::from_utf8_lossy(&asked).contains("RoleSessionName") {
                    let mut piece = [0; 4096];
                    let n = stream.read(&mut piece).unwrap();
                    asked.extend_from_slice(&piece[..n]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(asked).unwrap()
            };
            answers.into_iter().map(serve_one).collect()
        });
        (url, thread)
    }

    fn answer(status: u16, body: &str) -> String {
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn credentials(id: &str, until: &str) -> String {
        answer(
            200,
            &format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId>\
                 <SecretAccessKey>temporary-secret</SecretAccessKey><SessionToken>tok</SessionToken><Expiration>{until}</Expiration></Credentials>\
                 </AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
    }

    fn provider(url: Url, now: &str) -> AssumeRole {
        let base = AwsCredential { key_id: "BASE".into(), secret_key: "base-secret".into(), token: None };
        let role = Role { arn: "arn:aws:iam::1:role/r".into(), external_id: Some("a b".into()), session: None };
        let base = Arc::new(StaticCredentialProvider::new(base));
        let mut p = AssumeRole::new(base, role, url, "eu-west-1".into(), None, Arc::new(TokioSleeper)).unwrap();
        p.backoff.first = Duration::ZERO;
        p.clock = Box::new(FixedClock(now.parse().unwrap()));
        p
    }

    #[tokio::test]
    async fn credentials_are_kept_and_renewed_before_they_expire() {
        let (url, thread) = serve(vec![answer(503, ""), credentials("ONE", "2024-05-01T11:00:00Z"), credentials("TWO", "2024-05-01T12:00:00Z")]);
        let mut p = provider(url, "2024-05-01T10:00:00Z");
        for _ in 0..2 {
            let got = p.get_credential().await.unwrap();
            assert_eq!((got.key_id.as_str(), got.token.as_deref()), ("ONE", Some("tok")));
        }
        p.clock = Box::new(FixedClock("2024-05-01T10:56:00Z".parse().unwrap()));
        assert_eq!(p.get_credential().await.unwrap().key_id, "TWO");
        let asked = thread.join().unwrap();
        assert_eq!(asked.len(), 3);
        for request in asked {
            assert!(request.contains("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"), "{request}");
            assert!(request.contains("&ExternalId=a+b") && request.contains("/eu-west-1/sts/aws4_request"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_which_role() {
        let refusal = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not trusted</Message></Error></ErrorResponse>";
        let (url, thread) = serve(vec![answer(403, refusal)]);
        let e = provider(url, "2024-05-01T10:00:00Z").get_credential().await.unwrap_err().to_string();
        assert!(e.contains("role/r cannot be assumed") && e.contains("not trusted"), "{e}");
        thread.join().unwrap();
    }
}
