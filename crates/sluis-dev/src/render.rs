//! Templates of a service to text: ports are chosen, packages noted as they are mentioned.
//!
//! Deliberately not here: what the text means. Guarantee: the same cluster renders the same text every time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::{AutoEscape, Environment, Error as TemplateError, ErrorKind as TemplateErrorKind, UndefinedBehavior, Value};
use sluis_core::{Error, Result};

use crate::home::Home;
use crate::{catalog, packages, ports};

/// Ports by service and name.
pub type Ports = BTreeMap<String, BTreeMap<String, u16>>;

/// What templates may ask about a cluster, and what they left when they asked.
#[derive(Clone)]
pub struct World {
    home: Home,
    cluster: PathBuf,
    secure: bool,
    /// Service -> variant.
    services: BTreeMap<String, String>,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    ports: Ports,
    /// Ports of other clusters.
    foreign: BTreeSet<u16>,
    /// (service, package), as mentioned since the last [`World::mentioned`].
    packages: BTreeSet<(String, String)>,
}

impl World {
    /// `ports`: those chosen before; `foreign`: those of other clusters, which are left to them.
    pub fn new(home: &Home, cluster: &Path, secure: bool, services: BTreeMap<String, String>, ports: Ports, foreign: BTreeSet<u16>) -> World {
        let told = Told { ports, foreign, packages: BTreeSet::new() };
        World { home: home.clone(), cluster: cluster.into(), secure, services, told: Arc::new(Mutex::new(told)) }
    }

    /// Every port chosen so far.
    pub fn ports(&self) -> Ports {
        self.told().ports.clone()
    }

    /// The packages that templates mentioned since this was last asked.
    pub fn mentioned(&self) -> BTreeSet<(String, String)> {
        std::mem::take(&mut self.told().packages)
    }

    /// The service's folder in the cluster.
    pub fn dir(&self, service: &str) -> PathBuf {
        self.cluster.join(service)
    }

    /// Renders the file `name` of a service's folder.
    ///
    /// # Errors
    /// If the template is wrong (a bug of ours), or no port is free.
    pub fn render(&self, service: &str, variant: &str, name: &str) -> Result<String> {
        self.render_with(service, variant, name, &BTreeMap::new())
    }

    /// The same with more names.
    ///
    /// # Errors
    /// As [`World::render`].
    pub fn render_with(&self, service: &str, variant: &str, name: &str, more: &BTreeMap<String, String>) -> Result<String> {
        let source = catalog::text(service, name)?;
        if name.ends_with(".raw") {
            return Ok(source.to_owned());
        }
        self.render_text(service, variant, &format!("services/{service}/{name}"), source, more)
    }

