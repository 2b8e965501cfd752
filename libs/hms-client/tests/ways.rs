//! Ways to a real metastore: several addresses, broken connections, TLS, SASL under Kerberos, and what answers where no metastore is.
//!
//! TLS and SASL end in this process, before a metastore without either: what is proven is this client's side, against rustls and MIT's GSSAPI.

mod between;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use between::{Switch, listen};
use hadoop_auth::acceptor::Acceptor;
use hadoop_auth::{Gssapi, Kerberos, Plain, Qop};
use hms_client::{Client, Database, Kind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sluis_testkit::services::service;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

fn metastore() -> String {
    service("metastore").export("HIVE_METASTORE_URIS").trim_start_matches("thrift://").to_owned()
}

fn client(uris: &str) -> Client {
    Client::builder(uris).unwrap().timeouts(Duration::from_secs(20), Duration::from_secs(120)).build()
}

/// A port where nobody listens, for as long as the listener's twin is not made.
fn nobody() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    format!("thrift://127.0.0.1:{port}")
}

async fn plain(socket: TcpStream) -> Option<TcpStream> {
    Some(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_is_taken_when_one_is_dead() {
    let uris = format!("{},thrift://{}", nobody(), metastore());
    let both = client(&uris);
    assert!(both.databases().await.unwrap().contains(&"default".to_owned()));
    let (a, b) = (nobody(), nobody());
    let error = client(&format!("{a},{b}")).databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let text = error.to_string();
    assert!(text.contains(a.trim_start_matches("thrift://")) && text.contains(b.trim_start_matches("thrift://")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_repeats_reads_and_never_writes() {
    let switch = Arc::new(Switch::default());
    let through = listen(metastore(), Arc::clone(&switch), plain).await;
    let both = client(&format!("{through},thrift://{}", metastore()));
    both.databases().await.unwrap();
    assert_eq!(switch.connections.load(Ordering::SeqCst), 1);
    // The answer to the next request is lost.
    switch.before_break.store(1, Ordering::SeqCst);
    both.databases().await.unwrap();
    // A write's answer is lost, after the look whether the connection is alive: it was done, and nobody here can know.
    let name = service("metastore").namespace("ways").replace('-', "_");
    let database = Database { name: name.clone(), ..Database::default() };
    let one = client(&through);
    one.databases().await.unwrap();
    switch.before_break.store(2, Ordering::SeqCst);
    let error = one.create_database(&database).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown, "{error}");
    assert!(error.to_string().contains("look before you repeat it"), "{error}");
    assert_eq!(one.database(&name).await.unwrap().name, name);
    // A connection that died while it was idle is noticed before the write.
    switch.before_break.store(1, Ordering::SeqCst);
    one.drop_database(&name, false, false).await.unwrap();
}

/// A listener's TLS, by the certificate of the development cluster's authority.
fn certificate() -> (tokio_rustls::TlsAcceptor, std::path::PathBuf) {
    let authority = std::path::PathBuf::from(service("ca").export("SLUIS_DEV_CA"));
    let chain = CertificateDer::pem_file_iter(authority.with_file_name("server.crt")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.with_file_name("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_whom_it_is_told_to() {
    let (acceptor, authority) = certificate();
    let uri = listen(metastore(), Arc::default(), move |socket| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(socket).await.ok() }
    })
    .await;
    let with = |config| Client::builder(&uri).unwrap().tls(config).build();
    assert!(with(hms_client::tls::with_ca(&authority).unwrap()).databases().await.unwrap().contains(&"default".to_owned()));
    let error = with(hms_client::tls::system().unwrap()).databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Login, "{error}");
    assert!(error.to_string().contains("no TLS: invalid peer certificate: UnknownIssuer"), "{error}");
    // Without TLS, at a listener with it; and the other way round.
    let error = client(&uri).databases().await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Protocol | Kind::Unreachable), "{error}");
    let bare = format!("thrift://{}", metastore());
    let error = Client::builder(&bare)
        .unwrap()
        .tls(hms_client::tls::with_ca(&authority).unwrap())
        .timeouts(Duration::from_secs(5), Duration::from_secs(5))
        .build()
        .databases()
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), Kind::Login | Kind::Unreachable), "{error}");
    let missing = hms_client::tls::with_ca(std::path::Path::new("/nonexistent/ca.pem")).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/ca.pem"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_metastore_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("thrift://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 100]).await;
                let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = socket.read(&mut [0; 100]).await;
            });
        }
    });
    let error = client(&uri).databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol, "{error}");
    // One that listens and says nothing, as a metastore with SASL does to bare Thrift.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("thrift://{}", listener.local_addr().unwrap());
    let silent = Client::builder(&uri).unwrap().timeouts(Duration::from_millis(200), Duration::from_secs(120)).build();
    let error = silent.databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(error.to_string().contains("without TLS and SASL: a metastore with either does not answer that"), "{error}");
    drop(listener);
}

