//! Where credentials, region and endpoint come from: the connection, then the environment, then a profile, then the machine's role.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{ClientOptions, CredentialProvider, RetryConfig, StaticCredentialProvider};
use sluis_core::{Error, Result};

use super::profile::{self, Keys, Profile};
use super::sts::{AssumeRole, Role};
use crate::connection::{Environment, S3Connection};
use crate::retry::Sleeper;

/// What was found. No credentials: requests go unsigned.
#[derive(Debug)]
pub(super) struct Found {
    pub credentials: Option<AwsCredentialProvider>,
    pub region: String,
    pub endpoint: Option<String>,
}

pub(super) fn find(settings: &S3Connection, environment: &Environment, sleeper: Arc<dyn Sleeper>) -> Result<Found> {
    let own_keys = settings.access_key.is_some() || settings.anonymous;
    let named = settings.profile.clone().or_else(|| if own_keys { None } else { environment.get("AWS_PROFILE") });
    let profile = match &named {
        Some(name) => profile::load(name, environment)?,
        None if own_keys => Profile::default(),
        // Nothing says so: the default profile, if there is one.
        None => profile::load_default(environment)?,
    };
    let from_environment = || environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let region = settings.region.clone().or_else(from_environment).or(profile.region.clone()).unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = settings.endpoint.clone().or_else(|| environment.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])).or(profile.endpoint.clone());
    if settings.anonymous {
        return Ok(Found { credentials: None, region, endpoint });
    }
    let sts = Sts { settings, environment, region: &region, sleeper };
    let mut credentials = match (&settings.access_key, &settings.secret_key) {
        (Some(id), Some(secret)) => fixed(id.expose(), secret.expose(), settings.session_token.as_ref().map(|t| t.expose())),
        // Keys in the environment come before a profile that nobody named.
        _ if named.is_none() && environment.get("AWS_ACCESS_KEY_ID").is_some() => from_variables(environment)?,
        _ => from_profile(&profile, &sts)?.unwrap_or_else(|| Arc::new(Machine::new(environment, &region))),
    };
    if let Some(arn) = &settings.role_arn {
        let role = Role { arn: arn.clone(), external_id: settings.external_id.clone(), session: settings.session_name.clone() };
        credentials = sts.assume(credentials, role)?;
    }
    Ok(Found { credentials: Some(credentials), region, endpoint })
}

fn fixed(id: &str, secret: &str, token: Option<&str>) -> AwsCredentialProvider {
    sluis_core::secret::register(secret);
    token.iter().for_each(|token| sluis_core::secret::register(token));
    let credential = AwsCredential { key_id: id.to_owned(), secret_key: secret.to_owned(), token: token.map(str::to_owned) };
    Arc::new(StaticCredentialProvider::new(credential))
}

fn from_variables(environment: &Environment) -> Result<AwsCredentialProvider> {
    let id = environment.get("AWS_ACCESS_KEY_ID").unwrap_or_default();
    let secret =
        environment.get("AWS_SECRET_ACCESS_KEY").ok_or_else(|| Error::config("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"))?;
    Ok(fixed(&id, &secret, environment.get("AWS_SESSION_TOKEN").as_deref()))
}

fn from_profile(profile: &Profile, sts: &Sts<'_>) -> Result<Option<AwsCredentialProvider>> {
    let base: Option<AwsCredentialProvider> = match (&profile.keys, &profile.source) {
        (Some(Keys { id, secret, token }), _) => Some(fixed(id, secret.expose(), token.as_ref().map(|t| t.expose()))),
        (None, Some(source)) => from_profile(source, sts)?,
        (None, None) => None,
    };
    match &profile.role {
        None => Ok(base),
        Some(role) => {
            let base = base.unwrap_or_else(|| Arc::new(Machine::new(sts.environment, sts.region)));
            Ok(Some(sts.assume(base, role.clone())?))
        }
    }
}

/// What assuming a role needs to know.
struct Sts<'a> {
    settings: &'a S3Connection,
    environment: &'a Environment,
    region: &'a str,
    sleeper: Arc<dyn Sleeper>,
}

impl Sts<'_> {
    fn assume(&self, base: AwsCredentialProvider, role: Role) -> Result<AwsCredentialProvider> {
        let endpoint = self.settings.sts_endpoint.clone().or_else(|| self.environment.first(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]));
        let endpoint = endpoint.unwrap_or_else(|| format!("https://sts.{}.amazonaws.com", self.region));
        let url = self.settings.endpoint_url(&endpoint)?;
        Ok(Arc::new(AssumeRole::new(base, role, url, self.region.to_owned(), self.settings.ca_file.clone(), self.sleeper.clone())?))
    }
}

