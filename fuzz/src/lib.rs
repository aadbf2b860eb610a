//! Entry points of the fuzz targets. The check is the one of the stable tests in `crates/types/tests`.

#[path = "../../crates/types/tests/common/entry.rs"]
pub mod entry;

pub use entry::{DECODERS, check};

/// The first byte chooses a wire type, the others are its encoding.
pub fn check_any(bytes: &[u8]) {
    if let Some((which, bytes)) = bytes.split_first() {
        DECODERS[usize::from(*which) % DECODERS.len()].1(bytes);
    }
}