/// The server's side of Thrift's SASL on `socket`; what is in it comes out of the other end of the stream that is given.
async fn unwrapped(mut socket: TcpStream, mut server: Acceptor) -> Option<DuplexStream> {
    let mut begun = false;
    while server.agreed().is_none() {
        socket.read_u8().await.ok()?;
        let mut message = vec![0; socket.read_u32().await.ok()? as usize];
        socket.read_exact(&mut message).await.ok()?;
        if !std::mem::replace(&mut begun, true) {
            continue;
        }
        match server.step(&message) {
            Ok(answer) => {
                socket.write_u8(if server.agreed().is_some() { 5 } else { 2 }).await.ok()?;
                socket.write_u32(answer.len() as u32).await.ok()?;
                socket.write_all(&answer).await.ok()?;
            }
            Err(e) => {
                let text = e.to_string();
                socket.write_u8(3).await.ok()?;
                socket.write_u32(text.len() as u32).await.ok()?;
                socket.write_all(text.as_bytes()).await.ok()?;
                return None;
            }
        }
    }
    let protect = server.agreed()?.0 != Qop::Auth;
    let (inside, outside) = tokio::io::duplex(1 << 16);
    let (mut from_client, mut to_client) = socket.into_split();
    let (mut from_metastore, mut to_metastore) = tokio::io::split(inside);
    let server = Arc::new(std::sync::Mutex::new(server));
    let other = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok(length) = from_client.read_u32().await {
            let mut frame = vec![0; length as usize];
            from_client.read_exact(&mut frame).await.ok()?;
            let plain = if protect { server.lock().unwrap().unwrap(&frame).expect("the client's frame").0 } else { frame };
            to_metastore.write_all(&plain).await.ok()?;
        }
        to_metastore.shutdown().await.ok()
    });
    tokio::spawn(async move {
        let mut space = vec![0; 1000];
        while let Ok(size @ 1..) = from_metastore.read(&mut space).await {
            let frame = if protect { other.lock().unwrap().wrap(&space[..size]).expect("wrapped") } else { space[..size].to_vec() };
            to_client.write_u32(frame.len() as u32).await.ok()?;
            to_client.write_all(&frame).await.ok()?;
        }
        to_client.shutdown().await.ok()
    });
    Some(outside)
}

/// Runs itself again in a process whose `KRB5_CONFIG` is the realm's.
#[test]
fn kerberos_with_each_protection() {
    let Ok(keytabs) = std::env::var("TEST_KEYTABS").map(std::path::PathBuf::from) else {
        let kdc = service("kdc");
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "kerberos_with_each_protection", "--nocapture"]).env("TEST_KEYTABS", kdc.export("SLUIS_DEV_KEYTABS"));
        let out = again.env("KRB5_CONFIG", kdc.export("KRB5_CONFIG")).output().unwrap();
        assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let alice = Kerberos::keytab("alice@SLUIS.TEST", keytabs.join("alice.keytab")).unwrap();
        for qop in [Qop::Auth, Qop::AuthInt, Qop::AuthConf] {
            let hive = keytabs.join("hive.keytab");
            let uri = listen(metastore(), Arc::default(), move |socket| {
                unwrapped(socket, Acceptor::new("hive/localhost@SLUIS.TEST", &hive, &[qop], 65_536).expect("a server"))
            })
            .await;
            let with = |asked: Qop| {
                let login = alice.clone();
                Client::builder(&uri)
                    .unwrap()
                    .sasl(Arc::new(move |host| Ok(Box::new(Gssapi::new(&login, "hive/_HOST@SLUIS.TEST", host, &[asked])?))))
                    .build()
            };
            let client = with(qop);
            assert!(client.databases().await.unwrap().contains(&"default".to_owned()), "{qop}");
            assert_eq!(client.database("default").await.unwrap().name, "default", "{qop}");
            let other = if qop == Qop::Auth { Qop::AuthConf } else { Qop::Auth };
            let error = with(other).databases().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Login, "{error}");
            assert!(error.to_string().contains("no protection in common"), "{error}");
        }
    });
}

/// HiveServer2 speaks PLAIN over the same framing; past the login, it is no metastore and says so.
#[tokio::test(flavor = "multi_thread")]
async fn plain_passes_a_real_sasl_server() {
    let address = service("hiveserver2").export("HIVESERVER2").trim_start_matches("jdbc:hive2://").trim_end_matches("/default").to_owned();
    let login: hms_client::Login = Arc::new(|_| Ok(Box::new(Plain::new("ann", "x")?)));
    let error = Client::builder(&address).unwrap().sasl(login).build().databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::UnknownMethod, "{error}");
    let refused: hms_client::Login = Arc::new(|_| Ok(Box::new(Plain::new("ann", "")?)));
    let error = Client::builder(&address).unwrap().sasl(refused).build().databases().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Login, "{error}");
}
