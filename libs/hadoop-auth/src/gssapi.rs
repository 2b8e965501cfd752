//! SASL GSSAPI (RFC 4752), the client's side.
//!
//! After the tickets, the server sends four wrapped bytes: which protections it offers and how large a message it takes. The client answers in kind.

use crate::gss::{CONFIDENTIAL, Context, INTEGRITY, Mechanism, Name};
use crate::{Error, Kerberos, Kind, Qop, Result, SaslMechanism, principal_for_host};

/// The largest message this side says that it takes: what three bytes can say.
const LARGEST: u32 = 0xff_ffff;

/// A login by Kerberos.
pub struct Gssapi {
    login: Kerberos,
    service: String,
    target: Name,
    asked: Vec<Qop>,
    authorize_as: String,
    context: Context,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Tickets,
    Layer,
    Done { qop: Qop, max_plain: usize },
}

impl Gssapi {
    /// A login at a service, as in `hive/_HOST@REALM`; `host` stands for `_HOST`. Without a realm it is the one that krb5.conf has for the host.
    ///
    /// `asked`: protections in the order of preference; the first that the server offers is taken. Behind a load balancer the principal is
    /// the balancer's, so `host` is its name.
    ///
    /// # Errors
    /// [`Kind::LibraryMissing`] on a machine without GSSAPI; a name that cannot be read.
    pub fn new(login: &Kerberos, service: &str, host: &str, asked: &[Qop]) -> Result<Gssapi> {
        if asked.is_empty() {
            return Err(Error::protocol("no protection is asked for: at least one of auth, auth-int, auth-conf"));
        }
        let service = principal_for_host(service, host);
        Ok(Gssapi {
            login: login.clone(),
            target: Name::of_service(&service)?,
            service,
            asked: asked.to_vec(),
            authorize_as: String::new(),
            context: Context::new()?,
            state: State::Tickets,
        })
    }

    /// Asks to be somebody else than who logs in (SASL's authorization id), where the server allows that.
    #[must_use]
    pub fn authorize_as(mut self, user: &str) -> Gssapi {
        user.clone_into(&mut self.authorize_as);
        self
    }

    fn tickets(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>> {
        let mut flags = 0;
        for qop in &self.asked {
            flags |= match qop {
                Qop::Auth => 0,
                Qop::AuthInt => INTEGRITY,
                Qop::AuthConf => INTEGRITY | CONFIDENTIAL,
            };
        }
        let (credential, who) = self.login.credential(Mechanism::Krb5)?;
        let out = self
            .context
            .initiate(&credential, &self.target, Mechanism::Krb5, flags, token)
            .map_err(|e| e.while_doing(format_args!("{} logs in at {}", who.principal, self.service)))?;
        if self.context.is_done() {
            self.state = State::Layer;
        }
        Ok(out)
    }

    fn layer(&mut self, challenge: &[u8]) -> Result<Vec<u8>> {
        let (offer, _) = self.context.unwrap(challenge)?;
        let [offered, a, b, c] = offer[..] else {
            return Err(Error::protocol(format!("the server offers its protections in {} bytes, where 4 are due", offer.len())));
        };
        let theirs = u32::from_be_bytes([0, a, b, c]);
        // What the tickets cannot do is not there, whatever the server says.
        let able = |q: Qop| match q {
            Qop::Auth => true,
            Qop::AuthInt => self.context.flags() & INTEGRITY != 0,
            Qop::AuthConf => self.context.flags() & CONFIDENTIAL != 0,
        };
        let asked: Vec<Qop> = self.asked.iter().copied().filter(|q| able(*q)).collect();
        let qop = Qop::choose(&asked, offered)?;
        let (max_plain, ours) = match qop {
            Qop::Auth => (usize::MAX, 0),
            _ => (self.context.max_plain(theirs, qop == Qop::AuthConf)? as usize, LARGEST),
        };
        if max_plain == 0 {
            return Err(Error::protocol(format!("the server takes messages of up to {theirs} bytes, in which nothing fits")));
        }
        let mut answer = vec![qop.bit()];
        answer.extend(&ours.to_be_bytes()[1..]);
        answer.extend(self.authorize_as.as_bytes());
        let answer = self.context.wrap(&answer, false)?;
        self.state = State::Done { qop, max_plain };
        Ok(answer)
    }
}

impl std::fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gssapi").field("service", &self.service).field("asked", &self.asked).field("state", &self.state).finish_non_exhaustive()
    }
}

impl SaslMechanism for Gssapi {
    fn name(&self) -> &'static str {
        "GSSAPI"
    }

    fn start(&mut self) -> Result<Vec<u8>> {
        self.tickets(None)
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>> {
        match self.state {
            State::Tickets => self.tickets(Some(challenge)),
            State::Layer => self.layer(challenge),
            State::Done { .. } => Err(Error::protocol("the server asks for more after the login is complete")),
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    fn qop(&self) -> Qop {
        match self.state {
            State::Done { qop, .. } => qop,
            _ => Qop::Auth,
        }
    }

    fn max_plain(&self) -> usize {
        match self.state {
            State::Done { max_plain, .. } => max_plain,
            _ => usize::MAX,
        }
    }

    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        self.context.wrap(plain, self.qop() == Qop::AuthConf)
    }

    fn unwrap(&mut self, wrapped: &[u8]) -> Result<Vec<u8>> {
        let (plain, encrypted) = self.context.unwrap(wrapped)?;
        if self.qop() == Qop::AuthConf && !encrypted {
            return Err(Error::new(Kind::Integrity, "the server sent a message in clear, where encryption was agreed"));
        }
        Ok(plain)
    }
}
