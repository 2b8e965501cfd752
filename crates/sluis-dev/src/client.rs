//! What clients of a cluster need: exports, configuration files, connections of a project; logs; a shell of the service's own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use sluis_core::{Error, Result};

use crate::cluster::{Cluster, Service};
use crate::{catalog, home, run, up};

/// What `env` hands out.
#[derive(Debug)]
pub struct Client {
    /// Variables for the environment of clients.
    pub exports: BTreeMap<String, String>,
    /// The folder with configuration files, and `sluis.yaml` with every connection.
    pub folder: PathBuf,
}

impl Cluster {
    /// Writes the configuration of clients anew and says what to export.
    ///
    /// # Errors
    /// If there is no such cluster, or a file cannot be written.
    pub fn client(&self) -> Result<Client> {
        let services = self.known()?;
        let folder = self.client_folder();
        home::folder(&folder)?;
        let mut exports = BTreeMap::new();
        let mut yaml = format!("# Connections to the development cluster {}, made by `sluis dev env`.\n", self.name);
        if services.iter().any(|s| !s.said.connections.trim().is_empty()) {
            yaml += "connections:\n";
        }
        for service in &services {
            up::files(self, service)?;
            exports.extend(service.said.exports.clone());
            for line in service.said.connections.lines().filter(|l| !l.trim().is_empty()) {
                yaml += &format!("  {line}\n");
            }
        }
        home::write(&folder.join("sluis.yaml"), yaml.as_bytes())?;
        Ok(Client { exports, folder })
    }

    /// The command that talks to a service in its own way, with `arguments` after it.
    ///
    /// # Errors
    /// If the cluster does not have the service, or the service has no shell.
    pub fn shell(&self, service: &str, arguments: &[String]) -> Result<Command> {
        let services = self.known()?;
        let service = self.one(&services, service)?;
        let [name, rest @ ..] = service.said.shell.as_slice() else {
            return Err(Error::config(format!("the service {} has no shell", service.name)).hint("`sluis dev env` says how to reach it"));
        };
        let ground = service.ground()?;
        let program = if name == "java" { run::java()? } else { run::needed(name, &ground.path, &format!("install `{name}`"))? };
        let mut command = Command::new(program);
        command.args(rest).args(arguments).envs(&ground.environment).envs(&service.said.exports);
        Ok(command)
    }

    /// The logs of a service, or of one process of it (`kudu/master-1`), sorted.
    ///
    /// # Errors
    /// If the cluster does not have the service.
    pub fn logs(&self, target: &str) -> Result<Vec<PathBuf>> {
        let (name, process) = target.split_once('/').map_or((target, None), |(n, p)| (n, Some(p)));
        let services = self.known()?;
        let service = self.one(&services, name)?;
        let begin = process.map_or(format!("{}.", service.name), |p| format!("{}.{p}.", service.name));
        let entries = std::fs::read_dir(self.folder.join("logs")).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = entries.filter(|e| e.file_name().to_string_lossy().starts_with(&begin)).map(|e| e.path()).collect();
        logs.sort();
        Ok(logs)
    }

    fn known(&self) -> Result<Vec<Service>> {
        let mut state = self.state()?.ok_or_else(|| self.is_not_there())?;
        self.services(&mut state)
    }

    fn one<'a>(&self, services: &'a [Service], name: &str) -> Result<&'a Service> {
        catalog::asked(name)?;
        services.iter().find(|s| s.name == name).ok_or_else(|| {
            Error::not_found(format!("the cluster {} has no service {name}", self.name)).hint(format!("`sluis dev up {name}` adds it"))
        })
    }
}
