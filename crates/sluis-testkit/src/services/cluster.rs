//! Services of `sluis dev` for tests: each started once for all test programs of a run, and left up for the next test.
//!
//! The cluster lies in `target/services/cluster`; `cargo xtask test` brings it down at its end, `sluis dev` has nothing to do with it. A test that
//! hurts a service takes a cluster of its own instead ([`sluis_dev::Cluster::at`] a folder of its own).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sluis_dev::{Cluster, Home, Silent, Up};

/// A service that is up, and what clients need to reach it.
#[derive(Debug, Clone)]
pub struct Running {
    service: String,
    exports: BTreeMap<String, String>,
    cluster: Cluster,
}

/// Brings a service up, or finds it up.
///
/// # Panics
/// If it cannot be had: the text names what is missing and the command that gets it. A test is never skipped for that.
pub fn service(name: &str) -> Running {
    static SEEN: Mutex<BTreeMap<String, Running>> = Mutex::new(BTreeMap::new());
    let mut seen = SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(running) = seen.get(name) {
        return running.clone();
    }
    let running = bring_up(name).unwrap_or_else(|e| {
        let causes = e.causes().join("\n");
        let hint = e.hint_text().unwrap_or_default();
        panic!("the service {name} cannot be had: {e}\n{causes}\nhint: {hint}\n(`cargo xtask services` fetches what all services are made of)")
    });
    seen.insert(name.to_owned(), running.clone());
    running
}

fn bring_up(name: &str) -> sluis_core::Result<Running> {
    let cluster = Cluster::at(&Home::of_user()?, &super::target().join("services/cluster"))?;
    let up = Up { services: vec![name.to_owned()], ..Up::default() };
    if let Some((service, error)) = cluster.up(&up, &Silent)?.failed.into_iter().next() {
        return Err(error.context("service", service));
    }
    Ok(Running { service: name.to_owned(), exports: cluster.client()?.exports, cluster })
}

impl Running {
    /// A variable as `sluis dev env` exports it, as in `KUDU_MASTERS`.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn export(&self, name: &str) -> &str {
        self.exports.get(name).unwrap_or_else(|| panic!("{} exports no {name}, but {:?}", self.service, self.exports.keys()))
    }

    /// A name that nothing else in the cluster has, in this run or an earlier one: for a database, topic, table, bucket or folder.
    /// `hint`: lower-case letters and digits. The name has `-` between its parts, or `_` in their place if you replace them.
    pub fn namespace(&self, hint: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        format!("{hint}-{now:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// What the service's own shell says to a command.
    ///
    /// # Panics
    /// If the command fails.
    pub fn shell(&self, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut command = self.cluster.shell(&self.service, &arguments).unwrap_or_else(|e| panic!("{e:?}"));
        let out = command.stdin(std::process::Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }

    /// The cluster, for what is not here.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
