//! The socket: what a peer costs before it has asked for anything.
//!
//! Guarantees: at most [`CONNECTIONS_MAX`] connections at a time, one more is closed at once; a connection that
//! sends no whole request head for [`HEAD_MAX`] is closed (also one that is kept open and idle). Bodies have their
//! own time (`api::extract`). Small answers leave at once (`TCP_NODELAY`).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 4_096;
/// How long the head of a request may take, and how long a connection may be idle.
pub const HEAD_MAX: Duration = Duration::from_secs(30);

/// Serves the router until the handle is told to stop.
pub async fn serve(
    router: Router,
    listener: std::net::TcpListener,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let gate = Gate(Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.acceptor(gate);
            server.http_builder().http1().header_read_timeout(HEAD_MAX);
            server.handle(handle).serve(service).await
        }
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls)?.map(|tls| tls.acceptor(gate));
            server.http_builder().http1().header_read_timeout(HEAD_MAX);
            server.handle(handle).serve(service).await
        }
    }
}

/// Lets so many connections in.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl<S> Accept<TcpStream, S> for Gate {
    type Stream = Admitted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Admitted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let admitted = self.0.clone().try_acquire_owned().map_err(|_| io::Error::other("too many connections"));
        std::future::ready(admitted.and_then(|permit| {
            stream.set_nodelay(true)?;
            Ok((Admitted { stream, _permit: permit }, service))
        }))
    }
}

/// A connection that holds its place.
struct Admitted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Admitted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
