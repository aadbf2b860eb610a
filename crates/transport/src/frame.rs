//! Frames out of a stream: u32 little-endian length, then the body.
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

use crate::error::FrameError;
use crate::refusal::TransportRefusal;

/// Counted per frame on top of its bytes, so that tiny frames are bounded too.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// Most bytes taken out of the stream at a time.
const CHUNK_BYTES: usize = 64 << 10;
const LENGTH_BYTES: usize = 4;

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

/// A body under way.
struct Partial {
    body: Vec<u8>,
    length: usize,
    share: OwnedSemaphorePermit,
}

/// Reads the frames of one stream.
pub(crate) struct FrameReader {
    stream: RecvStream,
    budget: Budget,
    frame_max: usize,
    /// Bytes read and not looked at yet.
    chunk: Bytes,
    header: [u8; LENGTH_BYTES],
    header_filled: usize,
    partial: Option<Partial>,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream, budget: Budget, frame_max: usize) -> Self {
        let (chunk, header) = (Bytes::new(), [0; LENGTH_BYTES]);
        Self { stream, budget, frame_max, chunk, header, header_filled: 0, partial: None }
    }

    /// The next frame; `None` when the stream was finished between two frames. After an error the stream
    /// is of no more use.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if self.partial.is_none() && self.header_filled == LENGTH_BYTES {
                let length = self.announced_length()?;
                let share = self.budget.share(length).await;
                self.header_filled = 0;
                self.partial = Some(Partial { body: Vec::with_capacity(length), length, share });
            }
            if let Some(frame) = self.take_from_chunk() {
                return Ok(Some(frame));
            }
            // a length that is complete is looked at before anything more is waited for
            let wants_bytes = self.partial.is_some() || self.header_filled < LENGTH_BYTES;
            if wants_bytes && self.chunk.is_empty() {
                match self.stream.read_chunk(CHUNK_BYTES, true).await? {
                    Some(chunk) => self.chunk = chunk.bytes,
                    None if self.header_filled == 0 && self.partial.is_none() => return Ok(None),
                    None => return Err(FrameError::Truncated),
                }
            }
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

    fn announced_length(&self) -> Result<usize, FrameError> {
        match u32::from_le_bytes(self.header) as usize {
            0 => Err(FrameError::Empty),
            length if length > self.frame_max => {
                Err(FrameError::TooLarge { bytes: length as u64, max: self.frame_max as u64 })
            }
            length => Ok(length),
        }
    }

    /// Moves bytes of the chunk on; a frame when one became whole.
    fn take_from_chunk(&mut self) -> Option<Frame> {
        let Some(partial) = &mut self.partial else {
            let take = self.chunk.len().min(LENGTH_BYTES - self.header_filled);
            self.header[self.header_filled..self.header_filled + take].copy_from_slice(&self.chunk[..take]);
            self.header_filled += take;
            self.chunk.advance(take);
            return None;
        };
        let take = self.chunk.len().min(partial.length - partial.body.len());
        partial.body.extend_from_slice(&self.chunk[..take]);
        self.chunk.advance(take);
        if partial.body.len() < partial.length {
            return None;
        }
        self.partial.take().map(|whole| Frame { body: whole.body.into_boxed_slice(), _share: whole.share })
    }
}
