//! What a signature covers: tag ‖ chain id ‖ kind ‖ body, for every signature of the system.
//!
//! Guarantees: a signature made for one ledger, or for one kind of statement, is no signature for
//! another. The prefix has a fixed length, so a message can be cut in one way only; the body is the
//! canonical encoding of what is signed.

use std::ops::Deref;

use shardpay_types::ChainId;

use crate::hash::domain;

/// The kinds of statement that are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SignedKind {
    /// A payment, by its sender.
    Payment = 1,
    /// A redeem, by its sender.
    Redeem = 2,
    /// A mint, by the issuer.
    Mint = 3,
    /// A DAG block, by its author.
    Block = 4,
    /// A ledger-block header, by a member of its committee.
    Header = 5,
    /// A checkpoint over a committee's state, by a member.
    Checkpoint = 6,
    /// Consent to a plan, by a member.
    PlanApproval = 7,
    /// A node's registration (proof of possession), by the node.
    Registration = 8,
    /// An answer about an account's balance, by a member.
    Balance = 9,
    /// A heartbeat, by a node.
    Heartbeat = 10,
    /// The opening of a connection, by a node.
    Hello = 11,
}

/// Bytes before the body of a signed message.
pub const SIGNED_PREFIX_BYTES: usize = domain::SIGNED.len() + 32 + 1;

/// Longest body that fits a [`ShortMessage`]; every transaction does.
pub const SHORT_BODY_BYTES_MAX: usize = 128;

/// The bytes that a signature over `body` covers, in a new vector.
pub fn signed_message(chain: &ChainId, kind: SignedKind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SIGNED_PREFIX_BYTES + body.len());
    signed_message_into(chain, kind, body, &mut out);
    out
}

/// Appends the bytes that a signature over `body` covers to `out` (a buffer that is used again, or an
/// arena of many messages).
pub fn signed_message_into(chain: &ChainId, kind: SignedKind, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&prefix(chain, kind));
    out.extend_from_slice(body);
}

fn prefix(chain: &ChainId, kind: SignedKind) -> [u8; SIGNED_PREFIX_BYTES] {
    let mut out = [0; SIGNED_PREFIX_BYTES];
    let (tag, rest) = out.split_at_mut(domain::SIGNED.len());
    tag.copy_from_slice(domain::SIGNED);
    rest[..32].copy_from_slice(chain.as_bytes());
    rest[32] = kind as u8;
    out
}

/// A signed message of bounded length on the stack: what transactions and other small statements use,
/// so that verifying a batch allocates nothing per item.
#[derive(Debug, Clone, Copy)]
pub struct ShortMessage {
    bytes: [u8; SIGNED_PREFIX_BYTES + SHORT_BODY_BYTES_MAX],
    len: usize,
}

impl ShortMessage {
    /// The bytes that a signature over `body` covers.
    ///
    /// # Panics
    /// When `body` is longer than [`SHORT_BODY_BYTES_MAX`]; the lengths of the types signed this way
    /// are constants, so that is a bug of the caller.
    pub fn new(chain: &ChainId, kind: SignedKind, body: &[u8]) -> Self {
        assert!(body.len() <= SHORT_BODY_BYTES_MAX, "a short message has a short body: {}", body.len());
        let mut bytes = [0; SIGNED_PREFIX_BYTES + SHORT_BODY_BYTES_MAX];
        let len = SIGNED_PREFIX_BYTES + body.len();
        bytes[..SIGNED_PREFIX_BYTES].copy_from_slice(&prefix(chain, kind));
        bytes[SIGNED_PREFIX_BYTES..len].copy_from_slice(body);
        Self { bytes, len }
    }
}

impl Deref for ShortMessage {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_form_agree() {
        let chain = ChainId([7; 32]);
        for len in [0, 1, 72, 104, SHORT_BODY_BYTES_MAX] {
            let body = vec![3; len];
            let long = signed_message(&chain, SignedKind::Mint, &body);
            assert_eq!(*ShortMessage::new(&chain, SignedKind::Mint, &body), *long);
            assert_eq!(long.len(), SIGNED_PREFIX_BYTES + len);
        }
    }

    #[test]
    fn chain_kind_and_body_all_count() {
        let a = signed_message(&ChainId([1; 32]), SignedKind::Payment, b"x");
        assert_ne!(a, signed_message(&ChainId([2; 32]), SignedKind::Payment, b"x"));
        assert_ne!(a, signed_message(&ChainId([1; 32]), SignedKind::Redeem, b"x"));
        assert_ne!(a, signed_message(&ChainId([1; 32]), SignedKind::Payment, b"y"));
    }
}
