//! The client: addresses, connections that are kept, and which calls may be repeated.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::connection::{Connection, How, Login, Raises};
use crate::fields::Field;
use crate::wire::{Struct, Value};
use crate::{Error, Kind, Result};

/// How many idle connections are kept.
const KEPT: usize = 8;

/// What a client needs to know; see [`Client::builder`].
#[derive(Clone)]
pub struct Builder {
    addresses: Vec<String>,
    how: How,
}

/// A client of one metastore service, whatever number of servers it has. Cheap to clone; clones share connections. Each call takes a
/// connection for itself, so calls of several tasks run at once.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    addresses: Vec<String>,
    how: How,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// The address that worked last.
    preferred: usize,
}

/// Whether a call may be repeated where nobody knows if it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or leaves the same behind when done twice.
    Safe,
    Never,
}

impl Client {
    /// A client for `hive.metastore.uris`: `thrift://host:9083`, several with commas between them. Nothing is connected yet.
    ///
    /// # Errors
    /// If there is no address, or one has another scheme or no port.
    pub fn builder(uris: &str) -> Result<Builder> {
        let mut addresses = Vec::new();
        for uri in uris.split(',').map(str::trim).filter(|u| !u.is_empty()) {
            let address = uri.strip_prefix("thrift://").unwrap_or(uri).trim_end_matches('/');
            let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok())?);
            if address.contains("://") || port.is_none() {
                return Err(Error::protocol(format!("{uri:?} is no address of a metastore: thrift://host:port")));
            }
            addresses.push(address.to_owned());
        }
        if addresses.is_empty() {
            return Err(Error::protocol("no address of a metastore: thrift://host:port"));
        }
        let how = How { tls: None, login: None, framed: false, user: None, connect: Duration::from_secs(20), answer: Duration::from_secs(600) };
        Ok(Builder { addresses, how })
    }

    /// Calls a method and gives the field 0 of its result, if it has one.
    pub(crate) async fn call(&self, method: &str, arguments: Struct, raises: Raises, repeat: Repeat) -> Result<Option<Value>> {
        // Kept connections may be dead: all are tried before new ones are made. Each address is tried once.
        let mut addresses = self.0.addresses.len();
        loop {
            let kept = self.state().idle.pop();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(mut connection) => {
                    // One that the server has closed meanwhile must not leave a call of which nobody knows whether it was done.
                    if repeat == Repeat::Never && !connection.is_alive().await {
                        continue;
                    }
                    connection
                }
                None => {
                    let opened = self.connect(&mut addresses).await?;
                    addresses = addresses.saturating_sub(1);
                    opened
                }
            };
            match connection.call(method, &arguments, raises).await {
                Ok(mut result) => {
                    self.keep(connection);
                    return Ok(result.take(0));
                }
                Err((e, good)) => {
                    if good {
                        self.keep(connection);
                    }
                    let lost = e.kind() == Kind::Unknown;
                    if lost && !was_kept {
                        self.prefer_next();
                    }
                    if !lost || repeat == Repeat::Never || (!was_kept && addresses == 0) {
                        return Err(e);
                    }
                }
            }
        }
    }

    /// As [`Client::call`], where the answer must be a `T`.
    pub(crate) async fn get<T: Field>(&self, method: &str, arguments: Struct, raises: Raises, repeat: Repeat) -> Result<T> {
        let value = self.call(method, arguments, raises, repeat).await?;
        let value = value.ok_or_else(|| Error::protocol(format!("the answer to {method} is empty")))?;
        T::of(value)?.ok_or_else(|| Error::protocol(format!("the answer to {method} is of another type")))
    }

    /// A new connection to the first address that takes one, the one that worked last at first. `left`: how many may still be tried.
    async fn connect(&self, left: &mut usize) -> Result<Connection> {
        let mut failed: Vec<String> = Vec::new();
        loop {
            let at = self.state().preferred;
            let address = &self.0.addresses[at % self.0.addresses.len()];
            let error = match Connection::open(address, &self.0.how).await {
                Ok(connection) => return Ok(connection),
                Err(e) => e,
            };
            failed.push(error.to_string());
            self.prefer_next();
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(Error::new(error.kind(), failed.join("; ")));
            }
        }
    }

    fn prefer_next(&self) {
        let mut state = self.state();
        state.preferred = (state.preferred + 1) % self.0.addresses.len();
        // They lead to the address that failed.
        state.idle.clear();
    }

    fn keep(&self, connection: Connection) {
        let mut state = self.state();
        if state.idle.len() < KEPT {
            state.idle.push(connection);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.0.addresses).finish()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builder").field(&self.addresses).finish()
    }
}

impl Builder {
    /// Asks for TLS (`hive.metastore.use.SSL`) with a configuration: [`crate::tls`] makes one.
    #[must_use]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Builder {
        self.how.tls = Some(config);
        self
    }

    /// Asks for SASL (`hive.metastore.sasl.enabled`): `login` makes the mechanism for a connection to a host.
    #[must_use]
    pub fn sasl(mut self, login: Login) -> Builder {
        self.how.login = Some(login);
        self
    }

    /// Asks for framed transport (`hive.metastore.thrift.framed.transport.enabled`).
    #[must_use]
    pub fn framed(mut self) -> Builder {
        self.how.framed = true;
        self
    }

    /// Says who one is where the metastore believes it (`set_ugi`): without SASL only.
    #[must_use]
    pub fn user(mut self, user: &str, groups: &[&str]) -> Builder {
        self.how.user = Some((user.to_owned(), groups.iter().map(|g| (*g).to_owned()).collect()));
        self
    }

    /// How long one address may take to connect, TLS and login included (20 s), and a call to be answered (10 min: a metastore makes folders while it adds
    /// partitions).
    #[must_use]
    pub fn timeouts(mut self, connect: Duration, answer: Duration) -> Builder {
        (self.how.connect, self.how.answer) = (connect, answer);
        self
    }

    /// The client. Nothing is connected before the first call.
    pub fn build(self) -> Client {
        Client(Arc::new(Inner { addresses: self.addresses, how: self.how, state: Mutex::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_hive() {
        let builder = Client::builder("thrift://a.example.org:9083, thrift://[::1]:9084/").unwrap();
        assert_eq!(builder.addresses, ["a.example.org:9083", "[::1]:9084"]);
        for bad in ["", "thrift://a", "http://a:1", "thrift://:9083", "thrift://a:port"] {
            let error = Client::builder(bad).unwrap_err();
            assert!(error.to_string().contains("thrift://host:port"), "{error}");
        }
    }
}
