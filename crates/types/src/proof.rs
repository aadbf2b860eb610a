//! Merkle proofs on the wire (RFC 9162); `shardpay-crypto` makes and checks them.

use crate::codec::List;
use crate::ids::Hash;
use crate::wire_struct;

wire_struct! {
    /// That a leaf stands at `index` in a tree of `count` leaves.
    pub struct MerklePath {
        /// Position of the leaf.
        pub index: u64,
        /// Number of leaves of the tree; decides the length of the path.
        pub count: u64,
        /// Sibling hashes from the leaf up.
        pub siblings: List<Hash, 64>,
    }

    /// That a tree is a prefix of a later one of the same log (RFC 9162 §2.1.4).
    pub struct ConsistencyProof {
        /// Hashes in the order of the RFC.
        pub hashes: List<Hash, 130>,
    }
}
