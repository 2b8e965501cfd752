//! SASL DIGEST-MD5 (RFC 2831), the client's side: delegation tokens of Hadoop's services log in by it.
//!
//! `auth` and `auth-int`. `auth-conf` is not here: its ciphers (3DES, RC4) protect nothing any more.

use md5::{Digest, Md5};

use crate::{Error, Kind, Qop, Result, SaslMechanism};

/// The largest message that is said to be taken.
const LARGEST: u32 = 65_536;

/// A login by a name and a secret that both sides know; the secret itself is not sent.
pub struct DigestMd5 {
    user: String,
    password: String,
    service: String,
    host: String,
    asked: Vec<Qop>,
    client_nonce: String,
    state: State,
}

enum State {
    Begin,
    /// What the server has to answer, if it knows the secret.
    Answered {
        proof: String,
        layer: Layer,
    },
    Done(Layer),
}

/// The protection of the connection.
struct Layer {
    qop: Qop,
    max_plain: usize,
    ours: [u8; 16],
    theirs: [u8; 16],
    sent: u32,
    received: u32,
}

impl DigestMd5 {
    /// A login as `user` at `service` on `host`. Hadoop's delegation tokens: user = the token's identifier in base64, password = the token's
    /// password in base64, service = `null` or the server's (`hive`), host = `default`.
    ///
    /// # Errors
    /// If `asked` has `auth-conf`, which is not supported, or nothing.
    pub fn new(user: &str, password: &str, service: &str, host: &str, asked: &[Qop]) -> Result<DigestMd5> {
        if asked.is_empty() || asked.contains(&Qop::AuthConf) {
            let text = "DIGEST-MD5 is done with auth and auth-int only: take TLS or Kerberos where bytes must be secret";
            return Err(Error::new(Kind::NoCommonProtection, text));
        }
        Ok(DigestMd5 {
            user: user.into(),
            password: password.into(),
            service: service.into(),
            host: host.into(),
            asked: asked.to_vec(),
            client_nonce: uuid::Uuid::new_v4().simple().to_string(),
            state: State::Begin,
        })
    }

    fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>> {
        let fields = directives(challenge)?;
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let nonce = field("nonce").ok_or_else(|| Error::protocol("the server's DIGEST-MD5 challenge has no nonce"))?;
        if field("algorithm").is_some_and(|a| a != "md5-sess") {
            return Err(Error::protocol("the server asks for another algorithm than md5-sess"));
        }
        let realm = field("realm").unwrap_or_default();
        let offered = field("qop").unwrap_or("auth").split(',').filter_map(|q| q.parse::<Qop>().ok()).fold(0, |bits, q| bits | q.bit());
        let qop = Qop::choose(&self.asked, offered)?;
        let theirs: u32 = field("maxbuf").and_then(|m| m.parse().ok()).unwrap_or(LARGEST);
        // Ten bytes of checksum, two of version, four of number.
        let max_plain = (theirs as usize).saturating_sub(16);
        if max_plain == 0 {
            return Err(Error::protocol(format!("the server takes messages of up to {theirs} bytes, in which nothing fits")));
        }
        let uri = format!("{}/{}", self.service, self.host);
        let secret = md5(&[self.user.as_bytes(), b":", realm.as_bytes(), b":", self.password.as_bytes()]);
        let a1 = md5(&[&secret, b":", nonce.as_bytes(), b":", self.client_nonce.as_bytes()]);
        let response = self.digest(&a1, nonce, qop, &format!("AUTHENTICATE:{uri}"));
        let proof = self.digest(&a1, nonce, qop, &format!(":{uri}"));
        let layer = Layer {
            qop,
            max_plain,
            ours: md5(&[&a1, b"Digest session key to client-to-server signing key magic constant"]),
            theirs: md5(&[&a1, b"Digest session key to server-to-client signing key magic constant"]),
            sent: 0,
            received: 0,
        };
        let mut out = format!("charset=utf-8,username={},", quoted(&self.user));
        if field("realm").is_some() {
            out += &format!("realm={},", quoted(realm));
        }
        out += &format!("nonce={},nc=00000001,cnonce={},", quoted(nonce), quoted(&self.client_nonce));
        out += &format!("digest-uri={},maxbuf={LARGEST},response={response},qop={qop}", quoted(&uri));
        self.state = State::Answered { proof, layer };
        Ok(out.into_bytes())
    }

