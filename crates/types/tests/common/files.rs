//! The vector files: `docs/vectors/*.json` of the repository.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests read files; the crates do not")]

use std::path::{Path, PathBuf};

/// The repository's root. Every crate lies two folders below it.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a vector file with what the code gives now; with `SHARDPAY_BLESS=1`, writes it.
///
/// # Panics
/// When they differ.
pub fn compare(name: &str, now: &str) {
    let path = repository().join("docs/vectors").join(format!("{name}.json"));
    if std::env::var_os("SHARDPAY_BLESS").is_some() {
        std::fs::write(&path, now).expect("vector file can be written");
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (old, new))) = before.lines().zip(now.lines()).enumerate().find(|(_, (old, new))| old != new) {
        panic!("{name}.json line {}:\n  file {old}\n  code {new}\nSHARDPAY_BLESS=1 accepts the change", line + 1);
    }
    assert!(before == now, "{name}.json differs in length from the code; SHARDPAY_BLESS=1 accepts the change");
}
