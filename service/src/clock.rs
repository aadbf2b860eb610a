//! The time, as the rest of the crate asks for it; tests move it ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    stands: bool,
    ahead_us: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands until it is moved.
    pub fn standing(us: u64) -> Self {
        Self { stands: true, ahead_us: Arc::new(AtomicU64::new(us)) }
    }

    /// Moves the clock, and its clones, ahead.
    pub fn advance(&self, us: u64) {
        self.ahead_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Now.
    pub fn now_us(&self) -> u64 {
        let ahead = self.ahead_us.load(Ordering::SeqCst);
        if self.stands {
            return ahead;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(ahead)
    }
}
