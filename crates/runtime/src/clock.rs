//! The operating system's clock as the protocol's time, which experiments can set wrong for one process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shardpay_types::Timestamp;

/// Microseconds that this process's clock is ahead of the system's.
static SKEW_US: AtomicI64 = AtomicI64::new(0);

/// Sets this process's clock ahead of the system's, or behind it.
pub fn set_clock_skew(milliseconds: i64) {
    SKEW_US.store(milliseconds.saturating_mul(1_000), Ordering::Relaxed);
}

/// Now. A clock before 1970 reads as zero: the protocol takes the later of this and what it has seen.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let skew_us = SKEW_US.load(Ordering::Relaxed);
    let skew = Duration::from_micros(skew_us.unsigned_abs());
    Timestamp::ZERO.after(if skew_us < 0 { since.saturating_sub(skew) } else { since + skew })
}
