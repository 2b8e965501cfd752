//! The server's side of GSSAPI: enough to prove the client's, and for stand-ins of servers that no registry has.

use std::path::Path;

use crate::gss::{Context, Credential, Mechanism, Name};
use crate::{Error, Qop, Result};

/// A server's side of one SASL GSSAPI login, and of the connection after it.
pub struct Acceptor {
    credential: Credential,
    context: Context,
    offer: Vec<Qop>,
    /// The largest message that this side takes.
    largest: u32,
    state: State,
    /// Who has logged in.
    client: String,
    /// The authorization id that the client asked for.
    authorize_as: String,
}

enum State {
    Tickets,
    Offered,
    Done { qop: Qop, theirs: u32 },
}

impl Acceptor {
    /// A server of this principal (`service/host@REALM`) and keytab, which offers `offer` and takes messages up to `largest` bytes.
    ///
    /// # Errors
    /// If the library or the key is missing.
    pub fn new(principal: &str, keytab: &Path, offer: &[Qop], largest: u32) -> Result<Acceptor> {
        let store = format!("FILE:{}", keytab.display());
        let credential = Credential::acquire(Some(&Name::of_service(principal)?), Mechanism::Krb5, true, &[(c"keytab", &store)])?;
        Ok(Acceptor {
            credential,
            context: Context::new()?,
            offer: offer.to_vec(),
            largest,
            state: State::Tickets,
            client: String::new(),
            authorize_as: String::new(),
        })
    }

    /// A server that takes SPNEGO's tokens; only [`Acceptor::token`] is of use then.
    ///
    /// # Errors
    /// As [`Acceptor::new`].
    pub fn negotiate(principal: &str, keytab: &Path) -> Result<Acceptor> {
        let mut acceptor = Acceptor::new(principal, keytab, &[], 0)?;
        let store = format!("FILE:{}", keytab.display());
        acceptor.credential = Credential::acquire(Some(&Name::of_service(principal)?), Mechanism::Spnego, true, &[(c"keytab", &store)])?;
        Ok(acceptor)
    }

    /// One token of GSSAPI without SASL around it.
    ///
    /// # Errors
    /// If the token is not for this server.
    pub fn token(&mut self, token: &[u8]) -> Result<Vec<u8>> {
        let (out, client) = self.context.accept(&self.credential, token)?;
        if !client.is_empty() {
            self.client = client;
        }
        Ok(out)
    }

    /// The answer to what the client sent: its first message, its empty one after the tickets, its choice of protection.
    ///
    /// # Errors
    /// If the message cannot be read, or chooses what was not offered.
    pub fn step(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        match self.state {
            State::Tickets if !self.context.is_done() => {
                let out = self.token(message)?;
                // Without a token of its own it goes on at once.
                if self.context.is_done() && out.is_empty() { self.offer_layers() } else { Ok(out) }
            }
            State::Tickets => self.offer_layers(),
            State::Offered => {
                let (choice, _) = self.context.unwrap(message)?;
                let [bit, a, b, c, user @ ..] = &choice[..] else {
                    return Err(Error::protocol("the client's choice of protection is too short"));
                };
                let chosen = self.offer.iter().copied().find(|q| q.bit() == *bit);
                let qop = chosen.ok_or_else(|| Error::protocol(format!("the client chose the protection {bit}, which was not offered")))?;
                self.authorize_as = String::from_utf8_lossy(user).into_owned();
                self.state = State::Done { qop, theirs: u32::from_be_bytes([0, *a, *b, *c]) };
                Ok(Vec::new())
            }
            State::Done { .. } => Err(Error::protocol("the login is complete")),
        }
    }

    fn offer_layers(&mut self) -> Result<Vec<u8>> {
        let mut offer = self.largest.to_be_bytes();
        offer[0] = self.offer.iter().fold(0, |bits, q| bits | q.bit());
        self.state = State::Offered;
        self.context.wrap(&offer, false)
    }

    /// The protection that the client chose, and the largest message that it takes; `None` until the login is complete.
    pub fn agreed(&self) -> Option<(Qop, u32)> {
        match self.state {
            State::Done { qop, theirs } => Some((qop, theirs)),
            _ => None,
        }
    }

    /// Who has logged in, as `user@REALM`, and whom they asked to be (empty: themselves).
    pub fn client(&self) -> (&str, &str) {
        (&self.client, &self.authorize_as)
    }

    /// Protects bytes as agreed.
    ///
    /// # Errors
    /// Before the login is complete.
    pub fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let confidential = matches!(self.state, State::Done { qop: Qop::AuthConf, .. });
        self.context.wrap(plain, confidential)
    }

    /// Takes the protection off: the bytes, and whether they were encrypted.
    ///
    /// # Errors
    /// If the bytes are not what the client sent.
    pub fn unwrap(&mut self, wrapped: &[u8]) -> Result<(Vec<u8>, bool)> {
        self.context.unwrap(wrapped)
    }
}
