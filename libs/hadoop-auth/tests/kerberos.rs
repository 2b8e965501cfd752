//! Logins against a real KDC, with an acceptor of the same library as the server: keytabs good and bad, caches, all three protections.
//!
//! The library reads `KRB5_CONFIG` from the environment of its process, so each test runs itself again in a process that has it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hadoop_auth::acceptor::Acceptor;
use hadoop_auth::{Gssapi, Kerberos, Kind, Negotiate, Qop, SaslMechanism, SaslStream};
use sluis_testkit::services::service;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const HIVE: &str = "hive/localhost@SLUIS.TEST";

/// Runs the test `name` of this file again, in the realm; the body runs there.
fn in_realm(name: &str, body: impl FnOnce(&Realm)) {
    if let Some(keytabs) = std::env::var_os("TEST_KEYTABS") {
        return body(&Realm { keytabs: keytabs.into() });
    }
    let kdc = service("kdc");
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(["--exact", name, "--nocapture"]).env("TEST_KEYTABS", kdc.export("SLUIS_DEV_KEYTABS"));
    again.env("KRB5_CONFIG", kdc.export("KRB5_CONFIG")).env("EXPIRED_TICKET", kdc.export("SLUIS_DEV_EXPIRED_TICKET")).env_remove("KRB5CCNAME");
    let out = again.output().expect("a start");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

struct Realm {
    keytabs: PathBuf,
}

impl Realm {
    fn keytab(&self, name: &str) -> PathBuf {
        self.keytabs.join(format!("{name}.keytab"))
    }

    fn alice(&self) -> Kerberos {
        Kerberos::keytab("alice@SLUIS.TEST", self.keytab("alice")).expect("a login")
    }

    fn server(&self, offer: &[Qop], largest: u32) -> Acceptor {
        Acceptor::new(HIVE, &self.keytab("hive"), offer, largest).expect("a server")
    }
}

/// The two sides talk until both are content.
fn login(client: &mut Gssapi, server: &mut Acceptor) -> hadoop_auth::Result<()> {
    let mut message = client.start()?;
    loop {
        let answer = server.step(&message)?;
        if server.agreed().is_some() {
            assert!(client.is_complete());
            return Ok(());
        }
        message = client.step(&answer)?;
    }
}

#[test]
fn each_protection_is_agreed_and_does_what_it_says() {
    in_realm("each_protection_is_agreed_and_does_what_it_says", |realm| {
        let all = [Qop::Auth, Qop::AuthInt, Qop::AuthConf];
        for qop in all {
            for offer in [&[qop][..], &all] {
                let mut server = realm.server(offer, 65_536);
                let mut client = Gssapi::new(&realm.alice(), "hive/_HOST@SLUIS.TEST", "LOCALHOST", &[qop]).expect("a client");
                login(&mut client, &mut server).expect("a login");
                assert_eq!(client.qop(), qop);
                assert_eq!(server.agreed(), Some((qop, if qop == Qop::Auth { 0 } else { 0xff_ffff })));
                assert_eq!(server.client(), ("alice@SLUIS.TEST", ""));
                if qop == Qop::Auth {
                    assert_eq!(client.max_plain(), usize::MAX);
                    continue;
                }
                let text = b"the same in clear and not".repeat(20);
                let wrapped = client.wrap(&text).expect("wrapped");
                let readable = wrapped.windows(text.len()).any(|w| w == text);
                assert_eq!(readable, qop == Qop::AuthInt);
                assert_eq!(server.unwrap(&wrapped).expect("unwrapped"), (text.clone(), qop == Qop::AuthConf));
                let back = server.wrap(&text).expect("wrapped");
                assert_eq!(client.unwrap(&back).expect("unwrapped"), text);
                assert_eq!(client.unwrap(&back).expect_err("twice").kind(), Kind::Integrity);
                let mut changed = server.wrap(&text).expect("wrapped");
                let middle = changed.len() / 2;
                changed[middle] ^= 1;
                assert_eq!(client.unwrap(&changed).expect_err("changed").kind(), Kind::Integrity);
                // What fits the server's limit is used to the last byte.
                let most = vec![7; client.max_plain()];
                let size = client.wrap(&most).expect("wrapped").len();
                assert!(size <= 65_536 && size > 65_000, "{size}");
            }
        }
    });
}

#[test]
fn a_server_that_wants_more_protection_is_told_apart() {
    in_realm("a_server_that_wants_more_protection_is_told_apart", |realm| {
        let mut server = realm.server(&[Qop::AuthConf], 65_536);
        let mut client = Gssapi::new(&realm.alice(), "hive/localhost", "localhost", &[Qop::Auth, Qop::AuthInt]).expect("a client");
        let error = login(&mut client, &mut server).expect_err("nothing in common");
        assert_eq!(error.kind(), Kind::NoCommonProtection);
        assert!(error.to_string().starts_with("no protection in common: the server offers auth-conf; asked for: auth, auth-int"), "{error}");
        // The order of asking decides.
        let mut server = realm.server(&[Qop::Auth, Qop::AuthInt, Qop::AuthConf], 65_536);
        let mut client = Gssapi::new(&realm.alice(), "hive/localhost", "localhost", &[Qop::AuthInt, Qop::Auth]).expect("a client");
        client = client.authorize_as("bob");
        login(&mut client, &mut server).expect("a login");
        assert_eq!((client.qop(), server.client()), (Qop::AuthInt, ("alice@SLUIS.TEST", "bob")));
    });
}

/// A server of Thrift's SASL that gives back what it gets, in frames of at most 1,000 bytes, until the client goes.
async fn echo(mut stream: DuplexStream, mut server: Acceptor) -> (u64, Acceptor) {
    let mut frames = 0;
    let mut begun = false;
    while server.agreed().is_none() {
        let status = stream.read_u8().await.expect("a status");
        let length = stream.read_u32().await.expect("a length");
        let mut message = vec![0; length as usize];
        stream.read_exact(&mut message).await.expect("a message");
        if !begun {
            assert_eq!((status, &message[..]), (1, &b"GSSAPI"[..]));
            begun = true;
            continue;
        }
        let answer = server.step(&message).expect("an answer");
        stream.write_u8(if server.agreed().is_some() { 5 } else { 2 }).await.expect("sent");
        stream.write_u32(answer.len() as u32).await.expect("sent");
        stream.write_all(&answer).await.expect("sent");
    }
    let (qop, _) = server.agreed().expect("agreed");
    while let Ok(length) = stream.read_u32().await {
        assert!(length <= if qop == Qop::Auth { 1 << 20 } else { 4096 }, "a frame of {length} bytes");
        frames += 1;
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.expect("a frame");
        let plain = if qop == Qop::Auth { frame } else { server.unwrap(&frame).expect("unwrapped").0 };
        for part in plain.chunks(1000) {
            let part = if qop == Qop::Auth { part.to_vec() } else { server.wrap(part).expect("wrapped") };
            stream.write_u32(part.len() as u32).await.expect("sent");
            stream.write_all(&part).await.expect("sent");
        }
    }
    (frames, server)
}

#[test]
fn thrift_frames_carry_bytes_under_each_protection() {
    in_realm("thrift_frames_carry_bytes_under_each_protection", |realm| {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
        for qop in [Qop::Auth, Qop::AuthInt, Qop::AuthConf] {
            let server = realm.server(&[qop], 4096);
            let client = Gssapi::new(&realm.alice(), HIVE, "localhost", &[qop]).expect("a client");
            runtime.block_on(async {
                let (here, there) = tokio::io::duplex(1 << 20);
                let other = tokio::spawn(echo(there, server));
                let mut stream = SaslStream::negotiate(here, Box::new(client)).await.expect("a login");
                assert_eq!(stream.qop(), qop);
                let data: Vec<u8> = (0..100_000_u32).flat_map(|i| i.to_be_bytes()[2..].to_vec()).collect();
                for part in data.chunks(50_000) {
                    stream.write_all(part).await.expect("written");
                    stream.flush().await.expect("flushed");
                    let mut back = vec![0; part.len()];
                    stream.read_exact(&mut back).await.expect("read");
                    assert!(back == part, "other bytes came back");
                }
                drop(stream);
                let (frames, _) = other.await.expect("the server");
                // Messages larger than the server takes were cut.
                assert_eq!(frames > 4, qop != Qop::Auth, "{frames} frames");
            });
        }
    });
}

#[test]
fn http_tokens_are_taken() {
    in_realm("http_tokens_are_taken", |realm| {
        let mut server = Acceptor::negotiate("HTTP/localhost@SLUIS.TEST", &realm.keytab("HTTP")).expect("a server");
        let mut client = Negotiate::new(&realm.alice(), "HTTP/_HOST", "localhost").expect("a client");
        let mut token = client.token(None).expect("a token");
        assert_eq!(token[0], 0x60, "GSSAPI's tag");
        while !client.is_complete() {
            let answer = server.token(&token).expect("an answer");
            token = client.token(Some(&answer)).expect("a token");
        }
        assert_eq!(server.client().0, "alice@SLUIS.TEST");
    });
}

#[test]
fn bad_credentials_are_said_in_clear_words() {
    in_realm("bad_credentials_are_said_in_clear_words", |realm| {
        let cases = [
            ("wrong@SLUIS.TEST", "wrong", Kind::Refused),
            ("expired@SLUIS.TEST", "expired", Kind::Expired),
            ("nobody@SLUIS.TEST", "alice", Kind::Keytab),
            ("bob@SLUIS.TEST", "alice", Kind::Keytab),
        ];
        for (principal, keytab, kind) in cases {
            let path = realm.keytab(keytab);
            let error = Kerberos::keytab(principal, &path).expect_err("no login");
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(
                text.starts_with(&format!("login as {principal} with the keytab {}: ", path.display())) && !text.contains("Unspecified"),
                "{text}"
            );
            println!("{text}");
        }
        for (cache, kind) in [("FILE:/nonexistent", Kind::NoTicket), (&std::env::var("EXPIRED_TICKET").expect("set"), Kind::Expired)] {
            let error = Kerberos::ticket_cache(Some(cache)).identity().expect_err("no ticket");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with(&format!("ticket cache {cache}: ")), "{error}");
            println!("{error}");
        }
        let mut client = Gssapi::new(&realm.alice(), "hive/_HOST@SLUIS.TEST", "nowhere", &[Qop::Auth]).expect("a client");
        let error = client.start().expect_err("no such service");
        assert_eq!(error.kind(), Kind::UnknownService, "{error}");
        assert!(error.to_string().starts_with("alice@SLUIS.TEST logs in at hive/nowhere@SLUIS.TEST: "), "{error}");
        println!("{error}");
        // A ticket for another service than the one that answers.
        let mut server = realm.server(&[Qop::Auth], 65_536);
        let mut client = Gssapi::new(&realm.alice(), "kafka/localhost@SLUIS.TEST", "localhost", &[Qop::Auth]).expect("a client");
        login(&mut client, &mut server).expect_err("another's ticket");
    });
}

