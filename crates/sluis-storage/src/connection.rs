//! Connections: how to reach a kind of place, written once under a name in a project (`connections: {lake: {s3: {…}}}`),
//! and which of them serves a URL.
//!
//! Secrets are resolved before they come here. Deliberately not here: opening anything.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sluis_core::registry::{ConnectionDef, Problem};
use sluis_core::secret::Secret;
use sluis_core::units::HumanDuration;
use sluis_core::{Error, Result};

/// The S3 kind of connection.
pub const S3_CONNECTION: ConnectionDef = ConnectionDef {
    name: "s3",
    summary: "Amazon S3 and what speaks its protocol (MinIO, Ceph, Cloudflare R2 and others).",
    schema: || -> Schema { schema_for!(S3Connection) },
    validate: |value| problems::<S3Connection>(value, S3Connection::problems),
};

/// The HTTP kind of connection.
pub const HTTP_CONNECTION: ConnectionDef = ConnectionDef {
    name: "http",
    summary: "Web servers that files are read from: headers, a token, a private certificate authority.",
    schema: || -> Schema { schema_for!(HttpConnection) },
    validate: |value| problems::<HttpConnection>(value, HttpConnection::problems),
};

/// How to reach S3 or what speaks its protocol. Everything is optional: what is not said comes from the AWS environment
/// variables, the profile files in `~/.aws`, or the machine's own role.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Connection {
    /// URL of the service, for example `https://minio.example.org:9000`. Default: Amazon's endpoint of the region.
    pub endpoint: Option<String>,
    /// Region, for example `eu-west-1`. Default: from the environment or the profile, else `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path (`https://host/bucket/key`) rather than in the host name. Default: yes if `endpoint` is given.
    pub path_style: Option<bool>,
    /// Send requests without a signature, for public buckets.
    pub anonymous: bool,
    /// A profile of `~/.aws/credentials` and `~/.aws/config`.
    pub profile: Option<String>,
    /// Access key id. Needs `secret_key`.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub access_key: Option<Secret>,
    /// Secret access key; write it as `${env:NAME}`, `${file:PATH}` or `${cmd:COMMAND}`.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub secret_key: Option<Secret>,
    /// Session token that belongs to temporary keys.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub session_token: Option<Secret>,
    /// A role to assume with these credentials, for example `arn:aws:iam::123456789012:role/loader`; renewed before it expires.
    pub role_arn: Option<String>,
    /// External id that the role asks for.
    pub external_id: Option<String>,
    /// Name of the assumed session in audit logs. Default: `sluis`.
    pub session_name: Option<String>,
    /// URL of the token service for `role_arn`. Default: Amazon's endpoint of the region.
    pub sts_endpoint: Option<String>,
    /// PEM file with the certificate authority that signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// Allow an endpoint with plain `http://` that is not on this machine.
    pub allow_http: bool,
    /// URL prefixes that this connection serves without being named, for example `[s3://raw-cdrs/]`.
    #[serde(rename = "for")]
    pub serves: Vec<String>,
    /// Longest wait for a connection, an answer or the next bytes. Default: `30s`.
    pub timeout: Option<HumanDuration>,
    /// How often a request that failed in a way that may pass is tried again. Default: 6.
    pub retries: Option<u32>,
}

/// How to reach a web server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConnection {
    /// Headers sent with every request.
    #[serde(deserialize_with = "secrets")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Secret>,
    /// Token sent as `Authorization: Bearer …`.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub bearer: Option<Secret>,
    /// PEM file with the certificate authority that signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// URL prefixes that this connection serves without being named, for example `[https://data.example.org/]`.
    #[serde(rename = "for")]
    pub serves: Vec<String>,
    /// Longest wait for a connection, an answer or the next bytes. Default: `30s`.
    pub timeout: Option<HumanDuration>,
    /// How often a request that failed in a way that may pass is tried again. Default: 6.
    pub retries: Option<u32>,
}

fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.filter(|s| !s.is_empty()).map(Secret::new))
}

fn secrets<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    Ok(BTreeMap::<String, String>::deserialize(d)?.into_iter().map(|(k, v)| (k, Secret::new(v))).collect())
}

fn problem(at: &str, message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { at: vec![at.to_owned()], message: message.into(), hint: hint.map(str::to_owned) }
}

fn problems<T: for<'de> Deserialize<'de>>(value: &Value, more: fn(&T) -> Vec<Problem>) -> Vec<Problem> {
    match T::deserialize(value) {
        Ok(connection) => more(&connection),
        Err(e) => vec![Problem { at: Vec::new(), message: e.to_string(), hint: None }],
    }
}

impl S3Connection {
    /// Mistakes that the schema cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.access_key.is_some() != self.secret_key.is_some() {
            let at = if self.access_key.is_some() { "access_key" } else { "secret_key" };
            found.push(problem(at, "`access_key` and `secret_key` belong together", None));
        }
        if self.session_token.is_some() && self.access_key.is_none() {
            found.push(problem("session_token", "`session_token` belongs to an `access_key`", None));
        }
        if self.anonymous && (self.access_key.is_some() || self.profile.is_some() || self.role_arn.is_some()) {
            found.push(problem("anonymous", "`anonymous` goes without keys, profile and role", Some("remove one or the other")));
        }
        if self.profile.is_some() && self.access_key.is_some() {
            found.push(problem("profile", "`profile` and `access_key` are two ways to say the same", Some("remove one of them")));
        }
        if self.role_arn.is_none() {
            for (at, given) in [("external_id", &self.external_id), ("session_name", &self.session_name), ("sts_endpoint", &self.sts_endpoint)] {
                if given.is_some() {
                    found.push(problem(at, format!("`{at}` belongs to `role_arn`"), None));
                }
            }
        }
        for (at, given) in [("endpoint", &self.endpoint), ("sts_endpoint", &self.sts_endpoint)] {
            if let Some(Err(e)) = given.as_deref().map(|text| self.endpoint_url(text)) {
                found.push(problem(at, e.message(), e.hint_text()));
            }
        }
        found.extend(prefixes(&self.serves, &["s3://"]));
        found
    }

    /// An endpoint as a URL, if it is one that may be used.
    pub(crate) fn endpoint_url(&self, text: &str) -> Result<url::Url> {
        let wrong = || Error::config(format!("`{text}` is not the URL of a service")).hint("write it as `https://host:port`");
        let url = url::Url::parse(text).map_err(|e| wrong().source(e))?;
        let host = url.host_str().ok_or_else(wrong)?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_http || crate::web::is_local(host) => Ok(url),
            "http" => Err(Error::config(format!("`{text}` would send data and signatures over plain HTTP"))
                .hint("use `https://`, or say `allow_http: true` if the network is trusted")),
            _ => Err(wrong()),
        }
    }
}

impl HttpConnection {
    /// Mistakes that the schema cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = prefixes(&self.serves, &["http://", "https://"]);
        for name in self.headers.keys() {
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                found.push(Problem { at: vec!["headers".into(), name.clone()], message: format!("`{name}` is not a header's name"), hint: None });
            }
        }
        if self.bearer.is_some() && self.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
            found.push(problem("bearer", "`bearer` and an `Authorization` header exclude each other", None));
        }
        found
    }
}

fn prefixes(serves: &[String], schemes: &[&str]) -> Vec<Problem> {
    let wrong = serves.iter().filter(|url| !schemes.iter().any(|scheme| url.starts_with(scheme)));
    wrong.map(|url| problem("for", format!("`{url}` does not start with {}", schemes.join(" or ")), None)).collect()
}