    fn digest(&self, a1: &[u8; 16], nonce: &str, qop: Qop, a2: &str) -> String {
        let zeros = if qop == Qop::Auth { "" } else { ":00000000000000000000000000000000" };
        let a2 = hex(&md5(&[a2.as_bytes(), zeros.as_bytes()]));
        hex(&md5(&[hex(a1).as_bytes(), format!(":{nonce}:00000001:{}:{qop}:{a2}", self.client_nonce).as_bytes()]))
    }

    fn layer(&mut self) -> Result<&mut Layer> {
        match &mut self.state {
            State::Done(layer) => Ok(layer),
            _ => Err(Error::protocol("the login is not complete")),
        }
    }
}

impl std::fmt::Debug for DigestMd5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestMd5(..)")
    }
}

impl SaslMechanism for DigestMd5 {
    fn name(&self) -> &'static str {
        "DIGEST-MD5"
    }

    fn start(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::Begin) {
            State::Begin => self.answer(challenge),
            State::Answered { proof, layer } => {
                let fields = directives(challenge)?;
                if !fields.iter().any(|(name, value)| name == "rspauth" && *value == proof) {
                    return Err(Error::new(Kind::Refused, "the server does not know the secret: it is not who it should be"));
                }
                self.state = State::Done(layer);
                Ok(Vec::new())
            }
            done @ State::Done(_) => {
                self.state = done;
                Err(Error::protocol("the server asks for more after the login is complete"))
            }
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn qop(&self) -> Qop {
        match &self.state {
            State::Done(layer) => layer.qop,
            _ => Qop::Auth,
        }
    }

    fn max_plain(&self) -> usize {
        match &self.state {
            State::Done(layer) => layer.max_plain,
            _ => usize::MAX,
        }
    }

    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let number = layer.sent.to_be_bytes();
        layer.sent = layer.sent.wrapping_add(1);
        let mut out = plain.to_vec();
        out.extend(&hmac(&layer.ours, &[&number, plain])[..10]);
        out.extend([0, 1]);
        out.extend(number);
        Ok(out)
    }

    fn unwrap(&mut self, wrapped: &[u8]) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let number = layer.received.to_be_bytes();
        let Some((plain, trailer)) = wrapped.len().checked_sub(16).map(|at| wrapped.split_at(at)) else {
            return Err(Error::new(Kind::Integrity, "a protected message is shorter than its checksum"));
        };
        let expected = hmac(&layer.theirs, &[&number, plain]);
        let mut differs = 0;
        for (a, b) in expected[..10].iter().chain(&[0, 1]).chain(&number).zip(trailer) {
            differs |= a ^ b;
        }
        if differs != 0 {
            return Err(Error::new(Kind::Integrity, "a protected message was changed, or came out of order"));
        }
        layer.received = layer.received.wrapping_add(1);
        Ok(plain.to_vec())
    }
}

/// `name=value, name="quoted value"`; names in lower case.
fn directives(text: &[u8]) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(text);
    let mut rest = text.as_ref();
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        if rest.is_empty() {
            return Ok(out);
        }
        let (name, after) = rest.split_once('=').ok_or_else(|| Error::protocol(format!("no `=` in the DIGEST-MD5 challenge at {rest:?}")))?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(inside) => unquoted(inside).ok_or_else(|| Error::protocol("a quoted value of the DIGEST-MD5 challenge has no end"))?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        out.push((name.trim().to_lowercase(), value));
        rest = after;
    }
}

