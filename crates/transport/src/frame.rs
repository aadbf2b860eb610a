//! Frames out of a stream; [`crate::cut`] finds them in its bytes.
//!
//! Guarantees: a body is copied once, out of the datagrams into its own allocation (a slice of a datagram
//! would keep up to 64 KiB alive for 200 bytes). Its bytes are taken from the connection's [`Budget`]
//! before anything is allocated and given back when the [`Frame`] is dropped; while the budget is used up
//! the stream is not read and QUIC's flow control stops the sender. [`FrameReader::next`] keeps its place
//! in itself, so a call may be dropped and made again without losing bytes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use quinn::{ReadError, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cut::{BadLength, Cut, Cutter};
use crate::error::FrameError;
use crate::refusal::TransportRefusal;

/// Counted per frame on top of its bytes, so that tiny frames are bounded too.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// Most bytes taken out of the stream at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes that received frames of one connection may hold.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    /// Room for `bytes` of small frames or one frame of `frame_max` bytes, whichever is more.
    pub(crate) fn new(bytes: usize, frame_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.max(frame_max + FRAME_OVERHEAD_BYTES))))
    }

    async fn share(&self, body_bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(body_bytes + FRAME_OVERHEAD_BYTES).expect("frame limits fit a u32");
        Arc::clone(&self.0).acquire_many_owned(permits).await.expect("budgets are never closed")
    }
}

/// The body of a received frame; holds its share of the connection's byte budget until dropped.
pub struct Frame {
    body: Box<[u8]>,
    _share: OwnedSemaphorePermit,
}

impl Frame {
    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as shared bytes, without a copy; the share of the budget is given back when the last
    /// clone is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Deref for Frame {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.body.len())
    }
}

impl FrameError {
    /// The refusal it stands for; `None` when nobody did anything wrong.
    pub fn refusal(&self) -> Option<TransportRefusal> {
        match self {
            Self::TooLarge { .. } => Some(TransportRefusal::FrameTooLarge),
            Self::Empty => Some(TransportRefusal::FrameEmpty),
            Self::Truncated => Some(TransportRefusal::FrameTruncated),
            Self::Reset(_) | Self::Lost(_) => None,
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code.into_inner()),
            other => Self::Lost(other.to_string()),
        }
    }
}

/// Reads the frames of one stream.
pub(crate) struct FrameReader {
    stream: RecvStream,
    budget: Budget,
    frame_max: usize,
    /// Bytes read and not looked at yet.
    chunk: Bytes,
    cutter: Cutter,
    /// Of the body under way.
    share: Option<OwnedSemaphorePermit>,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream, budget: Budget, frame_max: usize) -> Self {
        Self { stream, budget, frame_max, chunk: Bytes::new(), cutter: Cutter::new(frame_max), share: None }
    }

    /// The next frame; `None` when the stream was finished between two frames. After an error the stream
    /// is of no more use.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let mut bytes = &*self.chunk;
            let cut = self.cutter.take(&mut bytes).map_err(|bad| self.refuse(bad))?;
            let taken = self.chunk.len() - bytes.len();
            self.chunk.advance(taken);
            match cut {
                Cut::Whole(body) => {
                    let share = self.share.take().expect("a body begins with its share");
                    return Ok(Some(Frame { body: body.into_boxed_slice(), _share: share }));
                }
                Cut::Announced(length) => {
                    // a call that is dropped here finds the same length announced again
                    self.share = Some(self.budget.share(length).await);
                    self.cutter.begin();
                }
                Cut::Hungry => match self.stream.read_chunk(CHUNK_BYTES, true).await? {
                    Some(chunk) => self.chunk = chunk.bytes,
                    None if self.cutter.is_between_frames() => return Ok(None),
                    None => return Err(FrameError::Truncated),
                },
            }
        }
    }

    fn refuse(&self, bad: BadLength) -> FrameError {
        match bad {
            BadLength::Empty => FrameError::Empty,
            BadLength::TooLarge { bytes } => FrameError::TooLarge { bytes: bytes as u64, max: self.frame_max as u64 },
        }
    }

    /// The first byte of the stream, before any frame; `None` when there is none.
    pub(crate) async fn class_byte(&mut self) -> Result<Option<u8>, FrameError> {
        while self.chunk.is_empty() {
            match self.stream.read_chunk(CHUNK_BYTES, true).await? {
                Some(chunk) => self.chunk = chunk.bytes,
                None => return Ok(None),
            }
        }
        Ok(Some(self.chunk.get_u8()))
    }

    /// Takes the shares of the frames that follow from another budget.
    pub(crate) fn use_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Tells the sender that nothing more is read.
    pub(crate) fn stop(&mut self, code: quinn::VarInt) {
        // an error means that the stream has ended already
        let _ = self.stream.stop(code);
    }
}