/// Which connection of `kind` serves `url`: the one named, else the one with the longest matching `for`, else (for S3) the only one
/// without `for`, else none: then the environment says how.
///
/// # Errors
/// `ErrorKind::Config`: no such name, a name of another kind, or several that could serve.
pub(crate) fn choose<T>(kind: &'static str, url: &str, connections: &Map<String, Value>, named: Option<&str>) -> Result<Option<(String, T)>>
where
    T: for<'de> Deserialize<'de> + Connection,
{
    if let Some(name) = named {
        let Some(value) = connections.get(name) else { return Err(unknown(name, connections)) };
        let Some(body) = value.get(kind) else {
            let is = value.as_object().and_then(|o| o.keys().next()).map_or("nothing", String::as_str);
            return Err(Error::config(format!("connection `{name}` is of kind `{is}`; {url} needs one of kind `{kind}`")));
        };
        return Ok(Some((name.to_owned(), parse(name, kind, body)?)));
    }
    let mut best: Option<(usize, String, T)> = None;
    let mut plain: Vec<(String, T)> = Vec::new();
    for (name, body) in connections.iter().filter_map(|(name, value)| Some((name, value.get(kind)?))) {
        let connection: T = parse(name, kind, body)?;
        let matched = connection.serves().iter().filter(|prefix| serves(prefix, url)).map(String::len).max();
        match matched {
            Some(n) if best.as_ref().is_none_or(|(most, ..)| n > *most) => best = Some((n, name.clone(), connection)),
            Some(_) => {}
            None if connection.serves().is_empty() => plain.push((name.clone(), connection)),
            None => {}
        }
    }
    if let Some((_, name, connection)) = best {
        return Ok(Some((name, connection)));
    }
    // A web server's token must not go to whatever host a URL names.
    if kind != "s3" {
        return Ok(None);
    }
    if plain.len() > 1 {
        let names: Vec<String> = plain.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(Error::config(format!("{url} could be reached by several connections: {}", names.join(", ")))
            .hint("name one (`connection: …`) or say in the connections what each is `for: [s3://bucket/]`"));
    }
    Ok(plain.pop())
}

/// What [`choose`] needs to know of a kind.
pub(crate) trait Connection {
    fn serves(&self) -> &[String];
}
impl Connection for S3Connection {
    fn serves(&self) -> &[String] {
        &self.serves
    }
}
impl Connection for HttpConnection {
    fn serves(&self) -> &[String] {
        &self.serves
    }
}

/// `s3://raw` serves `s3://raw` and `s3://raw/x`, not `s3://raw-other`; `s3://raw/cdr` serves whatever starts so.
fn serves(prefix: &str, url: &str) -> bool {
    let after_host = prefix.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    url.strip_prefix(prefix).is_some_and(|rest| after_host || rest.is_empty() || rest.starts_with(['/', '?']))
}

fn parse<T: for<'de> Deserialize<'de>>(name: &str, kind: &str, body: &Value) -> Result<T> {
    let empty = Value::Object(Map::new());
    let body = if body.is_null() { &empty } else { body };
    T::deserialize(body).map_err(|e| Error::config(format!("connection `{name}` ({kind}): {e}")))
}

fn unknown(name: &str, connections: &Map<String, Value>) -> Error {
    let error = Error::config(format!("there is no connection `{name}`"));
    let near = connections.keys().map(|k| (strsim::damerau_levenshtein(k, name), k)).min().filter(|(d, k)| *d <= 1 + k.len() / 3);
    let all: Vec<&str> = connections.keys().map(String::as_str).collect();
    match near {
        Some((_, near)) => error.hint(format!("did you mean `{near}`?")),
        None if all.is_empty() => error.hint("the project has no `connections:`"),
        None => error.hint(format!("there is: {}", all.join(", "))),
    }
}

/// Where environment variables come from: the process, or a test.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// The process's own.
    pub fn process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(get))
    }
    /// A variable's value; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|v| !v.is_empty())
    }
    /// The first of several that is set.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluis_core::ErrorKind;

    use super::*;

    fn pick(connections: &Value, url: &str, named: Option<&str>) -> Result<Option<String>> {
        Ok(choose::<S3Connection>("s3", url, connections.as_object().unwrap(), named)?.map(|(name, _)| name))
    }

    #[test]
    fn the_named_the_longest_prefix_the_only_one_or_the_environment() {
        let all = json!({
            "raw": {"s3": {"for": ["s3://raw"]}}, "deep": {"s3": {"for": ["s3://raw/deep/", "s3://x"]}},
            "rest": {"s3": null}, "web": {"http": {"for": ["https://a.example/"]}}
        });
        for (url, named, is) in [
            ("s3://raw/a", None, "raw"),
            ("s3://raw", None, "raw"),
            ("s3://raw/deep/a", None, "deep"),
            ("s3://rawer/a", None, "rest"),
            ("s3://raw/a", Some("rest"), "rest"),
        ] {
            assert_eq!(pick(&all, url, named).unwrap().as_deref(), Some(is), "{url}");
        }
        assert_eq!(pick(&json!({}), "s3://a/b", None).unwrap(), None);
        assert_eq!(pick(&json!({"raw": {"s3": {"for": ["s3://raw"]}}}), "s3://other/b", None).unwrap(), None);
        let web = all.as_object().unwrap();
        assert!(choose::<HttpConnection>("http", "https://b.example/", web, None).unwrap().is_none());
        assert!(choose::<HttpConnection>("http", "https://a.example/x", web, None).unwrap().is_some());
    }

    #[test]
    fn mistakes_in_names_are_said() {
        let all = json!({"lake": {"s3": {}}, "raw": {"s3": {}}, "web": {"http": {}}});
        let e = pick(&all, "s3://a/b", Some("lkae")).unwrap_err();
        assert_eq!((e.kind(), e.hint_text()), (ErrorKind::Config, Some("did you mean `lake`?")));
        assert!(pick(&all, "s3://a/b", Some("completely-else")).unwrap_err().hint_text().unwrap().contains("lake, raw, web"));
        assert!(pick(&all, "s3://a/b", Some("web")).unwrap_err().message().contains("of kind `http`"));
        assert!(pick(&all, "s3://a/b", None).unwrap_err().message().contains("several connections: `lake`, `raw`"));
        let e = pick(&json!({"a": {"s3": {"bucket": "x"}}}), "s3://a/b", None).unwrap_err();
        assert!(e.message().contains("unknown field `bucket`"), "{e}");
    }

    #[test]
    fn combinations_that_make_no_sense_are_said() {
        let check = |value: Value| (S3_CONNECTION.validate)(&value).into_iter().map(|p| p.at.join(".")).collect::<Vec<_>>();
        assert_eq!(check(json!({})), [""; 0]);
        assert_eq!(check(json!({"access_key": "abcd"})), ["access_key"]);
        assert_eq!(check(json!({"anonymous": true, "profile": "x"})), ["anonymous"]);
        assert_eq!(check(json!({"external_id": "x", "endpoint": "minio:9000"})), ["external_id", "endpoint"]);
        assert_eq!(check(json!({"endpoint": "http://minio:9000"})), ["endpoint"]);
        assert_eq!(check(json!({"endpoint": "http://minio:9000", "allow_http": true, "timeout": "5s", "for": ["raw"]})), ["for"]);
        assert_eq!(check(json!({"endpoint": "http://127.0.0.1:9000"})), [""; 0]);
        assert_eq!((HTTP_CONNECTION.validate)(&json!({"headers": {"a b": "x"}})).len(), 1);
    }

    #[test]
    fn secrets_do_not_show_and_the_schema_knows_every_key() {
        let c = S3Connection::deserialize(&json!({"access_key": "AKIAEXAMPLE", "secret_key": "very-secret-key"})).unwrap();
        let text = format!("{c:?}");
        assert!(!text.contains("AKIAEXAMPLE") && !text.contains("very-secret-key"), "{text}");
        let schema = serde_json::to_value((S3_CONNECTION.schema)()).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert!(schema["properties"]["for"]["description"].as_str().unwrap().contains("URL prefixes"));
    }
}
