//! A listener that gives up on peers that take their time.
//!
//! Guarantees: from the first byte of a request until the first byte of its answer at most
//! `Patience::request` passes, however slowly bytes come; a connection on which nothing moves ends after
//! `Patience::idle`; there are at most so many connections, further ones wait in the kernel's queue.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a whole request, from its first byte.
    pub request: Duration,
    /// For anything to happen.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { request: Duration::from_secs(20), idle: Duration::from_secs(75) }
    }
}

/// The listener.
pub struct Guarded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Guarded {
    /// Guards a listener, with room for so many connections.
    pub fn new(listener: TcpListener, connections_max: usize, patience: Patience) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections_max)), patience }
    }
}

impl axum::serve::Listener for Guarded {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    // small answers must not wait for more
                    let _ = stream.set_nodelay(true);
                    let timer = Box::pin(tokio::time::sleep(self.patience.idle));
                    let patience = self.patience;
                    return (GuardedStream { stream, timer, patience, in_request: false, _permit: permit }, addr);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection with a timer.
pub struct GuardedStream {
    stream: TcpStream,
    timer: Pin<Box<Sleep>>,
    patience: Patience,
    /// Bytes of a request came and no byte of an answer went.
    in_request: bool,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the peer takes its time"))
    }

    fn wrote(&mut self) {
        self.in_request = false;
        let until = Instant::now() + self.patience.idle;
        self.timer.as_mut().reset(until);
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(error) = this.late(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let done = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
        if buf.filled().len() > before && !std::mem::replace(&mut this.in_request, true) {
            let until = Instant::now() + this.patience.request;
            this.timer.as_mut().reset(until);
        }
        Poll::Ready(done)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                this.wrote();
                Poll::Ready(done)
            }
            Poll::Pending => this.late(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write_vectored(cx, parts) {
            Poll::Ready(done) => {
                this.wrote();
                Poll::Ready(done)
            }
            Poll::Pending => this.late(cx).map(Err),
        }
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
