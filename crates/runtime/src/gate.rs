//! How many client transactions are between the sockets and the mempool: one bound for the whole way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    inside: Arc<AtomicUsize>,
    max: usize,
}

impl Gate {
    pub(crate) fn new(max: usize) -> Self {
        Self { inside: Arc::default(), max }
    }

    /// Lets `count` in, all or none.
    pub(crate) fn enter(&self, count: usize) -> bool {
        let fits = |inside: usize| inside.checked_add(count).filter(|sum| *sum <= self.max);
        self.inside.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// `count` of those let in are done.
    pub(crate) fn leave(&self, count: usize) {
        let before = self.inside.fetch_sub(count, Relaxed);
        assert!(before >= count, "nobody leaves who did not enter");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none() {
        let gate = Gate::new(10);
        assert!(gate.enter(7));
        assert!(!gate.enter(4));
        assert!(gate.enter(3));
        gate.leave(9);
        assert!(gate.enter(9));
        assert!(!gate.enter(usize::MAX));
    }
}