    fn render_text(&self, service: &str, variant: &str, name: &str, source: &str, more: &BTreeMap<String, String>) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_keep_trailing_newline(true);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        self.functions(&mut environment, service);
        let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        let values = [
            ("dir", text(&self.dir(service))),
            ("cluster", text(&self.cluster)),
            ("client", text(&self.cluster.join("client"))),
            ("secure", Value::from(self.secure)),
            ("variant", Value::from(variant)),
            ("nodes", Value::from(variant.parse::<u32>().unwrap_or(1))),
            ("root", Value::from(is_root())),
            ("user", Value::from(user())),
            ("arch", Value::from(std::env::consts::ARCH)),
        ];
        let more = more.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str())));
        let context: Value = values.into_iter().chain(more).collect();
        environment.render_named_str(name, source, context).map_err(|e| {
            let causes = std::iter::successors(std::error::Error::source(&e), |e| e.source()).map(|e| format!(": {e}")).collect::<String>();
            Error::internal(format!("the template {name} cannot be rendered: {e}{causes}"))
        })
    }

    fn functions(&self, environment: &mut Environment<'_>, service: &str) {
        let (world, own) = (self.clone(), service.to_owned());
        environment.add_function("port", move |name: String| world.port(&own, &name));
        let world = self.clone();
        environment.add_function("port_of", move |service: String, name: String| world.port(&service, &name));
        let world = self.clone();
        environment.add_function("dir_of", move |service: String| world.dir(&service).to_string_lossy().into_owned());
        let world = self.clone();
        environment.add_function("has", move |service: String| world.services.contains_key(&service));
        let world = self.clone();
        environment.add_function("variant_of", move |service: String| world.services.get(&service).cloned().unwrap_or_default());
        let (world, own) = (self.clone(), service.to_owned());
        environment.add_function("package", move |name: String| world.package(&own, &name));
        environment.add_function("jvm", |memory: String| jvm(&memory));
        environment.add_function("sh", |text: String| quoted(&text));
        environment.add_function("hadoop_xml", |values: Value| hadoop_xml(&values));
    }

    fn port(&self, service: &str, name: &str) -> std::result::Result<u16, TemplateError> {
        let mut told = self.told();
        if let Some(port) = told.ports.get(service).and_then(|ports| ports.get(name)) {
            return Ok(*port);
        }
        let mut taken: BTreeSet<u16> = told.ports.values().flat_map(|ports| ports.values().copied()).collect();
        taken.extend(&told.foreign);
        let port = ports::choose(&format!("{} {service} {name}", self.cluster.display()), &taken)
            .ok_or_else(|| TemplateError::new(TemplateErrorKind::InvalidOperation, "no port of 127.0.0.1 is free"))?;
        told.ports.entry(service.to_owned()).or_default().insert(name.to_owned(), port);
        Ok(port)
    }

    fn package(&self, service: &str, name: &str) -> std::result::Result<String, TemplateError> {
        let (service, name) = name.split_once('/').unwrap_or((service, name));
        let folder =
            packages::folder(&self.home, service, name).map_err(|e| TemplateError::new(TemplateErrorKind::InvalidOperation, e.to_string()))?;
        self.told().packages.insert((service.to_owned(), name.to_owned()));
        Ok(folder.to_string_lossy().into_owned())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether we are root.
pub fn is_root() -> bool {
    // SAFETY: `geteuid` only answers a number.
    unsafe { libc::geteuid() == 0 }
}

fn user() -> String {
    let named = std::env::var("USER").ok().filter(|u| !u.is_empty());
    named.unwrap_or_else(|| if is_root() { "root".into() } else { "sluis".into() })
}

/// Members of an argument vector: a small, quick Java that speaks IPv4 only.
fn jvm(memory: &str) -> String {
    let flags = [
        "-Xms32m",
        &format!("-Xmx{memory}"),
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        "-Djava.net.preferIPv4Stack=true",
    ];
    flags.iter().map(|f| format!("\"{f}\"")).collect::<Vec<_>>().join(", ")
}

/// A word for `sh`.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn hadoop_xml(values: &Value) -> std::result::Result<String, TemplateError> {
    let escaped = |v: &Value| v.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut out = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
    for key in values.try_iter()? {
        let value = values.get_item(&key)?;
        out += &format!("  <property><name>{}</name><value>{}</value></property>\n", escaped(&key), escaped(&value));
    }
    Ok(out + "</configuration>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(folder: &Path) -> World {
        let home = Home::at(folder).expect("a home");
        World::new(&home, &folder.join("c"), false, BTreeMap::new(), Ports::new(), BTreeSet::new())
    }

    #[test]
    fn a_port_is_chosen_once_and_the_same_for_everyone() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = world(folder.path());
        let text = world
            .render_text("a", "3", "t", "{{ port('x') }} {{ port('x') }} {{ port_of('a', 'x') }} {{ port('y') }} {{ nodes }}", &BTreeMap::new())
            .expect("text");
        let words: Vec<&str> = text.split(' ').collect();
        assert!(words[0] == words[1] && words[1] == words[2] && words[2] != words[3], "{text}");
        assert_eq!(words[4], "3");
        assert_eq!(world.ports()["a"].len(), 2);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_template() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = world(folder.path()).render_text("a", "", "services/a/x", "{{ nothing }}", &BTreeMap::new()).expect_err("an error").to_string();
        assert!(error.contains("services/a/x"), "{error}");
    }

    #[test]
    fn xml_is_escaped() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = world(folder.path()).render_text("a", "", "x", "{{ hadoop_xml({'a.b': '<&>'}) }}", &BTreeMap::new()).expect("text");
        assert!(text.contains("<name>a.b</name><value>&lt;&amp;&gt;</value>"), "{text}");
    }

    #[test]
    fn every_service_renders_in_every_variant_plain_and_secure() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        for secure in [false, true] {
            let services: BTreeMap<String, String> = catalog::names().into_iter().map(|n| (n.to_owned(), String::new())).collect();
            let world = World::new(&home, &folder.path().join("c"), secure, services, Ports::new(), BTreeSet::new());
            for name in catalog::names() {
                let first = crate::description::parse(name, &world.render(name, "", "service.toml").expect(name)).expect(name);
                for variant in first.variants.iter().map(String::as_str).chain(["1"].into_iter().filter(|_| first.variants.is_empty())) {
                    let said = crate::description::parse(name, &world.render(name, variant, "service.toml").expect(name)).expect(name);
                    for file in &said.files {
                        world.render_with(name, variant, &file.from, &file.values).expect(name);
                    }
                    for need in &said.needs {
                        assert!(catalog::names().contains(&need.as_str()), "{name} needs {need}");
                    }
                }
            }
        }
    }

    #[test]
    fn everything_together_fits_in_eight_gigabytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path()).expect("a home");
        let services: BTreeMap<String, String> = catalog::names().into_iter().map(|n| (n.to_owned(), String::new())).collect();
        let world = World::new(&home, &folder.path().join("c"), false, services, Ports::new(), BTreeSet::new());
        let budget = |name: &str| {
            let said = crate::description::parse(name, &world.render(name, "", "service.toml").expect(name)).expect(name);
            said.processes.iter().map(|p| p.memory).sum::<u64>()
        };
        let all: u64 = catalog::names().into_iter().map(budget).sum();
        assert!(all > 1 << 30 && all <= 8 << 30, "{all} bytes");
    }
}
