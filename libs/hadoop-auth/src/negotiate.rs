//! SPNEGO for HTTP: tokens for `Authorization: Negotiate` (base64 is the caller's).

use crate::gss::{Context, Mechanism, Name};
use crate::{Kerberos, Result, principal_for_host};

/// One login over HTTP.
pub struct Negotiate {
    login: Kerberos,
    service: String,
    target: Name,
    context: Context,
}

impl Negotiate {
    /// A login at a web service, as in `HTTP/_HOST@REALM` or `HTTP/_HOST`; `host` stands for `_HOST`.
    ///
    /// # Errors
    /// [`crate::Kind::LibraryMissing`] on a machine without GSSAPI; a name that cannot be read.
    pub fn new(login: &Kerberos, service: &str, host: &str) -> Result<Negotiate> {
        let service = principal_for_host(service, host);
        Ok(Negotiate { login: login.clone(), target: Name::of_service(&service)?, service, context: Context::new()? })
    }

    /// The next token, after what the server's `WWW-Authenticate: Negotiate` brought (`None` at first; an empty one is of no use). May block
    /// while the KDC is asked.
    ///
    /// # Errors
    /// If there is no credential, the KDC refuses, or the server is not who it should be.
    pub fn token(&mut self, theirs: Option<&[u8]>) -> Result<Vec<u8>> {
        let (credential, who) = self.login.credential(Mechanism::Spnego)?;
        let out = self.context.initiate(&credential, &self.target, Mechanism::Spnego, 0, theirs);
        out.map_err(|e| e.while_doing(format_args!("{} logs in at {}", who.principal, self.service)))
    }

    /// Whether the server has proven who it is.
    pub fn is_complete(&self) -> bool {
        self.context.is_done()
    }
}

impl std::fmt::Debug for Negotiate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiate").field("service", &self.service).finish_non_exhaustive()
    }
}