/// The role of the machine, container or pod: object_store's providers, made when first asked, since making them takes time.
struct Machine {
    variables: Vec<(AmazonS3ConfigKey, String)>,
    region: String,
    disabled: bool,
    provider: std::sync::OnceLock<AwsCredentialProvider>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    fn new(environment: &Environment, region: &str) -> Machine {
        const KNOWN: [&str; 7] = [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_ENDPOINT_URL_STS",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ];
        let variables: Vec<_> = KNOWN.iter().filter_map(|name| Some((name.to_ascii_lowercase().parse().ok()?, environment.get(name)?))).collect();
        let off = environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        Machine { disabled: off && variables.is_empty(), variables, region: region.to_owned(), provider: std::sync::OnceLock::new() }
    }

    fn provider(&self) -> object_store::Result<&AwsCredentialProvider> {
        if let Some(provider) = self.provider.get() {
            return Ok(provider);
        }
        // Short: on a machine without a role, nobody answers at the metadata address.
        let retry = RetryConfig { max_retries: 1, retry_timeout: Duration::from_secs(5), ..RetryConfig::default() };
        let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(2)).with_timeout(Duration::from_secs(10));
        let mut builder = AmazonS3Builder::new().with_bucket_name("none").with_region(&self.region).with_retry(retry).with_client_options(options);
        for (key, value) in &self.variables {
            builder = builder.with_config(*key, value);
        }
        let made = builder.build()?.credentials().clone();
        Ok(self.provider.get_or_init(|| made))
    }
}

#[async_trait]
impl CredentialProvider for Machine {
    type Credential = AwsCredential;
    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if self.disabled {
            return Err(object_store::Error::Generic {
                store: "S3",
                source: "the metadata service is switched off (AWS_EC2_METADATA_DISABLED)".into(),
            });
        }
        let credential = self.provider()?.get_credential().await?;
        sluis_core::secret::register(&credential.secret_key);
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::executor::block_on;
    use sluis_core::secret::Secret;

    use super::*;
    use crate::retry::TokioSleeper;

    fn environment(dir: &std::path::Path, more: &[(&str, &str)]) -> Environment {
        let mut all: BTreeMap<String, String> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.insert("HOME".into(), dir.to_str().unwrap().into());
        all.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        Environment::new(move |name| all.get(name).cloned())
    }

    fn key(found: &Found) -> String {
        block_on(found.credentials.as_ref().unwrap().get_credential()).map_or_else(|e| format!("error: {e}"), |c| c.key_id.clone())
    }

    #[test]
    fn the_order_of_places() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        std::fs::write(
            dir.path().join(".aws/credentials"),
            "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key=s3cr3t\n[work]\naws_access_key_id=WORK\naws_secret_access_key=x\n",
        )
        .unwrap();
        std::fs::write(dir.path().join(".aws/config"), "# mine\n[profile work]\nregion = eu-west-1\nendpoint_url = https://s3.example\n").unwrap();
        let sleeper: Arc<dyn Sleeper> = Arc::new(TokioSleeper);
        let find = |settings: &S3Connection, env: &[(&str, &str)]| find(settings, &environment(dir.path(), env), sleeper.clone()).unwrap();
        let plain = S3Connection::default();
        let variables = [("AWS_ACCESS_KEY_ID", "VARIABLE"), ("AWS_SECRET_ACCESS_KEY", "y"), ("AWS_DEFAULT_REGION", "eu-north-1")];
        let own = S3Connection { access_key: Some(Secret::new("OWN")), secret_key: Some(Secret::new("z")), ..S3Connection::default() };
        let work = S3Connection { profile: Some("work".into()), ..S3Connection::default() };
        assert_eq!(key(&find(&own, &variables)), "OWN");
        assert_eq!(key(&find(&work, &variables)), "WORK");
        assert_eq!(key(&find(&plain, &variables)), "VARIABLE");
        assert_eq!(key(&find(&plain, &[])), "DEFAULT");
        assert_eq!(key(&find(&plain, &[("AWS_PROFILE", "work")])), "WORK");
        let found = find(&work, &[]);
        assert_eq!((found.region.as_str(), found.endpoint.as_deref()), ("eu-west-1", Some("https://s3.example")));
        assert_eq!(find(&plain, &variables).region, "eu-north-1");
        let anonymous = S3Connection { anonymous: true, endpoint: Some("https://e".into()), ..S3Connection::default() };
        assert!(find(&anonymous, &variables).credentials.is_none());
    }

    #[test]
    fn nobody_signed_in_is_an_error_when_it_matters() {
        let dir = tempfile::tempdir().unwrap();
        let found = find(&S3Connection::default(), &environment(dir.path(), &[]), Arc::new(TokioSleeper)).unwrap();
        assert!(key(&found).contains("AWS_EC2_METADATA_DISABLED"));
        let half = environment(dir.path(), &[("AWS_ACCESS_KEY_ID", "x")]);
        assert!(find(&S3Connection::default(), &half, Arc::new(TokioSleeper)).unwrap_err().message().contains("AWS_SECRET_ACCESS_KEY"));
        let missing = S3Connection { profile: Some("wrok".into()), ..S3Connection::default() };
        assert!(find(&missing, &environment(dir.path(), &[]), Arc::new(TokioSleeper)).unwrap_err().message().contains("no profile `wrok`"));
    }
}
