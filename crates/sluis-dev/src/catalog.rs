//! The services that the program brings: folders of files, put into it by `build.rs`.
//!
//! Deliberately not here: a list of services. A folder is one.

use std::collections::BTreeMap;

use sluis_core::{Error, Result};

use crate::description::{Package, parse_packages};

/// (service, file, bytes), sorted.
const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/services.rs"));

/// What `up` brings up where no service is named.
pub const USUAL: [&str; 5] = ["hdfs", "metastore", "kudu", "kafka", "s3"];

/// Names of all services, sorted.
pub fn names() -> Vec<&'static str> {
    FILES.iter().filter(|(_, file, _)| *file == "service.toml").map(|(service, _, _)| *service).collect()
}

/// A file of a service's folder.
pub fn file(service: &str, name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(s, n, _)| *s == service && *n == name).map(|(_, _, bytes)| *bytes)
}

/// The same as text.
///
/// # Errors
/// If there is none, which is a bug of the description.
pub fn text(service: &str, name: &str) -> Result<&'static str> {
    let bytes = file(service, name).ok_or_else(|| Error::internal(format!("the service {service} has no file {name}")))?;
    std::str::from_utf8(bytes).map_err(|_| Error::internal(format!("services/{service}/{name} is not text")))
}

/// What `packages.toml` of a service pins.
///
/// # Errors
/// If it cannot be read, which is a bug of ours.
pub fn packages(service: &str) -> Result<BTreeMap<String, Package>> {
    match file(service, "packages.toml") {
        Some(_) => parse_packages(service, text(service, "packages.toml")?),
        None => Ok(BTreeMap::new()),
    }
}

/// `kafka:3` taken apart; the variant is empty where none is given.
///
/// # Errors
/// If there is no such service.
pub fn asked(text: &str) -> Result<(String, String)> {
    let (name, variant) = text.split_once(':').unwrap_or((text, ""));
    let all = names();
    if all.contains(&name) {
        return Ok((name.to_owned(), variant.to_owned()));
    }
    let error = Error::config(format!("there is no service `{name}`"));
    Err(error.hint(format!("the services are {}", all.join(", "))))
}
