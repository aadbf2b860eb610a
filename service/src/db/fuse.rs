//! A chosen point of time after which nothing works any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::StoreError;

/// Counts calls; from the one after the last allowed on, all fail. Shared by the store and the gateways of a
/// crash test, so that a process "dies" between any two of their calls.
#[derive(Debug)]
pub struct Fuse(AtomicI64);

impl Fuse {
    /// A fuse that lets so many calls pass.
    pub fn after(calls: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(calls)))
    }

    /// Whether it has blown.
    pub fn blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }

    /// Calls passed so far, for a fuse made for `calls`.
    pub fn used(&self, calls: i64) -> i64 {
        calls - self.0.load(Ordering::SeqCst)
    }

    /// One call more.
    pub fn burn(&self) -> Result<(), StoreError> {
        let left = self.0.fetch_sub(1, Ordering::SeqCst);
        if left > 0 { Ok(()) } else { Err(StoreError::Blown) }
    }

    pub(super) fn tick(fuse: &Option<Arc<Self>>) -> Result<(), StoreError> {
        fuse.as_ref().map_or(Ok(()), |fuse| fuse.burn())
    }
}
