//! One connection: a socket, TLS and SASL where asked for, one call at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hadoop_auth::{SaslMechanism, SaslStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{Reply, Scan, Struct, call, class, reply};
use crate::{Error, Kind, Result};

/// The largest answer that is taken.
const LARGEST: usize = 1 << 30;

/// Makes the SASL mechanism for a connection to a host.
pub type Login = Arc<dyn Fn(&str) -> hadoop_auth::Result<Box<dyn SaslMechanism>> + Send + Sync>;

/// How to connect; the same for every address.
#[derive(Clone)]
pub(crate) struct How {
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub login: Option<Login>,
    pub framed: bool,
    /// `set_ugi`: a user and groups, for a metastore without SASL.
    pub user: Option<(String, Vec<String>)>,
    pub connect: Duration,
    pub answer: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that has answered all its calls.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    address: String,
    number: i32,
    framed: bool,
    answer: Duration,
    buffer: BytesMut,
}

/// The exceptions that a method declares, by their fields in its result.
pub(crate) type Raises = &'static [(i16, Kind)];

impl Connection {
    /// Connects to `host:port`. Whatever fails here, no call was made.
    pub(crate) async fn open(address: &str, how: &How) -> Result<Connection> {
        let opened = tokio::time::timeout(how.connect, Self::open_now(address, how)).await;
        let opened = opened.unwrap_or_else(|_| {
            let asked = match (&how.tls, &how.login) {
                (None, None) => " (without TLS and SASL: a metastore with either does not answer that)",
                (Some(_), None) => " (with TLS)",
                (None, Some(_)) => " (with SASL: a metastore without SASL does not answer that)",
                (Some(_), Some(_)) => " (with TLS and SASL)",
            };
            Err(Error::new(Kind::Unreachable, format!("no answer within {:?}{asked}", how.connect)))
        });
        opened.map_err(|e| e.at(address))
    }

    async fn open_now(address: &str, how: &How) -> Result<Connection> {
        let socket = TcpStream::connect(address).await.map_err(|e| Error::new(Kind::Unreachable, format!("cannot connect: {e}")))?;
        // Calls are small and wait for their answers.
        let _ = socket.set_nodelay(true);
        let host = host_of(address);
        let mut stream: Box<dyn Stream> = Box::new(socket);
        if let Some(tls) = &how.tls {
            let name = rustls::pki_types::ServerName::try_from(host.to_owned())
                .map_err(|e| Error::new(Kind::Login, format!("{host:?} cannot be in a certificate: {e}")))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
            let secured = connector.connect(name, stream).await.map_err(|e| Error::new(Kind::Login, format!("no TLS: {e}")))?;
            stream = Box::new(secured);
        }
        if let Some(login) = &how.login {
            let refused = |e: hadoop_auth::Error| match e.kind() {
                hadoop_auth::Kind::Io | hadoop_auth::Kind::KdcUnreachable => Error::new(Kind::Unreachable, e.to_string()),
                hadoop_auth::Kind::Protocol => Error::new(Kind::Protocol, e.to_string()),
                _ => Error::new(Kind::Login, e.to_string()),
            };
            let mechanism = login(host).map_err(refused)?;
            stream = Box::new(SaslStream::negotiate(stream, mechanism).await.map_err(refused)?);
        }
        let mut connection =
            Connection { stream, address: address.to_owned(), number: 0, framed: how.framed, answer: how.answer, buffer: BytesMut::new() };
        if how.login.is_none() {
            connection.greet(how.user.as_ref()).await?;
        }
        Ok(connection)
    }

    /// The first call. A metastore that expects SASL waits for more at this point, and never answers: that must not be a long call's time limit.
    async fn greet(&mut self, user: Option<&(String, Vec<String>)>) -> Result<()> {
        let answered = match user {
            Some((user, groups)) => {
                let arguments = Struct::default().with(1, user.as_str()).with(2, groups.as_slice());
                self.call("set_ugi", &arguments, &[(1, Kind::Meta)]).await.map(drop)
            }
            None if self.is_alive().await => Ok(()),
            None => {
                let text = "the connection was closed at the first call: does the metastore ask for SASL, TLS or framed transport?";
                return Err(Error::protocol(text));
            }
        };
        answered.map_err(|(e, _)| if e.kind() == Kind::Unknown { e.with_kind(Kind::Unreachable) } else { e })
    }

    /// Whether the metastore answers on this connection.
    pub(crate) async fn is_alive(&mut self) -> bool {
        match self.call("getStatus", &Struct::default(), &[]).await {
            Ok(_) => true,
            Err((_, good)) => good,
        }
    }

    /// Calls a method. With an error: whether the connection is still good.
    pub(crate) async fn call(&mut self, method: &str, arguments: &Struct, raises: Raises) -> Result<Struct, (Error, bool)> {
        let answered = match tokio::time::timeout(self.answer, self.exchange(method, arguments)).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::new(Kind::Unknown, format!("no answer within {:?}", self.answer))),
        };
        let answered = answered.map_err(|e| (e, false)).and_then(|reply| match reply {
            Reply::Failed(kind, text) => Err((Error::new(class(kind), text), true)),
            Reply::Result(mut result) => {
                for (id, kind) in raises {
                    if let Some(crate::Value::Struct(mut exception)) = result.take(*id) {
                        let text = match exception.take(1) {
                            Some(crate::Value::Bytes(text)) => String::from_utf8_lossy(&text).into_owned(),
                            _ => String::new(),
                        };
                        return Err((Error::new(*kind, short(&text, *kind)), true));
                    }
                }
                Ok(result)
            }
        });
        answered.map_err(|(e, good)| (e.at(format_args!("{method} at {}", self.address)), good))
    }

    async fn exchange(&mut self, method: &str, arguments: &Struct) -> Result<Reply> {
        self.number = self.number.wrapping_add(1);
        let mut message = Vec::new();
        let body = call(method, self.number, arguments);
        if self.framed {
            message.extend((body.len() as u32).to_be_bytes());
        }
        message.extend(body);
        // An idle connection that the server has closed takes bytes and never answers; nothing was done then, but nobody here can know.
        let lost = |e: std::io::Error| Error::new(Kind::Unknown, format!("the connection was lost: {e}"));
        self.stream.write_all(&message).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)?;
        self.buffer.clear();
        let mut scan = Scan::new();
        let (start, end) = loop {
            if self.framed {
                if let Some(length) = self.buffer.first_chunk::<4>() {
                    let end = 4 + u32::from_be_bytes(*length) as usize;
                    if end > LARGEST {
                        return Err(Error::protocol(format!("the answer's frame says {end} bytes")));
                    }
                    if self.buffer.len() >= end {
                        break (4, end);
                    }
                }
            } else if let Some(end) = scan.end(&self.buffer)? {
                break (0, end);
            }
            if self.buffer.len() > LARGEST {
                return Err(Error::protocol(format!("an answer of more than {LARGEST} bytes")));
            }
            self.buffer.reserve(64 << 10);
            if self.stream.read_buf(&mut self.buffer).await.map_err(lost)? == 0 {
                return Err(Error::new(Kind::Unknown, "the metastore closed the connection before it answered"));
            }
        };
        if end != self.buffer.len() {
            return Err(Error::protocol("more bytes than the answer has"));
        }
        reply(&self.buffer[start..end], method, self.number)
    }
}

/// The host of `host:port`; an IPv6 address without its brackets.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A Java exception's text without its stack.
fn short(text: &str, kind: Kind) -> String {
    let text = text.split("\n\tat ").next().unwrap_or_default().trim();
    if text.is_empty() { format!("{kind:?}") } else { text.to_owned() }
}
