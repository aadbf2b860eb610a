//! What is refused to others, typed and counted, and the code they see when a connection or stream is closed.
//!
//! A refusal costs its sender the connection it came on (or the attempt), and nobody else anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something a peer, a client or a stranger did that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum TransportRefusal {
    /// A valid handshake with a key that is no member's.
    #[error("key is not a member's")]
    UnknownKey,
    /// Another application protocol, or none.
    #[error("wrong application protocol")]
    WrongProtocol,
    /// The handshake failed for another reason: no proof of the key, another kind of key, garbage.
    #[error("handshake failed")]
    Handshake,
    /// The handshake took too long.
    #[error("handshake timed out")]
    HandshakeTimeout,
    /// Too many handshakes at once.
    #[error("too many handshakes at once")]
    HandshakesFull,
    /// Too many connection attempts from one address in a short time.
    #[error("too many attempts from one address")]
    AddressRate,
    /// Too many connections from one address.
    #[error("too many connections from one address")]
    AddressConnections,
    /// Too many connections.
    #[error("too many connections")]
    ConnectionsFull,
    /// A second connection of a pair of nodes; the other one stays.
    #[error("second connection of the same pair")]
    Duplicate,
    /// The member left the plan.
    #[error("no longer a member")]
    NotMember,
    /// A frame announced more bytes than allowed.
    #[error("frame too large")]
    FrameTooLarge,
    /// A frame of zero bytes.
    #[error("empty frame")]
    FrameEmpty,
    /// A stream ended inside a frame.
    #[error("truncated frame")]
    FrameTruncated,
    /// A stream of a class that does not exist.
    #[error("unknown stream class")]
    UnknownClass,
    /// A second stream of one class at a time.
    #[error("second stream of one class")]
    StreamTwice,
}

impl TransportRefusal {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::UnknownKey,
        Self::WrongProtocol,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::HandshakesFull,
        Self::AddressRate,
        Self::AddressConnections,
        Self::ConnectionsFull,
        Self::Duplicate,
        Self::NotMember,
        Self::FrameTooLarge,
        Self::FrameEmpty,
        Self::FrameTruncated,
        Self::UnknownClass,
        Self::StreamTwice,
    ];

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code the other side sees when its connection or stream is closed for this.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Duplicate => CloseCode::DUPLICATE,
            Self::UnknownKey | Self::NotMember => CloseCode::NOT_MEMBER,
            Self::FrameTooLarge => CloseCode::FRAME_TOO_LARGE,
            Self::FrameEmpty => CloseCode::FRAME_EMPTY,
            Self::FrameTruncated => CloseCode::FRAME_TRUNCATED,
            Self::UnknownClass | Self::StreamTwice => CloseCode::BAD_STREAM,
            Self::WrongProtocol | Self::Handshake | Self::HandshakeTimeout => CloseCode::BAD_STREAM,
            Self::HandshakesFull | Self::AddressRate | Self::AddressConnections | Self::ConnectionsFull => {
                CloseCode::LIMIT
            }
        }
    }
}

/// An application error code on the wire (docs/PROTOCOL.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// Nothing is wrong: the stream or connection is no longer needed.
    pub const DONE: Self = Self(0);
    /// The node is stopping.
    pub const SHUTDOWN: Self = Self(1);
    /// Another connection of the same pair of nodes stays.
    pub const DUPLICATE: Self = Self(2);
    /// The key is not, or no longer, a member's.
    pub const NOT_MEMBER: Self = Self(3);
    /// A frame announced more bytes than allowed.
    pub const FRAME_TOO_LARGE: Self = Self(4);
    /// A frame of zero bytes.
    pub const FRAME_EMPTY: Self = Self(5);
    /// A stream ended inside a frame.
    pub const FRAME_TRUNCATED: Self = Self(6);
    /// A stream of an unknown class, or a second one of its class.
    pub const BAD_STREAM: Self = Self(7);
    /// A limit on connections was met.
    pub const LIMIT: Self = Self(8);

    pub(crate) fn varint(self) -> quinn::VarInt {
        quinn::VarInt::from_u32(self.0)
    }
}

/// How often each kind was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefusalCounts([u64; TransportRefusal::ALL.len()]);

impl RefusalCounts {
    /// The count of one kind.
    pub fn get(&self, what: TransportRefusal) -> u64 {
        self.0[what.index()]
    }
    /// All kinds with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (TransportRefusal, u64)> + '_ {
        TransportRefusal::ALL.into_iter().zip(self.0)
    }
}

/// Counts refusals from many tasks.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounters([AtomicU64; TransportRefusal::ALL.len()]);

impl RefusalCounters {
    pub(crate) fn add(&self, what: TransportRefusal) {
        self.0[what.index()].fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn snapshot(&self) -> RefusalCounts {
        RefusalCounts(std::array::from_fn(|kind| self.0[kind].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_place() {
        for (place, kind) in TransportRefusal::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
        let counters = RefusalCounters::default();
        counters.add(TransportRefusal::StreamTwice);
        counters.add(TransportRefusal::StreamTwice);
        assert_eq!(counters.snapshot().get(TransportRefusal::StreamTwice), 2);
        assert_eq!(counters.snapshot().iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}
