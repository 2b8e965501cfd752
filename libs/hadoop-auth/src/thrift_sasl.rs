//! Thrift's SASL transport: how the login's messages travel, and the frames after it.
//!
//! Negotiation: `u8 status | u32 BE length | payload`. Afterwards: `u32 BE length | payload`, each payload wrapped under `auth-int` and `auth-conf`.
//! A frame is no message of Thrift: one message may lie in several, so this is a stream of bytes on both sides.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::{Error, Kind, Qop, Result, SaslMechanism};

const START: u8 = 1;
const OK: u8 = 2;
const BAD: u8 = 3;
const ERROR: u8 = 4;
const COMPLETE: u8 = 5;

/// The largest message of a negotiation. Tickets with long lists of groups take some 64 KiB.
const LARGEST_MESSAGE: usize = 1 << 20;
/// The largest frame that is taken. Java's servers wrap a whole answer at once, whatever size was agreed.
const LARGEST_FRAME: usize = 1 << 30;
/// What is gathered before a frame is made of it, if nobody flushes.
const GATHERED: usize = 1 << 20;

/// A stream of bytes after a SASL login.
pub struct SaslStream<S> {
    inner: S,
    mechanism: Box<dyn SaslMechanism>,
    /// Bytes of the connection that are no whole frame yet.
    arrived: BytesMut,
    /// Bytes for the reader.
    plain: BytesMut,
    /// What was written and is in no frame yet.
    gathered: BytesMut,
    /// Frames on their way.
    leaving: BytesMut,
    /// Where the connection's bytes are read to first.
    space: Box<[u8]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SaslStream<S> {
    /// Logs in over `inner`. There is no limit of time here: a server that does not speak SASL never answers, so give one.
    ///
    /// # Errors
    /// What the mechanism says, what the server says ([`Kind::Refused`]), or the connection ([`Kind::Io`]).
    pub async fn negotiate(mut inner: S, mechanism: Box<dyn SaslMechanism>) -> Result<SaslStream<S>> {
        let name = mechanism.name();
        let (mut mechanism, first) = blocking(mechanism, |m| m.start()).await?;
        send(&mut inner, START, name.as_bytes()).await?;
        send(&mut inner, if mechanism.is_complete() { COMPLETE } else { OK }, &first).await?;
        loop {
            let (status, payload) = receive(&mut inner).await?;
            match status {
                OK if mechanism.is_complete() => {
                    return Err(Error::protocol(format!("the server asks for more, where the {name} login is complete")));
                }
                OK => {
                    let answer;
                    (mechanism, answer) = blocking(mechanism, move |m| m.step(&payload)).await?;
                    send(&mut inner, if mechanism.is_complete() { COMPLETE } else { OK }, &answer).await?;
                }
                COMPLETE => {
                    // The server's proof may come with its last word.
                    if !mechanism.is_complete() {
                        (mechanism, _) = blocking(mechanism, move |m| m.step(&payload)).await?;
                    }
                    if !mechanism.is_complete() {
                        return Err(Error::protocol(format!("the server ends the {name} login before it has proven who it is")));
                    }
                    break;
                }
                BAD | ERROR => {
                    let said = String::from_utf8_lossy(&payload);
                    return Err(Error::new(Kind::Refused, format!("the server refuses the {name} login: {}", said.trim())));
                }
                other => return Err(Error::protocol(format!("the server sends the status {other}, which SASL over Thrift does not have"))),
            }
        }
        Ok(SaslStream {
            inner,
            mechanism,
            arrived: BytesMut::new(),
            plain: BytesMut::new(),
            gathered: BytesMut::new(),
            leaving: BytesMut::new(),
            space: vec![0; 64 << 10].into(),
        })
    }

    /// The protection that was agreed.
    pub fn qop(&self) -> Qop {
        self.mechanism.qop()
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Makes frames of what was gathered.
    fn frames(&mut self) -> Result<()> {
        let protect = self.mechanism.qop() != Qop::Auth;
        let largest = if protect { self.mechanism.max_plain() } else { GATHERED };
        while !self.gathered.is_empty() {
            let part = self.gathered.split_to(self.gathered.len().min(largest));
            let wrapped;
            let payload = if protect {
                wrapped = self.mechanism.wrap(&part)?;
                &wrapped[..]
            } else {
                &part[..]
            };
            self.leaving.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            self.leaving.extend_from_slice(payload);
        }
        Ok(())
    }

    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.leaving.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, &self.leaving))?;
            if sent == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.leaving.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes one whole frame off what has arrived; false if there is none.
    fn take_frame(&mut self) -> Result<bool> {
        let Some(length) = self.arrived.first_chunk::<4>().map(|b| u32::from_be_bytes(*b) as usize) else { return Ok(false) };
        if length > LARGEST_FRAME {
            return Err(Error::protocol(format!("the server sends a frame of {length} bytes; {LARGEST_FRAME} are the most")));
        }
        if self.arrived.len() < 4 + length {
            return Ok(false);
        }
        self.arrived.advance(4);
        let payload = self.arrived.split_to(length);
        if self.mechanism.qop() == Qop::Auth {
            self.plain = payload;
        } else if !payload.is_empty() {
            self.plain = BytesMut::from(&self.mechanism.unwrap(&payload)?[..]);
        }
        Ok(true)
    }
}

