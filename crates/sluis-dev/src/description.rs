//! What a service's folder says, typed: `service.toml` (after rendering) and `packages.toml`.
//!
//! Unknown keys are errors. Deliberately not here: rendering ([`crate::render`]) and doing what is said.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use sluis_core::{Error, Result};

/// `service.toml`, rendered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// One line for people.
    pub about: String,
    /// What may stand after the colon in `kafka:3`; the first is the default.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Services that must be ready before this one starts.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Packages needed though no template mentions them.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Wants a Java.
    #[serde(default)]
    pub java: bool,
    /// If it is not the real thing: what it is instead.
    #[serde(default)]
    pub stand_in: String,
    /// If not empty: it is not to be had here, for this reason.
    #[serde(default)]
    pub refuse: String,
    /// Below the service's folder; made before anything runs.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Of every process, step and probe.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub files: Vec<FileSpec>,
    #[serde(default)]
    pub prepare: Vec<Step>,
    #[serde(default)]
    pub processes: Vec<Process>,
    #[serde(default)]
    pub after: Vec<Step>,
    /// What `sluis dev env` prints.
    #[serde(default)]
    pub exports: BTreeMap<String, String>,
    /// YAML lines below `connections:`.
    #[serde(default)]
    pub connections: String,
    #[serde(default)]
    pub shell: Vec<String>,
    #[serde(default)]
    pub faults: BTreeMap<String, Fault>,
}

/// A template that is rendered to a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// In the service's folder of the program.
    pub from: String,
    /// Below the service's folder of the cluster; `client/…` lies below the cluster's.
    pub to: String,
    #[serde(default = "readable")]
    pub mode: String,
    /// More names for this file's template.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

fn readable() -> String {
    "644".into()
}

/// A program that runs to its end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub name: String,
    pub argv: Vec<String>,
    /// Folders to empty first, so that half a run of before does not matter.
    #[serde(default)]
    pub clears: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub stdin: String,
    #[serde(default = "minute", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Not run while this holds.
    #[serde(default)]
    pub unless: Option<Probe>,
    /// At every `up` that starts something of the service, not once.
    #[serde(default)]
    pub every: bool,
}

/// A program that stays.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub name: String,
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The most memory it is meant to take, in bytes.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    #[serde(default)]
    pub stop: Stop,
    /// From the stop signal to SIGKILL.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub grace: Duration,
    /// Processes of the same service that must be ready first.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Run once, before its first start.
    #[serde(default)]
    pub prepare: Vec<Step>,
    /// For all of `ready` together.
    #[serde(default = "two_minutes", deserialize_with = "duration")]
    pub timeout: Duration,
    pub ready: Vec<Probe>,
}

/// The signal that asks a process to end.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stop {
    #[default]
    Term,
    Int,
    Quit,
}

/// A question to a service and what its answer must look like.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// A URL to GET, plain HTTP.
    pub http: Option<String>,
    pub status: Option<u16>,
    /// `address:port` to connect to.
    pub tcp: Option<String>,
    pub send: Option<String>,
    pub send_hex: Option<String>,
    /// A program whose exit code must be 0.
    pub run: Option<Vec<String>>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A file below the service's folder that must exist.
    pub file: Option<String>,
    /// A regular expression over the answer.
    pub answer: Option<String>,
    /// The same over the answer in hexadecimal digits.
    pub answer_hex: Option<String>,
}

/// A fault that only this service knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    #[serde(rename = "do")]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub undo: Vec<Step>,
}

/// An entry of `packages.toml`: exactly one of the kinds.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maven: Vec<Artifact>,
    /// Archive among the artifacts -> folder to unpack it to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unpack: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executable: Vec<String>,
    /// Folders of what was unpacked that nobody needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// `module@version`.
    pub go: Option<String>,
    /// What Go's checksum of the module is.
    pub sum: Option<String>,
    /// A requirements file of the service's folder.
    pub pip: Option<String>,
    #[serde(default)]
    pub npm: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debian: Vec<String>,
    /// Programs that stand for the Debian packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Where to look for programs, besides the usual places; a part may be `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

/// A Maven coordinate `group:artifact:version[:type[:classifier]]`, perhaps with exclusions.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Artifact {
    Plain(String),
    Without(Without),
}

/// A coordinate without some of what it brings.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Without {
    pub artifact: String,
    /// `group:artifact`, `*` allowed for either.
    pub exclude: Vec<String>,
}

impl Artifact {
    /// The coordinate's parts, and what is excluded.
    pub fn parts(&self) -> (Vec<&str>, &[String]) {
        match self {
            Artifact::Plain(text) => (text.split(':').collect(), &[]),
            Artifact::Without(without) => (without.artifact.split(':').collect(), &without.exclude),
        }
    }
}

/// # Errors
/// If the text is not such a description. The program brings it, so this is a bug of ours.
pub fn parse(service: &str, text: &str) -> Result<Description> {
    let parsed: Description = toml::from_str(text).map_err(|e| bug(service, "service.toml", e))?;
    for process in &parsed.processes {
        if process.ready.is_empty() || process.argv.is_empty() {
            return Err(bug(service, "service.toml", format!("the process {} has no `ready` or no `argv`", process.name)));
        }
    }
    Ok(parsed)
}

/// # Errors
/// As [`parse`].
pub fn parse_packages(service: &str, text: &str) -> Result<BTreeMap<String, Package>> {
    let parsed: BTreeMap<String, Package> = toml::from_str(text).map_err(|e| bug(service, "packages.toml", e))?;
    for (name, p) in &parsed {
        let kinds = [!p.maven.is_empty(), p.go.is_some(), p.pip.is_some(), p.npm, !p.debian.is_empty()];
        if kinds.iter().filter(|k| **k).count() != 1 {
            return Err(bug(service, "packages.toml", format!("{name} must be of exactly one kind")));
        }
    }
    Ok(parsed)
}

fn bug(service: &str, file: &str, why: impl std::fmt::Display) -> Error {
    Error::internal(format!("the description of the service {service} is wrong: {why}")).context("file", format!("services/{service}/{file}"))
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// `10s`, `2min`, `500ms`.
fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let (number, unit) = split(&text);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        _ => return Err(serde::de::Error::custom(format!("`{text}` is not a time like 10s, 2min, 500ms"))),
    };
    number.map(|n| Duration::from_millis(n * scale)).ok_or_else(|| serde::de::Error::custom(format!("`{text}` has no number")))
}

/// `128MB`, `1GB`; binary, as Java and Linux count.
fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    let (number, unit) = split(&text);
    let scale = match unit {
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return Err(serde::de::Error::custom(format!("`{text}` is not a size like 128MB, 1GB"))),
    };
    number.map(|n| n * scale).ok_or_else(|| serde::de::Error::custom(format!("`{text}` has no number")))
}

fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}
