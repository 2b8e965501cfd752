//! SASL PLAIN (RFC 4616): a name and a password, in clear. For NONE, LDAP, PAM and CUSTOM of HiveServer2, and LDAP of Impala.

use crate::{Error, Result, SaslMechanism};

/// A name and a password.
pub struct Plain {
    message: Vec<u8>,
    sent: bool,
}

impl Plain {
    /// `user` and `password` for this login. HiveServer2 takes no empty password even where it checks none: give any.
    ///
    /// # Errors
    /// If either has a NUL, which the message cannot carry, or the name is empty.
    pub fn new(user: &str, password: &str) -> Result<Plain> {
        if user.is_empty() {
            return Err(Error::protocol("SASL PLAIN needs a user name"));
        }
        if user.contains('\0') || password.contains('\0') {
            return Err(Error::protocol("a user name or password with a NUL byte cannot be sent by SASL PLAIN"));
        }
        Ok(Plain { message: format!("\0{user}\0{password}").into_bytes(), sent: false })
    }
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plain(..)")
    }
}

impl SaslMechanism for Plain {
    fn name(&self) -> &'static str {
        "PLAIN"
    }

    fn start(&mut self) -> Result<Vec<u8>> {
        self.sent = true;
        Ok(self.message.clone())
    }

    fn step(&mut self, _challenge: &[u8]) -> Result<Vec<u8>> {
        Err(Error::protocol("the server asks for more, where SASL PLAIN has said all"))
    }

    fn is_complete(&self) -> bool {
        self.sent
    }

    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.to_vec())
    }

    fn unwrap(&mut self, wrapped: &[u8]) -> Result<Vec<u8>> {
        Ok(wrapped.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_says_all() {
        let mut plain = Plain::new("ann", "pässword").unwrap();
        assert!(!plain.is_complete());
        assert_eq!(plain.start().unwrap(), "\0ann\0pässword".as_bytes());
        assert!(plain.is_complete() && plain.step(b"more").is_err());
        assert_eq!(format!("{plain:?}"), "Plain(..)");
        assert!(Plain::new("a\0b", "x").is_err() && Plain::new("", "x").is_err());
    }
}
