//! The time, as the rest of the crate asks for it; tests set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    set: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self { set: None }
    }

    /// A clock that stands until it is moved.
    pub fn standing(us: u64) -> Self {
        Self { set: Some(Arc::new(AtomicU64::new(us))) }
    }

    /// Moves a standing clock.
    pub fn advance(&self, us: u64) {
        if let Some(set) = &self.set {
            set.fetch_add(us, Ordering::SeqCst);
        }
    }

    /// Now.
    pub fn now_us(&self) -> u64 {
        match &self.set {
            Some(set) => set.load(Ordering::SeqCst),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            }
        }
    }
}