#[test]
fn a_kdc_that_does_not_answer_is_worth_a_retry() {
    in_realm("a_kdc_that_does_not_answer_is_worth_a_retry", |realm| {
        if std::env::var_os("NO_KDC").is_none() {
            let folder = tempfile::tempdir().expect("a folder");
            let text = std::fs::read_to_string(std::env::var("KRB5_CONFIG").expect("set")).expect("read");
            // A port that was free a moment ago.
            let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
            let lines: Vec<String> =
                text.lines().map(|l| if l.trim().starts_with("kdc =") { format!("kdc = 127.0.0.1:{port}") } else { l.into() }).collect();
            let path = folder.path().join("krb5.conf");
            std::fs::write(&path, lines.join("\n")).expect("written");
            let mut again = Command::new(std::env::current_exe().expect("this program"));
            again.args(["--exact", "a_kdc_that_does_not_answer_is_worth_a_retry", "--nocapture"]).env("NO_KDC", "1").env("KRB5_CONFIG", &path);
            let out = again.output().expect("a start");
            assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            return;
        }
        let error = Kerberos::keytab("alice@SLUIS.TEST", realm.keytab("alice")).expect_err("no KDC");
        assert_eq!(error.kind(), Kind::KdcUnreachable, "{error}");
        assert!(error.kind().is_transient());
    });
}

