//! What happens while a cluster comes up, for whoever shows it.

use std::time::Duration;

/// Something that happened to a service.
#[derive(Debug, Clone)]
pub enum Event {
    /// A package is being fetched; `kind` says by which client.
    Fetching {
        package: String,
        kind: &'static str,
    },
    Fetched {
        package: String,
        took: Duration,
        bytes: u64,
    },
    /// It waits for another service.
    Waiting {
        on: String,
    },
    /// A step runs.
    Step {
        name: String,
    },
    /// A process was started.
    Started {
        process: String,
    },
    /// A process answers.
    Ready {
        process: String,
        took: Duration,
    },
    /// All of it is ready; `already`: nothing had to be started.
    Up {
        took: Duration,
        already: bool,
    },
    Failed {
        why: String,
    },
    /// A process was ended; `killed`: it did not end when asked.
    Stopped {
        process: String,
        killed: bool,
    },
    Note(String),
}

/// Where events go. Called from several threads.
pub trait Tell: Send + Sync {
    fn tell(&self, service: &str, event: Event);
}

/// Tells nobody.
pub struct Silent;

impl Tell for Silent {
    fn tell(&self, _: &str, _: Event) {}
}
