//! The task that writes a queue to its stream: all that waits in one call.

use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{SendStream, WriteError};

use crate::queue::{Next, SendQueue};
use crate::refusal::CloseCode;

/// Bytes and frames that went one way.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn add(&self, frames: usize, bytes: usize) {
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Writes until the queue is finished (then the stream is finished too), closed, or the stream fails.
pub(crate) async fn write_queue(queue: &SendQueue, stream: &mut SendStream, out: &Traffic) -> Result<(), WriteError> {
    loop {
        match queue.next() {
            Next::Batch(mut batch) => {
                stream.write_all_chunks(&mut batch.chunks).await?;
                queue.written(batch.body_bytes);
                out.add(batch.frames, batch.body_bytes);
            }
            Next::WaitUntil(due) => tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = queue.changed() => {}
            },
            Next::Wait => queue.changed().await,
            Next::Finish => {
                // an error means that the other side has stopped the stream: nobody waits for its end
                let _ = stream.finish();
                return Ok(());
            }
            Next::Close => {
                // an error means that the stream has ended already
                let _ = stream.reset(CloseCode::DONE.varint());
                return Ok(());
            }
        }
    }
}
