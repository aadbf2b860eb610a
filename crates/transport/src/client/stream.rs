//! The two halves of a client stream, the same on both ends.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use crate::error::{FrameError, SendError};
use crate::frame::{Budget, Frame, FrameReader};
use crate::queue::{NotTaken, SendQueue};
use crate::refusal::{CloseCode, TransportRefusal};
use crate::tasks::Tasks;
use crate::writer::{Traffic, write_queue};

/// Sends frames on one stream; clones share it. When the last clone is dropped, the stream is finished after
/// what waits.
#[derive(Clone)]
pub struct FrameSender(Arc<SenderShared>);

struct SenderShared {
    queue: Arc<SendQueue>,
    frame_max: usize,
}

impl Drop for SenderShared {
    fn drop(&mut self) {
        self.queue.finish();
    }
}

impl FrameSender {
    /// Sends through `stream`, which a task of `tasks` writes.
    pub(crate) fn new(tasks: &Tasks, mut stream: SendStream, sizes: StreamSizes, out: Arc<Traffic>) -> Self {
        let queue = Arc::new(SendQueue::new(sizes.queue_bytes_max, true));
        let waiting = Arc::clone(&queue);
        tasks.spawn(async move {
            // a stream with nothing to write hears of the end of its connection too
            let stopped = stream.stopped();
            tokio::select! {
                written = write_queue(&waiting, &mut stream, &out) => if written.is_err() {
                    waiting.close();
                },
                _ = stopped => {
                    waiting.close();
                }
            }
        });
        Self(Arc::new(SenderShared { queue, frame_max: sizes.send_max }))
    }

    fn check(&self, body: &Bytes) -> Result<(), SendError> {
        let max = self.0.frame_max;
        if (1..=max).contains(&body.len()) { Ok(()) } else { Err(SendError::Size { bytes: body.len(), max }) }
    }

    /// Queues a frame as soon as there is room for it.
    pub async fn send(&self, body: Bytes) -> Result<(), SendError> {
        self.check(&body)?;
        if self.0.queue.push_waiting(body).await { Ok(()) } else { Err(SendError::Closed) }
    }

    /// Queues a frame, or says at once why not.
    pub fn try_send(&self, body: Bytes) -> Result<(), SendError> {
        self.check(&body)?;
        self.0.queue.push(body, None).map_err(|not_taken| match not_taken {
            NotTaken::Full => SendError::Full,
            NotTaken::Closed => SendError::Closed,
        })
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.0.queue.bytes()
    }

    /// Whether frames are still taken.
    pub fn is_open(&self) -> bool {
        self.0.queue.is_open()
    }

    /// Finishes the stream after what waits, whatever clones there are.
    pub fn finish(&self) {
        self.0.queue.finish();
    }

    /// Gives the stream up and drops what waits.
    pub fn abort(&self) {
        self.0.queue.close();
    }
}

/// Sizes of one end of a stream.
#[derive(Clone, Copy)]
pub(crate) struct StreamSizes {
    pub(crate) send_max: usize,
    pub(crate) receive_max: usize,
    pub(crate) queue_bytes_max: usize,
}

/// Hears of refused frames.
pub(crate) trait Refuses: Send + Sync {
    fn refuse(&self, what: TransportRefusal, from: SocketAddr);
}

/// Receives the frames of one stream.
pub struct FrameReceiver {
    reader: FrameReader,
    received: Arc<Traffic>,
    refuses: Option<(Arc<dyn Refuses>, SocketAddr)>,
    failed: Option<FrameError>,
}

impl FrameReceiver {
    pub(crate) fn new(stream: RecvStream, budget: Budget, sizes: StreamSizes, received: Arc<Traffic>) -> Self {
        let reader = FrameReader::new(stream, budget, sizes.receive_max);
        Self { reader, received, refuses: None, failed: None }
    }

    pub(crate) fn refusing(mut self, refuses: Arc<dyn Refuses>, from: SocketAddr) -> Self {
        self.refuses = Some((refuses, from));
        self
    }

    /// The next frame; `None` when the other side has finished. A call may be dropped and made again. A
    /// malformed frame is counted and ends the stream in this direction; a reply can still say why.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.reader.next().await {
            Ok(Some(frame)) => {
                self.received.add(1, frame.len());
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                if let Some(what) = error.refusal() {
                    self.reader.stop(what.close_code().varint());
                    if let Some((refuses, from)) = &self.refuses {
                        refuses.refuse(what, *from);
                    }
                }
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Tells the other side that nothing more is read from this stream.
    pub fn stop(&mut self, code: CloseCode) {
        self.reader.stop(code.varint());
    }
}
