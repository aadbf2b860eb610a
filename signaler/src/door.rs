//! The listening socket: how many connections there may be, and how long a silent one stays.
//!
//! Guarantees: connections never use up the process's files, which the store needs too. Whoever comes when all
//! places are taken gets the typed refusal of every other overload (503 `unavailable`) and is closed. A
//! connection on which nothing moves for [`ConnectionLimits::idle`] loses its place; that is longer than any
//! long poll.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use shardpay_client::signaler::ErrorCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::desk::Desk;
use crate::refusal::Refusal;

/// Connections that are told at once why they are closed; others are closed without a word.
const TURNED_AWAY_MAX: usize = 64;
/// How long telling them may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Limits of the listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at once.
    pub max: usize,
    /// A connection without a byte in either direction for so long is closed.
    pub idle: Duration,
}

impl ConnectionLimits {
    /// Leaves files to the store where a process may have 1,024.
    pub const MAX: usize = 768;
    /// Twice the longest long poll.
    pub const IDLE: Duration = Duration::from_secs(120);
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { max: Self::MAX, idle: Self::IDLE }
    }
}

/// Takes connections within the limits.
pub(crate) struct Door {
    listener: TcpListener,
    idle: Duration,
    places: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    desk: Arc<Desk>,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, limits: ConnectionLimits, desk: Arc<Desk>) -> Self {
        let (places, turned_away) = (Semaphore::new(limits.max), Semaphore::new(TURNED_AWAY_MAX));
        Self { listener, idle: limits.idle, places: Arc::new(places), turned_away: Arc::new(turned_away), desk }
    }

    fn turn_away(&self, mut stream: TcpStream) {
        let refusal = Refusal::new(ErrorCode::Unavailable, "too many connections");
        self.desk.metrics.refused(refusal.label());
        let Ok(permit) = self.turned_away.clone().try_acquire_owned() else { return };
        let status = refusal.status();
        let body = serde_json::to_string(&refusal.0).expect("a refusal has a JSON form");
        let head = format!("HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/json");
        let answer = format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        tokio::spawn(async move {
            let _permit = permit;
            let mut unread = [0; 4_096];
            let tell = async {
                // an answer before the question would be none
                if stream.read(&mut unread).await? == 0 {
                    return Ok(());
                }
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // what it sent is read, or else it would see a reset instead of the answer
                while stream.read(&mut unread).await? > 0 {}
                io::Result::Ok(())
            };
            // who has gone, or goes on sending, hears nothing
            let _ = timeout(GOODBYE, tell).await;
        });
    }
}

impl Listener for Door {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let (stream, from) = Listener::accept(&mut self.listener).await;
            match self.places.clone().try_acquire_owned() {
                Ok(place) => {
                    let silence = Box::pin(sleep(self.idle));
                    return (Placed { stream, idle: self.idle, silence, _place: place }, from);
                }
                Err(_) => self.turn_away(stream),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that holds a place.
pub(crate) struct Placed {
    stream: TcpStream,
    idle: Duration,
    /// Ends when nothing has moved for `idle`.
    silence: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    fn unless_silent<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.silence.as_mut().reset(Instant::now() + self.idle);
            return moved;
        }
        self.silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.unless_silent(cx, read)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_silent(cx, written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
