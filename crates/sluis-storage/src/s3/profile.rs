//! Profiles: the files `~/.aws/credentials` and `~/.aws/config`.
//!
//! Deliberately not here: sign-in through a browser (SSO) and helper programs; a profile that needs them is refused with the way out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sluis_core::secret::Secret;
use sluis_core::{Error, Result};

use super::sts::Role;
use crate::connection::Environment;

/// What a profile says.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub keys: Option<Keys>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub role: Option<Role>,
    /// The profile whose credentials assume the role.
    pub source: Option<Box<Profile>>,
}

#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub id: String,
    pub secret: Secret,
    pub token: Option<Secret>,
}

type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// `[section]` and `key = value`; comments with `#` or `;`; indented lines (nested settings) are passed over.
fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut at: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.trim();
            let name = name.strip_prefix("profile ").unwrap_or(name).trim().trim_matches('"').to_owned();
            sections.entry(name.clone()).or_default();
            at = Some(name);
        } else if let (Some(section), Some((key, value))) = (&at, trimmed.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            sections.entry(section.clone()).or_default().insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    sections
}

/// Both files, the credentials file's values before the other's.
fn read(environment: &Environment) -> Result<(Sections, Vec<PathBuf>)> {
    let home = environment.get("HOME").map(PathBuf::from);
    let file = |variable: &str, name: &str| environment.get(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(name)));
    let mut all = Sections::new();
    let mut files = Vec::new();
    for path in [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")].into_iter().flatten() {
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).into_iter().for_each(|(name, values)| all.entry(name).or_default().extend(values)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read the profiles in", path.display(), e)),
        }
        files.push(path);
    }
    Ok((all, files))
}

/// The profile `default`, empty if there is none.
pub(super) fn load_default(environment: &Environment) -> Result<Profile> {
    let (sections, _) = read(environment)?;
    if sections.contains_key("default") { resolve("default", &sections, 0) } else { Ok(Profile::default()) }
}

/// # Errors
/// `ErrorKind::Config`: no such profile, or one that cannot be used here.
pub(super) fn load(name: &str, environment: &Environment) -> Result<Profile> {
    let (sections, files) = read(environment)?;
    if !sections.contains_key(name) {
        let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        let names: Vec<&str> = sections.keys().map(String::as_str).collect();
        let error = Error::config(format!("there is no profile `{name}` in {}", files.join(" or ")));
        return Err(if names.is_empty() { error } else { error.hint(format!("there is: {}", names.join(", "))) });
    }
    resolve(name, &sections, 0)
}

fn resolve(name: &str, sections: &Sections, depth: u32) -> Result<Profile> {
    let Some(values) = sections.get(name) else { return Err(Error::config(format!("there is no profile `{name}` that another one refers to"))) };
    if depth > 8 {
        return Err(Error::config(format!("profile `{name}` refers to itself through `source_profile`")));
    }
    let get = |key: &str| values.get(key).filter(|v| !v.is_empty()).cloned();
    let keys = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Some(Keys { id, secret: Secret::new(secret), token: get("aws_session_token").map(Secret::new) }),
        (None, None) => None,
        _ => return Err(Error::config(format!("profile `{name}` has one of aws_access_key_id and aws_secret_access_key, not both"))),
    };
    let role = get("role_arn").map(|arn| Role { arn, external_id: get("external_id"), session: get("role_session_name") });
    let foreign = values.keys().find(|k| k.starts_with("sso_") || *k == "credential_process" || *k == "web_identity_token_file");
    if let (None, Some(key)) = (&keys, foreign) {
        return Err(Error::config(format!("profile `{name}` signs in by `{key}`, which sluis cannot do"))
            .hint(format!("run `eval \"$(aws configure export-credentials --profile {name} --format env)\"` first")));
    }
    let source = match get("source_profile") {
        // A profile may be its own source: its keys assume its role.
        Some(source) if source != name => Some(Box::new(resolve(&source, sections, depth + 1)?)),
        _ => None,
    };
    Ok(Profile { keys, region: get("region"), endpoint: get("endpoint_url"), role, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_through_source_profiles() {
        let sections = parse(
            "[default]\nregion=us-east-1\n[profile base]\naws_access_key_id = B # mine\naws_secret_access_key = ssss\ns3 =\n  addressing_style = path\n\
             [profile role]\nrole_arn = arn:x\nsource_profile = base\nexternal_id=e\n[profile loop]\nrole_arn=a\nsource_profile=loop2\n\
             [profile loop2]\nsource_profile=loop\n[profile sso]\nsso_session = x\n",
        );
        let p = resolve("role", &sections, 0).unwrap();
        assert_eq!(p.role.unwrap().external_id.as_deref(), Some("e"));
        assert_eq!(p.source.unwrap().keys.unwrap().id, "B");
        assert!(resolve("loop", &sections, 0).unwrap_err().message().contains("refers to itself"));
        assert!(resolve("sso", &sections, 0).unwrap_err().hint_text().unwrap().contains("export-credentials"));
        assert!(resolve("default", &sections, 0).unwrap().keys.is_none());
    }
}