/// Runs what may wait for a KDC where it holds up nobody else.
async fn blocking<T: Send + 'static>(
    mut mechanism: Box<dyn SaslMechanism>,
    call: impl FnOnce(&mut dyn SaslMechanism) -> Result<T> + Send + 'static,
) -> Result<(Box<dyn SaslMechanism>, T)> {
    let run = tokio::task::spawn_blocking(move || call(&mut *mechanism).map(|out| (mechanism, out)));
    run.await.map_err(|e| Error::new(Kind::Other, format!("the login was stopped: {e}")))?
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, status: u8, payload: &[u8]) -> Result<()> {
    let mut message = vec![status];
    message.extend((payload.len() as u32).to_be_bytes());
    message.extend(payload);
    stream.write_all(&message).await?;
    Ok(stream.flush().await?)
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(u8, Vec<u8>)> {
    let closed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::new(Kind::Io, "the server closed the connection during the SASL login"),
        _ => e.into(),
    };
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.map_err(closed)?;
    let [status, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > LARGEST_MESSAGE {
        let text = format!("the server sends a SASL message of {length} bytes; {LARGEST_MESSAGE} are the most: does it speak SASL on this port?");
        return Err(Error::protocol(text));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(closed)?;
    Ok((status, payload))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SaslStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        while this.plain.is_empty() {
            if this.take_frame()? {
                continue;
            }
            let mut space = ReadBuf::new(&mut this.space);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(if this.arrived.is_empty() { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) });
            }
            let filled = space.filled();
            this.arrived.extend_from_slice(filled);
        }
        let taken = this.plain.len().min(out.remaining());
        out.put_slice(&this.plain.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SaslStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = &mut *self;
        if this.gathered.len() >= GATHERED {
            this.frames()?;
        }
        if this.leaving.len() >= GATHERED {
            ready!(this.poll_leave(context))?;
        }
        this.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        this.frames()?;
        ready!(this.poll_leave(context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S> std::fmt::Debug for SaslStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslStream").field("mechanism", &self.mechanism.name()).field("qop", &self.mechanism.qop()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plain;

    async fn served(answers: &[(u8, &[u8])]) -> Result<(SaslStream<tokio::io::DuplexStream>, tokio::io::DuplexStream)> {
        let (client, mut server) = tokio::io::duplex(1 << 16);
        for (status, payload) in answers {
            send(&mut server, *status, payload).await?;
        }
        let stream = SaslStream::negotiate(client, Box::new(Plain::new("ann", "x")?)).await?;
        assert_eq!(receive(&mut server).await?, (START, b"PLAIN".to_vec()));
        assert_eq!(receive(&mut server).await?, (COMPLETE, b"\0ann\0x".to_vec()));
        Ok((stream, server))
    }

    #[tokio::test]
    async fn bytes_pass_whatever_their_frames() {
        let (mut stream, mut server) = served(&[(COMPLETE, b"")]).await.unwrap();
        stream.write_all(b"ab").await.unwrap();
        stream.write_all(b"cd").await.unwrap();
        stream.flush().await.unwrap();
        let mut sent = [0; 8];
        server.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\0\0\0\x04abcd");
        // Three frames, one of them empty, for one read of four bytes.
        server.write_all(b"\0\0\0\x03efg\0\0\0\0\0\0\0\x02hi").await.unwrap();
        let mut got = [0; 4];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"efgh");
        // An end within a frame is an error, and one between frames is none.
        server.write_all(b"\0\0\0\x05x").await.unwrap();
        drop(server);
        let mut rest = Vec::new();
        let error = stream.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!((error.kind(), &rest[..]), (std::io::ErrorKind::UnexpectedEof, &b"i"[..]));
    }

    #[tokio::test]
    async fn more_than_a_frame_is_cut() {
        let (mut stream, mut server) = served(&[(COMPLETE, b"")]).await.unwrap();
        let data: Vec<u8> = (0..GATHERED * 2 + 5).map(|i| i as u8).collect();
        let sent = data.clone();
        let writer = tokio::spawn(async move {
            stream.write_all(&sent).await.unwrap();
            stream.flush().await.unwrap();
        });
        let mut got = Vec::new();
        while got.len() < data.len() {
            let length = server.read_u32().await.unwrap() as usize;
            assert!(length <= GATHERED);
            let at = got.len();
            got.resize(at + length, 0);
            server.read_exact(&mut got[at..]).await.unwrap();
        }
        writer.await.unwrap();
        assert!(got == data);
    }

    #[tokio::test]
    async fn refusals_say_what_the_server_said() {
        let error = served(&[(BAD, b"Error validating the login")]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().starts_with("the server refuses the PLAIN login: Error validating the login"), "{error}");
        for (answers, kind) in [(&[(OK, &b"more"[..])][..], Kind::Protocol), (&[(9, b"")], Kind::Protocol)] {
            assert_eq!(served(answers).await.unwrap_err().kind(), kind);
        }
        // What answers is a web server.
        let (client, mut server) = tokio::io::duplex(1 << 16);
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        let error = SaslStream::negotiate(client, Box::new(Plain::new("ann", "x").unwrap())).await.unwrap_err();
        assert!(error.to_string().contains("does it speak SASL"), "{error}");
        let (client, server) = tokio::io::duplex(1 << 16);
        drop(server);
        let error = SaslStream::negotiate(client, Box::new(Plain::new("ann", "x").unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
    }

    #[tokio::test]
    async fn a_frame_beyond_reason_is_refused_before_memory_is_taken() {
        let (mut stream, mut server) = served(&[(COMPLETE, b"")]).await.unwrap();
        server.write_all(b"\xff\xff\xff\xffxx").await.unwrap();
        let error = Error::from(stream.read_u8().await.unwrap_err());
        assert_eq!(error.kind(), Kind::Protocol);
    }
}
