//! What can go wrong while a client proves who it is, in classes that a caller can act on.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// This machine has no GSSAPI library. Only said when Kerberos is asked for.
    LibraryMissing,
    /// The keytab cannot be read, or has no key for the principal.
    Keytab,
    /// There is no ticket: no cache, or an empty one.
    NoTicket,
    /// The ticket or the account is past its time.
    Expired,
    /// The name is known and the proof is wrong: a wrong password, an old key, an account that is locked.
    Refused,
    /// The KDC does not know the client.
    UnknownClient,
    /// The KDC does not know the service that was asked for.
    UnknownService,
    /// No KDC answers. Worth a retry.
    KdcUnreachable,
    /// The clocks of client, KDC and server are too far apart.
    ClockSkew,
    /// Client and server have no mechanism or no protection in common.
    NoCommonProtection,
    /// The other side broke the protocol, or sent what cannot be read.
    Protocol,
    /// A message was changed, repeated or lost on its way.
    Integrity,
    /// The connection failed. Worth a retry.
    Io,
    /// Any other failure of the Kerberos library.
    Other,
}

impl Kind {
    /// Whether the same call may go well a moment later without anybody's doing.
    pub fn is_transient(self) -> bool {
        matches!(self, Kind::KdcUnreachable | Kind::Io)
    }

    fn hint(self) -> Option<&'static str> {
        Some(match self {
            Kind::LibraryMissing => "install MIT Kerberos's GSSAPI library (Debian: libgssapi-krb5-2; Red Hat: krb5-libs)",
            Kind::Keytab => "look at what it holds with `klist -kt KEYTAB`",
            Kind::NoTicket => "run `kinit`, point KRB5CCNAME to the cache, or give a keytab",
            Kind::Expired => "run `kinit` anew; for a keytab, ask whether the account has expired",
            Kind::Refused => "the key may be older than the account's: export the keytab anew",
            Kind::UnknownClient => "compare the principal, its realm and its case with `klist -kt KEYTAB`",
            Kind::UnknownService => {
                "compare the service's principal with the server's configuration; a wrong host name or realm mapping gives this, too"
            }
            Kind::KdcUnreachable => "look at the [realms] section of krb5.conf (KRB5_CONFIG), and whether its kdc answers",
            Kind::ClockSkew => "set the clocks by NTP",
            Kind::NoCommonProtection => "the server's setting is hadoop.rpc.protection or hive.server2.thrift.sasl.qop: ask for the same here",
            Kind::Protocol | Kind::Integrity | Kind::Io | Kind::Other => return None,
        })
    }
}

/// An error: its text says what was tried, with what, and why it failed.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    text: String,
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a class.
    pub fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    pub(crate) fn protocol(text: impl Into<String>) -> Error {
        Error::new(Kind::Protocol, text)
    }

    /// The class.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same error with what was tried in front of it.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Error {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.kind.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        // Ours, on its way back out of a stream.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(ours) => ours.clone(),
            None => Error::new(Kind::Io, error.to_string()),
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = match error.kind {
            Kind::Protocol | Kind::Integrity => std::io::ErrorKind::InvalidData,
            Kind::Io | Kind::KdcUnreachable => std::io::ErrorKind::ConnectionAborted,
            _ => std::io::ErrorKind::PermissionDenied,
        };
        std::io::Error::new(kind, error)
    }
}