fn unquoted(inside: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &inside[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC (RFC 2104) with MD5, for keys of 16 bytes.
fn hmac(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (b, k) in block.iter_mut().zip(key) {
            *b ^= k;
        }
        block
    };
    let inner = pad(0x36);
    let mut all: Vec<&[u8]> = vec![&inner];
    all.extend(parts);
    md5(&[&pad(0x5c), &md5(&all)])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2831, section 4.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let mut digest = DigestMd5::new("chris", "secret", "imap", "elwood.innosoft.com", &[Qop::Auth]).unwrap();
        digest.client_nonce = "OA6MHXh6VqTrRk".into();
        let challenge = br#"realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8"#;
        let answer = String::from_utf8(digest.step(challenge).unwrap()).unwrap();
        assert!(answer.contains("response=d388dad90d4bbd760a152321f2143af7,"), "{answer}");
        assert!(answer.contains(r#"realm="elwood.innosoft.com","#) && answer.contains("qop=auth") && !digest.is_complete());
        let stranger = digest.step(b"rspauth=00000000000000000000000000000000").unwrap_err();
        assert_eq!(stranger.kind(), Kind::Refused);
        digest.step(challenge).unwrap();
        assert!(digest.step(b"rspauth=ea40f60335c427b5527b84dbabcdfffd").unwrap().is_empty());
        assert!(digest.is_complete());
    }

    /// RFC 2202, case 1.
    #[test]
    fn hmac_is_the_rfcs() {
        assert_eq!(hex(&hmac(&[0x0b; 16], &[b"Hi ", b"There"])), "9294727a3638bb1c13f48ef8158bfc9d");
    }

    fn layer(ours: u8, theirs: u8) -> DigestMd5 {
        let mut digest = DigestMd5::new("a", "b", "c", "d", &[Qop::AuthInt]).unwrap();
        let layer = Layer { qop: Qop::AuthInt, max_plain: 100, ours: [ours; 16], theirs: [theirs; 16], sent: 0, received: 0 };
        digest.state = State::Done(layer);
        digest
    }

    #[test]
    fn changed_and_repeated_messages_are_refused() {
        let (mut here, mut there) = (layer(1, 2), layer(2, 1));
        let first = here.wrap(b"one").unwrap();
        assert_eq!(there.unwrap(&first).unwrap(), b"one");
        assert_eq!(there.unwrap(&first).unwrap_err().kind(), Kind::Integrity, "twice");
        let mut second = here.wrap(b"two").unwrap();
        second[0] ^= 1;
        assert_eq!(there.unwrap(&second).unwrap_err().kind(), Kind::Integrity, "changed");
        second[0] ^= 1;
        assert_eq!(there.unwrap(&second).unwrap(), b"two");
        assert_eq!(there.unwrap(b"short").unwrap_err().kind(), Kind::Integrity);
    }

    #[test]
    fn quotes_and_what_is_not_there() {
        assert_eq!(directives(br#"a="x\"y,z", B = c"#).unwrap(), [("a".into(), "x\"y,z".into()), ("b".into(), "c".into())]);
        assert!(directives(b"a=\"x").is_err() && directives(b"nothing").is_err());
        let conf = DigestMd5::new("a", "b", "c", "d", &[Qop::AuthConf]).unwrap_err();
        assert_eq!(conf.kind(), Kind::NoCommonProtection);
        let mut digest = DigestMd5::new("a", "b", "c", "d", &[Qop::AuthInt]).unwrap();
        let error = digest.step(br#"nonce="x",qop="auth""#).unwrap_err();
        assert!(error.to_string().contains("the server offers auth; asked for: auth-int"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_is_too_strange(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut digest = DigestMd5::new("a", "b", "c", "d", &[Qop::Auth, Qop::AuthInt]).unwrap();
            let _ = digest.step(&bytes);
            let _ = digest.step(&bytes);
            let _ = layer(1, 2).unwrap(&bytes);
        }
    }
}
