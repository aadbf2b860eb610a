//! Frames that wait to be written to one stream, bounded in bytes.
//!
//! Guarantees: frames leave in the order they came, never before the time given with them; the bytes held
//! never exceed the bound, but for a single frame above it, which is taken when nothing else waits. While
//! the queue is closed nothing is taken; closing it drops what waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

/// Bodies up to this size are copied next to their length; larger ones are written as they are.
const COPY_BYTES_MAX: usize = 4 << 10;
/// A batch is written when it reaches this many bytes.
const BATCH_BYTES: usize = 256 << 10;

struct Waiting {
    body: Bytes,
    due: Option<Instant>,
}

struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// No more is taken; what waits is still written.
    Finishing,
    Closed,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

/// What a writer is to do.
pub(crate) enum Next {
    /// Write these.
    Batch(Batch),
    /// Wait for that time, or for a change.
    WaitUntil(Instant),
    /// Wait for a change.
    Wait,
    /// All is written and nothing more will come.
    Finish,
    /// Give up.
    Close,
}

/// Frames to be written with one call.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) frames: usize,
    pub(crate) body_bytes: usize,
}

/// The queue of one stream.
pub(crate) struct SendQueue {
    state: Mutex<State>,
    bytes_max: usize,
    /// Wakes the writer.
    filled: Notify,
    /// Wakes those who wait for room.
    room: Notify,
}

impl SendQueue {
    pub(crate) fn new(bytes_max: usize, open: bool) -> Self {
        let phase = if open { Phase::Open } else { Phase::Closed };
        let state = Mutex::new(State { waiting: VecDeque::new(), bytes: 0, phase });
        Self { state, bytes_max, filled: Notify::new(), room: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // the state is whole between any two statements under the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame, or says why not.
    pub(crate) fn push(&self, body: Bytes, due: Option<Instant>) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(NotTaken::Closed);
        }
        if state.bytes > 0 && state.bytes + body.len() > self.bytes_max {
            return Err(NotTaken::Full);
        }
        // a later frame never overtakes an earlier one of the same stream
        let due = due.max(state.waiting.back().and_then(|last| last.due));
        let wake = state.waiting.is_empty();
        state.bytes += body.len();
        state.waiting.push_back(Waiting { body, due });
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes a frame as soon as there is room; false when the queue is closed.
    pub(crate) async fn push_waiting(&self, body: Bytes) -> bool {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.push(body.clone(), None) {
                Ok(()) => return true,
                Err(NotTaken::Closed) => return false,
                Err(NotTaken::Full) => room.await,
            }
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().phase == Phase::Open
    }

    /// Takes frames again.
    pub(crate) fn open(&self) {
        self.state().phase = Phase::Open;
    }

    /// Takes no more frames; what waits is still written.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        }
        drop(state);
        self.filled.notify_one();
        self.room.notify_waiters();
    }

    /// Takes no more frames and drops what waits; returns how many were dropped.
    pub(crate) fn close(&self) -> usize {
        let mut state = self.state();
        state.phase = Phase::Closed;
        state.bytes = 0;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        self.filled.notify_one();
        self.room.notify_waiters();
        dropped.len()
    }

    /// What the writer does next. Bytes of a batch stay counted until [`Self::written`].
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state();
        let Some(first) = state.waiting.front() else {
            return match state.phase {
                Phase::Open => Next::Wait,
                Phase::Finishing => Next::Finish,
                Phase::Closed => Next::Close,
            };
        };
        let mut now = None;
        if let Some(due) = first.due {
            let time = *now.get_or_insert_with(Instant::now);
            if due > time {
                return Next::WaitUntil(due);
            }
        }
        let mut batch = Batch::default();
        let mut small = BytesMut::new();
        while let Some(first) = state.waiting.front() {
            if batch.body_bytes > BATCH_BYTES
                || first.due.is_some_and(|due| due > *now.get_or_insert_with(Instant::now))
            {
                break;
            }
            let body = state.waiting.pop_front().expect("just seen").body;
            batch.add(body, &mut small);
        }
        if !small.is_empty() {
            batch.chunks.push(small.freeze());
        }
        Next::Batch(batch)
    }

    /// Gives back the room of a batch that was written.
    pub(crate) fn written(&self, body_bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(body_bytes);
        drop(state);
        self.room.notify_waiters();
    }

    /// Waits until [`Self::next`] may say something else.
    pub(crate) async fn changed(&self) {
        self.filled.notified().await;
    }
}

impl Batch {
    fn add(&mut self, body: Bytes, small: &mut BytesMut) {
        self.frames += 1;
        self.body_bytes += body.len();
        small.put_u32_le(u32::try_from(body.len()).expect("frame limits fit a u32"));
        if body.len() <= COPY_BYTES_MAX {
            small.put_slice(&body);
        } else {
            self.chunks.push(small.split().freeze());
            self.chunks.push(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bytes_of(batch: &Batch) -> Vec<u8> {
        batch.chunks.concat()
    }

    #[test]
    fn frames_are_batched_in_order_with_their_lengths() {
        let queue = SendQueue::new(1 << 20, true);
        let bodies = [vec![1; 3], vec![2; COPY_BYTES_MAX + 1], vec![3; 1]];
        let mut expected = Vec::new();
        for body in &bodies {
            queue.push(body.clone().into(), None).unwrap();
            expected.extend_from_slice(&(body.len() as u32).to_le_bytes());
            expected.extend_from_slice(body);
        }
        let Next::Batch(batch) = queue.next() else { panic!("frames wait") };
        assert_eq!((batch.frames, bytes_of(&batch)), (3, expected));
        assert!(queue.bytes() > 0, "room is given back when written");
        queue.written(batch.body_bytes);
        assert_eq!(queue.bytes(), 0);
        assert!(matches!(queue.next(), Next::Wait));
    }

    #[test]
    fn the_bound_is_in_bytes_and_one_large_frame_passes() {
        let queue = SendQueue::new(10, true);
        queue.push(Bytes::from_static(&[0; 20]), None).unwrap();
        assert_eq!(queue.push(Bytes::from_static(&[0; 1]), None), Err(NotTaken::Full));
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.push(Bytes::from_static(&[0; 1]), None), Err(NotTaken::Closed));
        assert!(matches!(queue.next(), Next::Close));
    }

    #[test]
    fn a_later_frame_waits_for_an_earlier_one() {
        let queue = SendQueue::new(100, true);
        let due = Instant::now() + Duration::from_secs(3_600);
        queue.push(Bytes::from_static(b"a"), Some(due)).unwrap();
        queue.push(Bytes::from_static(b"b"), None).unwrap();
        assert!(matches!(queue.next(), Next::WaitUntil(at) if at == due));
    }

    #[test]
    fn finishing_writes_what_waits() {
        let queue = SendQueue::new(100, true);
        queue.push(Bytes::from_static(b"last"), None).unwrap();
        queue.finish();
        assert_eq!(queue.push(Bytes::from_static(b"more"), None), Err(NotTaken::Closed));
        assert!(matches!(queue.next(), Next::Batch(_)));
        assert!(matches!(queue.next(), Next::Finish));
    }
}
