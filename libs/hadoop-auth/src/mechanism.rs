//! What every SASL mechanism can do, and the protections it may put on a connection.

use std::fmt;

use crate::{Error, Kind, Result};

/// What SASL calls quality of protection: what is done to the bytes after the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `auth`: nothing; the login only.
    Auth,
    /// `auth-int`: every message carries a checksum that only the two sides can make.
    AuthInt,
    /// `auth-conf`: every message is encrypted, too.
    AuthConf,
}

impl Qop {
    /// The bit that stands for it in RFC 4752's security layer exchange.
    pub(crate) fn bit(self) -> u8 {
        match self {
            Qop::Auth => 1,
            Qop::AuthInt => 2,
            Qop::AuthConf => 4,
        }
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
            Qop::AuthConf => "auth-conf",
        }
    }

    /// The first of `asked` that is in `offered` (bits of [`Qop::bit`]).
    pub(crate) fn choose(asked: &[Qop], offered: u8) -> Result<Qop> {
        if let Some(found) = asked.iter().find(|q| q.bit() & offered != 0) {
            return Ok(*found);
        }
        let names = |all: &mut dyn Iterator<Item = Qop>| all.map(Qop::name).collect::<Vec<_>>().join(", ");
        let theirs = names(&mut [Qop::Auth, Qop::AuthInt, Qop::AuthConf].into_iter().filter(|q| q.bit() & offered != 0));
        let text = format!("no protection in common: the server offers {theirs}; asked for: {}", names(&mut asked.iter().copied()));
        Err(Error::new(Kind::NoCommonProtection, text))
    }
}

impl fmt::Display for Qop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Qop {
    type Err = Error;

    /// The names of SASL (`auth`, `auth-int`, `auth-conf`) and of Hadoop (`authentication`, `integrity`, `privacy`).
    fn from_str(text: &str) -> Result<Qop> {
        Ok(match text.trim() {
            "auth" | "authentication" => Qop::Auth,
            "auth-int" | "integrity" => Qop::AuthInt,
            "auth-conf" | "privacy" => Qop::AuthConf,
            other => return Err(Error::protocol(format!("{other:?} is no protection: auth, auth-int or auth-conf"))),
        })
    }
}

/// The client's side of one SASL login, and after it the protection of the connection. One value serves one connection.
///
/// Calls may take as long as a KDC takes to answer: run them where blocking is allowed until [`SaslMechanism::is_complete`]; wrapping and
/// unwrapping only compute.
pub trait SaslMechanism: Send {
    /// The name that is sent to the server, as in `GSSAPI`.
    fn name(&self) -> &'static str;

    /// The client's first bytes, which go with the name; empty where the server speaks first.
    ///
    /// # Errors
    /// If there is no credential, or the KDC refuses.
    fn start(&mut self) -> Result<Vec<u8>>;

    /// The answer to what the server sent.
    ///
    /// # Errors
    /// If the challenge cannot be read, or is not from whom it should be.
    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>>;

    /// Whether this side has nothing more to say, and is content with the other.
    fn is_complete(&self) -> bool;

    /// The negotiated protection; [`Qop::Auth`] until complete.
    fn qop(&self) -> Qop {
        Qop::Auth
    }

    /// How many bytes may go into one [`SaslMechanism::wrap`], so that the server takes the result.
    fn max_plain(&self) -> usize {
        usize::MAX
    }

    /// Protects bytes. Not called under [`Qop::Auth`].
    ///
    /// # Errors
    /// If the session's time is over.
    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>>;

    /// Takes the protection off, and checks it. Not called under [`Qop::Auth`].
    ///
    /// # Errors
    /// [`Kind::Integrity`] if the bytes are not what the server sent, in the order that it sent them.
    fn unwrap(&mut self, wrapped: &[u8]) -> Result<Vec<u8>>;
}
