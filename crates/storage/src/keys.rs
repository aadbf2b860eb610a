//! Keys of the tables: numbers are big-endian, so that the order of bytes is the order of numbers.

use shardpay_types::{BlockRef, CommitteeId, Epoch, Height, Round};

/// Keys of the meta table.
pub(crate) mod meta {
    use shardpay_types::{CommitteeId, Epoch};

    /// Format version (u32, little-endian).
    pub(crate) const VERSION: &[u8] = b"version";
    /// Chain, node key, committee.
    pub(crate) const IDENTITY: &[u8] = b"identity";
    /// The ledger's tip.
    pub(crate) const TIP: &[u8] = b"tip";
    /// The last certified checkpoint.
    pub(crate) const CHECKPOINT: &[u8] = b"checkpoint";
    /// The height that accounts and deposits are of.
    pub(crate) const FLUSHED: &[u8] = b"flushed";

    const APPROVAL: &[u8] = b"approval/";
    const CLOSING: &[u8] = b"closing/";
    const OUTBOX_FIRST: &[u8] = b"outbox-first/";
    const NAMED: &[u8] = b"named/";

    fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    /// The plan approved for an epoch.
    pub(crate) fn approval(epoch: Epoch) -> Vec<u8> {
        join(&[APPROVAL, &epoch.get().to_be_bytes()])
    }

    /// A committee's closing record of an epoch.
    pub(crate) fn closing(committee: CommitteeId, epoch: Epoch) -> Vec<u8> {
        join(&[CLOSING, &super::committee(committee), &epoch.get().to_be_bytes()])
    }

    /// Index of the first message kept for a destination.
    pub(crate) fn outbox_first(destination: CommitteeId) -> Vec<u8> {
        join(&[OUTBOX_FIRST, &super::committee(destination)])
    }

    /// A small value of the program.
    pub(crate) fn named(name: &str) -> Vec<u8> {
        join(&[NAMED, name.as_bytes()])
    }
}

/// A committee's index.
pub(crate) fn committee(committee: CommitteeId) -> [u8; 2] {
    u16::try_from(committee.index()).expect("committees are bounded").to_be_bytes()
}

/// A height.
pub(crate) fn height(height: Height) -> [u8; 8] {
    height.get().to_be_bytes()
}

/// A node of the history log.
pub(crate) fn history(level: u8, position: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&position.to_be_bytes());
    key
}

/// A run of outbox messages.
pub(crate) fn outbox(destination: CommitteeId, first: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&committee(destination));
    key[2..].copy_from_slice(&first.to_be_bytes());
    key
}

/// A DAG block.
pub(crate) fn block(epoch: Epoch, reference: &BlockRef) -> [u8; 49] {
    let mut key = [0; 49];
    key[..16].copy_from_slice(&round(epoch, reference.round));
    key[16] = u8::try_from(reference.author.index()).expect("members are bounded");
    key[17..].copy_from_slice(reference.digest.as_bytes());
    key
}

/// Where a round of the DAG begins.
pub(crate) fn round(epoch: Epoch, round: Round) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&epoch.get().to_be_bytes());
    key[8..].copy_from_slice(&round.get().to_be_bytes());
    key
}