#[test]
fn a_login_outlives_its_first_ticket() {
    let kdc = service("kdc");
    let folder = tempfile::tempdir().expect("a folder");
    if std::env::var_os("TEST_KEYTABS").is_none() {
        let name = kdc.namespace("short");
        let keytab = folder.path().join("short.keytab");
        kdc.shell(&["kadmin.local", "-q", &format!("addprinc -randkey -maxlife 33s {name}")]);
        kdc.shell(&["kadmin.local", "-q", &format!("ktadd -k {} {name}", keytab.display())]);
        let mut again = Command::new(std::env::current_exe().expect("this program"));
        again.args(["--exact", "a_login_outlives_its_first_ticket", "--nocapture"]).env("TEST_KEYTABS", &keytab).env("SHORT", name);
        let out = again.env("KRB5_CONFIG", kdc.export("KRB5_CONFIG")).output().expect("a start");
        assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        return;
    }
    let name = std::env::var("SHORT").expect("set");
    let login = Kerberos::keytab(&name, std::env::var_os("TEST_KEYTABS").expect("set")).expect("a login");
    let mut last = login.identity().expect("a ticket");
    assert_eq!(last.principal, format!("{name}@SLUIS.TEST"));
    assert!(last.remaining <= Duration::from_secs(33), "{last:?}");
    // Twice it gets younger (the library gets a new ticket when half a minute is left); it is never over.
    let end = Instant::now() + Duration::from_secs(60);
    let mut renewed = 0;
    while renewed < 2 {
        assert!(Instant::now() < end, "no new ticket: {last:?}");
        let now = login.identity().expect("a ticket that is good");
        renewed += u32::from(now.remaining > last.remaining);
        last = now;
        std::thread::sleep(Duration::from_millis(100)); // polls
    }
}

#[test]
fn a_cache_is_read_as_it_is_at_the_time() {
    in_realm("a_cache_is_read_as_it_is_at_the_time", |realm| {
        let kdc = service("kdc");
        let folder = tempfile::tempdir().expect("a folder");
        let cache = format!("FILE:{}", folder.path().join("cache").display());
        let login = Kerberos::ticket_cache(Some(&cache));
        assert_eq!(login.identity().expect_err("empty").kind(), Kind::NoTicket);
        for who in ["alice", "bob"] {
            let keytab = realm.keytab(who).to_string_lossy().into_owned();
            kdc.shell(&["kinit", "-c", &cache, "-k", "-t", &keytab, who]);
            assert_eq!(login.identity().expect("a ticket").principal, format!("{who}@SLUIS.TEST"));
        }
        let mut server = realm.server(&[Qop::Auth], 65_536);
        let mut client = Gssapi::new(&login, HIVE, "localhost", &[Qop::Auth]).expect("a client");
        assert!(client.start().and_then(|token| server.step(&token)).is_ok());
        assert_eq!(server.client().0, "bob@SLUIS.TEST");
    });
}
