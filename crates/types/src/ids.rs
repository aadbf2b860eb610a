//! Identifiers and counters: one newtype per idea, so that a round cannot be taken for a height.
//!
//! Counters are bounded by [`COUNTER_MAX`] when decoded, so adding small constants to a peer's
//! number cannot overflow; the arithmetic offered here saturates at that bound, which no honest
//! run reaches.

use std::fmt;

use crate::codec::{Codec, DecodeError, Reader};

/// Largest value of any counter and timestamp (2^62): far beyond use, far below overflow.
pub const COUNTER_MAX: u64 = 1 << 62;
/// Number of shards: fixed slices of the account space (DESIGN §1).
pub const SHARDS: u16 = 4096;
/// Most members a committee can have; member sets fit a `u64`.
pub const MEMBERS_MAX: usize = 64;
/// Most committees a plan can have.
pub const COMMITTEES_MAX: usize = 1024;

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// The first value.
            pub const ZERO: Self = Self(0);

            /// A counter of that value; values above [`COUNTER_MAX`] become `COUNTER_MAX`.
            pub const fn new(value: u64) -> Self {
                Self(if value > COUNTER_MAX { COUNTER_MAX } else { value })
            }
            /// The number itself.
            pub const fn get(self) -> u64 {
                self.0
            }
            /// The next value; stays at [`COUNTER_MAX`].
            pub const fn next(self) -> Self {
                self.plus(1)
            }
            /// The value before; stays at zero.
            pub const fn previous(self) -> Self {
                self.minus(1)
            }
            /// `n` further; stays at [`COUNTER_MAX`].
            pub const fn plus(self, n: u64) -> Self {
                Self::new(self.0.saturating_add(n))
            }
            /// `n` back; stays at zero.
            pub const fn minus(self, n: u64) -> Self {
                Self(self.0.saturating_sub(n))
            }
            /// How far `self` is beyond `earlier`; zero when it is not.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl Codec for $name {
            const MIN_LEN: usize = 8;
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = u64::decode(reader)?;
                if value > COUNTER_MAX {
                    return Err(DecodeError::OutOfRange { what: stringify!($name), value, max: COUNTER_MAX });
                }
                Ok(Self(value))
            }
        }
    )*};
}

counters! {
    /// A layer of the DAG; 0 is the virtual genesis layer, blocks start at 1.
    Round,
    /// Number of a ledger block in its committee; 0 means "none yet", blocks start at 1.
    Height,
    /// A period with one fixed plan; genesis is epoch 0.
    Epoch,
    /// Position of a transaction among its sender's; an account starts at 0.
    Sequence,
}

macro_rules! indices {
    ($($(#[$meta:meta])* $name:ident($int:ty) < $bound:expr),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($int);

        impl $name {
            /// The index `value`; `None` when it is out of bounds.
            pub fn new(value: usize) -> Option<Self> {
                if value < $bound as usize { <$int>::try_from(value).ok().map(Self) } else { None }
            }
            /// The index `value`, which the caller knows to be in bounds.
            ///
            /// # Panics
            /// When it is not: a bug of the caller.
            pub fn at(value: usize) -> Self {
                Self::new(value).expect(concat!(stringify!($name), " in bounds"))
            }
            /// The index as a `usize`, for array access.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl Codec for $name {
            const MIN_LEN: usize = size_of::<$int>();
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let value = <$int>::decode(reader)?;
                Self::new(value as usize).ok_or(DecodeError::OutOfRange {
                    what: stringify!($name),
                    value: u64::from(value),
                    max: $bound as u64 - 1,
                })
            }
        }
    )*};
}

indices! {
    /// Position of a node in its committee's member list.
    MemberIndex(u8) < MEMBERS_MAX,
    /// A committee of the plan.
    CommitteeId(u16) < COMMITTEES_MAX,
    /// One of the 4,096 fixed slices of the account space.
    ShardId(u16) < SHARDS,
}

/// A set of members of one committee.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct MemberSet(u64);

impl MemberSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Adds `member`; true when it was not there yet.
    pub fn insert(&mut self, member: MemberIndex) -> bool {
        let bit = 1u64 << member.index();
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }
    /// Takes `member` out.
    pub fn remove(&mut self, member: MemberIndex) {
        self.0 &= !(1u64 << member.index());
    }
    /// Whether `member` is in the set.
    pub const fn contains(self, member: MemberIndex) -> bool {
        self.0 & (1u64 << member.index()) != 0
    }
    /// The number of members in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }
    /// Whether nobody is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = MemberIndex> {
        (0..MEMBERS_MAX).map(MemberIndex::at).filter(move |member| self.contains(*member))
    }
}

impl fmt::Debug for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<MemberIndex> for MemberSet {
    fn from_iter<I: IntoIterator<Item = MemberIndex>>(members: I) -> Self {
        let mut set = Self::EMPTY;
        for member in members {
            set.insert(member);
        }
        set
    }
}

macro_rules! byte_strings {
    ($($(#[$meta:meta])* $name:ident[$len:literal]),* $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All bytes zero: "none", or the start of a chain.
            pub const ZERO: Self = Self([0; $len]);

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl Codec for $name {
            const MIN_LEN: usize = $len;
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }
    )*};
}

byte_strings! {
    /// An ed25519 public key as it is encoded; also the name of an account.
    PublicKey[32],
    /// An ed25519 signature (R ‖ s).
    Signature[64],
    /// A SHA-256 hash with no more specific name (Merkle roots, effects).
    Hash[32],
    /// SHA-256 over a transaction's signed bytes, never over its signature.
    TxId[32],
    /// SHA-256 over a whole DAG block, signature included.
    BlockDigest[32],
    /// SHA-256 over a ledger-block header.
    HeaderHash[32],
    /// SHA-256 over a plan.
    PlanHash[32],
    /// The genesis plan's hash: names the ledger in every signature.
    ChainId[32],
    /// The deposit a mint is made against; one mint per reference in the whole ledger.
    DepositRef[32],
    /// Commitment to the bank details a redeem pays out to.
    PayoutRef[32],
    /// The payer's note to the payee.
    Reference[16],
}
