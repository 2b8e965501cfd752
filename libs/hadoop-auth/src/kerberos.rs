//! Who logs in: a principal with a keytab, or the ticket cache that `kinit` fills.
//!
//! A keytab's tickets live in this process's memory. The library gets new ones when half of their time is over or half a minute is left, at the next
//! use: there is no thread that renews. A cache is looked at anew at each use, so what `kinit` puts there counts at once.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::gss::{Credential, Mechanism, Name};
use crate::{Error, Kind, Result};

/// A way to log in. Cheap to clone; clones share their tickets.
#[derive(Debug, Clone)]
pub struct Kerberos(Arc<Source>);

#[derive(Debug)]
enum Source {
    Keytab { principal: String, path: PathBuf, cache: String },
    Cache(Option<String>),
}

/// Who one is, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `user@REALM` or `service/host@REALM`.
    pub principal: String,
    /// How long the ticket is still good.
    pub remaining: Duration,
}

impl Kerberos {
    /// Logs in by a keytab, at once. `_HOST` in the principal is this machine's name. Blocks while the KDC is asked.
    ///
    /// # Errors
    /// [`Kind::Keytab`] if the file cannot be read or has no such key, [`Kind::Refused`] if the key is not (or no longer) the account's,
    /// [`Kind::Expired`] for an account whose time is over, [`Kind::KdcUnreachable`], and others.
    pub fn keytab(principal: &str, path: impl AsRef<Path>) -> Result<Kerberos> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = path.as_ref().to_owned();
        std::fs::File::open(&path).map_err(|e| Error::new(Kind::Keytab, format!("the keytab {} cannot be read: {e}", path.display())))?;
        let cache = format!("MEMORY:hadoop-auth-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let principal = match principal.contains("_HOST") {
            true => principal_for_host(principal, &own_host()?),
            false => principal.to_owned(),
        };
        let login = Kerberos(Arc::new(Source::Keytab { principal, path, cache }));
        login.identity()?;
        Ok(login)
    }

    /// Takes tickets from a cache: the named one (as in `FILE:/tmp/krb5cc_1000`), or what `KRB5CCNAME` and krb5.conf say. It is looked at when a
    /// connection needs it.
    pub fn ticket_cache(name: Option<&str>) -> Kerberos {
        Kerberos(Arc::new(Source::Cache(name.map(str::to_owned))))
    }

    /// Who this is; logs in if there is no good ticket. May block while the KDC is asked.
    ///
    /// # Errors
    /// As [`Kerberos::keytab`]; [`Kind::NoTicket`] and [`Kind::Expired`] for a cache.
    pub fn identity(&self) -> Result<Identity> {
        self.credential(Mechanism::Krb5).map(|(_, identity)| identity)
    }

    pub(crate) fn credential(&self, mechanism: Mechanism) -> Result<(Credential, Identity)> {
        let acquire = || match &*self.0 {
            Source::Keytab { principal, path, cache } => {
                let keytab = format!("FILE:{}", path.display());
                let store: [(&CStr, &str); 2] = [(c"client_keytab", &keytab), (c"ccache", cache)];
                Credential::acquire(Some(&Name::of_client(principal)?), mechanism, false, &store)
            }
            Source::Cache(Some(name)) => Credential::acquire(None, mechanism, false, &[(c"ccache", name)]),
            Source::Cache(None) => Credential::acquire(None, mechanism, false, &[]),
        };
        let look = || {
            let credential = acquire()?;
            let (principal, seconds) = credential.inquire()?;
            if seconds == 0 {
                return Err(Error::new(Kind::Expired, format!("the ticket of {principal} has expired")));
            }
            Ok((credential, Identity { principal, remaining: Duration::from_secs(u64::from(seconds)) }))
        };
        look().map_err(|e: Error| match (e.kind(), &*self.0) {
            (Kind::LibraryMissing, _) => e,
            // The library looks for a ticket when the keytab has no key, and says that.
            (Kind::NoTicket, Source::Keytab { .. }) => Error::new(Kind::Keytab, "the keytab has no key of this principal").while_doing(self),
            _ => e.while_doing(self),
        })
    }
}

impl std::fmt::Display for Kerberos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            Source::Keytab { principal, path, .. } => write!(f, "login as {principal} with the keytab {}", path.display()),
            Source::Cache(Some(name)) => write!(f, "ticket cache {name}"),
            Source::Cache(None) => match std::env::var("KRB5CCNAME") {
                Ok(name) => write!(f, "ticket cache {name} (KRB5CCNAME)"),
                Err(_) => f.write_str("the default ticket cache"),
            },
        }
    }
}

/// A service's principal for one of its hosts: `_HOST` as the second part becomes the host's name in lower case, as Hadoop does.
pub fn principal_for_host(principal: &str, host: &str) -> String {
    let (name, realm) = match principal.split_once('@') {
        Some((name, realm)) => (name, Some(realm)),
        None => (principal, None),
    };
    let name = match name.split_once('/') {
        Some((service, "_HOST")) => format!("{service}/{}", host.to_lowercase()),
        _ => name.to_owned(),
    };
    match realm {
        Some(realm) => format!("{name}@{realm}"),
        None => name,
    }
}

fn own_host() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_takes_its_place_in_lower_case() {
        assert_eq!(principal_for_host("hive/_HOST@EXAMPLE.ORG", "Db1.Example.org"), "hive/db1.example.org@EXAMPLE.ORG");
        assert_eq!(principal_for_host("hive/_HOST", "db1"), "hive/db1");
        assert_eq!(principal_for_host("hive/lb.example.org@A", "db1"), "hive/lb.example.org@A");
        assert_eq!(principal_for_host("my_HOST@A", "db1"), "my_HOST@A");
    }

    #[test]
    fn a_keytab_that_is_not_there_is_said_before_any_library_is_loaded() {
        let error = Kerberos::keytab("a@B", "/nonexistent/a.keytab").unwrap_err();
        assert_eq!(error.kind(), Kind::Keytab);
        assert!(error.to_string().starts_with("the keytab /nonexistent/a.keytab cannot be read: No such file"), "{error}");
    }
}
