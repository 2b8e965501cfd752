//! Development clusters: real services on loopback, brought up by one command, and the ground that tests stand on.
//!
//! | room | what |
//! |---|---|
//! | `services/` (beside `src`) | a folder per service: description, templates, pins of packages |
//! | `catalog`, `description`, `render` | those folders inside the program; what they say, typed; templates to text |
//! | `packages/` | what services are made of, fetched once per user |
//! | `home`, `cluster` | where everything lies; a cluster's folder and what is known of it |
//! | `processes`, `ports`, `probe`, `run` | processes found from `/proc`; sockets; questions; programs that end |
//! | `up`, `start`, `stop`, `fault`, `status`, `client` | what can be done with a cluster |
//!
//! Guarantees: everything listens on loopback only; `stop` leaves no process, whatever became of the process that started it; a second `up` needs
//! no network. Deliberately not here: the command line, and anything that is for production. Linux only: `/proc` is the truth about processes.

mod catalog;
mod client;
mod cluster;
mod description;
mod fault;
mod home;
mod packages;
mod ports;
mod probe;
mod processes;
mod render;
mod run;
mod start;
mod status;
mod stop;
mod tell;
mod up;

pub use catalog::{USUAL, names};
pub use client::Client;
pub use cluster::Cluster;
pub use fault::FAULTS;
pub use home::{Home, cache};
pub use ports::Listener;
pub use status::{ProcessStatus, ServiceState, ServiceStatus, Status};
pub use tell::{Event, Silent, Tell};
pub use up::{Brought, Up};

/// Fetches the packages of services and starts nothing.
///
/// # Errors
/// If there is no such service, or something cannot be had.
pub fn fetch(home: &Home, services: &[String], tell: &dyn Tell) -> sluis_core::Result<()> {
    for text in services {
        let (service, _) = catalog::asked(text)?;
        for name in catalog::packages(&service)?.keys() {
            packages::ensure(home, &service, name, tell)?;
        }
    }
    Ok(())
}

/// Name, variants and one line of every service, sorted by name.
///
/// # Errors
/// If a description is wrong, which is a bug of ours.
pub fn abouts() -> sluis_core::Result<Vec<(String, Vec<String>, String)>> {
    // Descriptions are templates: one of a cluster that is never made.
    let home = Home::of_user()?;
    let cluster = Cluster::named(&home, "none")?;
    let each = catalog::names().into_iter().map(|name| {
        let mut state = cluster::State::default();
        cluster::ask(&mut state, name)?;
        let all = cluster.services(&mut state)?;
        let said = all.into_iter().find(|s| s.name == name).map(|s| s.said);
        let said = said.ok_or_else(|| sluis_core::Error::internal(format!("the service {name} is not among those asked for")))?;
        let about = if said.stand_in.is_empty() { said.about } else { format!("{} (a stand-in: {})", said.about, said.stand_in) };
        Ok((name.to_owned(), said.variants, about))
    });
    each.collect()
}
