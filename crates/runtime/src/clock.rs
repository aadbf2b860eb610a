//! The operating system's clock as the protocol's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shardpay_types::Timestamp;

/// Now. A clock before 1970 reads as zero: the protocol takes the later of this and what it has seen.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::ZERO.after(since)
}
