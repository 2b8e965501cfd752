//! What stands between a client and a real metastore: passes bytes on, or breaks the connection when told, or speaks TLS or SASL to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Counts connections, and can be told to break them.
#[derive(Debug, Default)]
pub struct Switch {
    pub connections: AtomicU32,
    /// How many requests are still passed on before one is swallowed: its connection is closed after the metastore has answered.
    pub before_break: AtomicU32,
}

/// A listener before `to`; what it hears goes through `accept` first. Gives its address as a URI.
pub async fn listen<A, F, S>(to: String, switch: Arc<Switch>, accept: A) -> String
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            switch.connections.fetch_add(1, Ordering::SeqCst);
            let accepted = accept(socket);
            let (to, switch) = (to.clone(), Arc::clone(&switch));
            tokio::spawn(async move {
                if let Some(client) = accepted.await {
                    pass(client, &to, &switch).await;
                }
            });
        }
    });
    format!("thrift://localhost:{}", address.port())
}

/// One request and its answer after the other: each is there as a whole when nothing comes for a moment, which holds for the small ones of tests.
async fn pass<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, to: &str, switch: &Switch) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut breaks = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(size) if size > 0 => {
                    // 0 is "never"; it breaks when it comes down to 1.
                    let left = switch.before_break.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n > 0).then(|| n - 1));
                    breaks |= left == Ok(1);
                    if server.write_all(&up[..size]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(size) if size > 0 && !breaks => {
                    if client.write_all(&down[..size]).await.is_err() || client.flush().await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
