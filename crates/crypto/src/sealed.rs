//! Blocks with their digest and original bytes, transactions with their id, and what a commit hands on.
//!
//! Guarantees: a [`SealedBlock`]'s reference and bytes belong to its block. A block is encoded once, by
//! its author (or when first decoded), and forwarded as those bytes.
//!
//! The signature of a block covers the SHA-256 of its encoding without the signature; the digest
//! covers that hash and the signature, so hashing half a megabyte happens once.

use std::sync::Arc;

use shardpay_types::{
    BLOCK_BYTES_MAX, Block, BlockRef, ChainId, Codec, DecodeError, Opaque, RawBlock, Signature, Timestamp, Transaction,
    TxId,
};

use crate::ids::{block_body_hash, block_digest, block_message, opaque_id, txid};
use crate::message::ShortMessage;
use crate::scheme::{SignatureScheme, Signer};

/// A DAG block, its reference and the bytes it came in.
#[derive(Debug, PartialEq, Eq)]
pub struct SealedBlock {
    block: Block,
    reference: BlockRef,
    body_hash: [u8; 32],
    raw: RawBlock,
}

impl SealedBlock {
    /// Signs `block` (whose signature field is ignored) and seals it.
    ///
    /// # Panics
    /// When the encoding is longer than [`BLOCK_BYTES_MAX`]: the author bounds its payload.
    pub fn sign(mut block: Block, signer: &dyn Signer) -> Arc<Self> {
        block.signature = Signature::ZERO;
        let bytes = block.to_bytes();
        let body_hash = block_body_hash(&bytes);
        block.signature = signer.sign(&block_message(&block.chain, &body_hash));
        let mut bytes = bytes;
        let body = bytes.len() - Signature::MIN_LEN;
        bytes[body..].copy_from_slice(&block.signature.0);
        assert!(bytes.len() <= BLOCK_BYTES_MAX, "own block of {} bytes", bytes.len());
        Arc::new(Self::assemble(block, body_hash, RawBlock(bytes.into())))
    }

    /// Decodes a block from the bytes it was sent as. Its signature is not checked yet.
    pub fn decode(raw: RawBlock) -> Result<Self, DecodeError> {
        if raw.0.len() > BLOCK_BYTES_MAX {
            let (value, max) = (raw.0.len() as u64, BLOCK_BYTES_MAX as u64);
            return Err(DecodeError::OutOfRange { what: "block", value, max });
        }
        let block = Block::from_bytes(&raw.0)?;
        let hash = block_body_hash(&raw.0);
        Ok(Self::assemble(block, hash, raw))
    }

    fn assemble(block: Block, body_hash: [u8; 32], raw: RawBlock) -> Self {
        let digest = block_digest(&body_hash, &block.signature);
        let reference = BlockRef { round: block.round, author: block.author, digest };
        Self { block, reference, body_hash, raw }
    }

    /// The block.
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// Its slot and digest.
    pub const fn reference(&self) -> BlockRef {
        self.reference
    }

    /// The bytes it came in.
    pub const fn raw(&self) -> &RawBlock {
        &self.raw
    }

    /// The bytes the author's signature covers.
    pub fn signed_message(&self) -> ShortMessage {
        block_message(&self.block.chain, &self.body_hash)
    }

    /// Whether `key` signed the block.
    pub fn signed_by(&self, key: &shardpay_types::PublicKey, scheme: &dyn SignatureScheme) -> bool {
        scheme.verify(key, &self.signed_message(), &self.block.signature)
    }
}

/// A transaction with its id, computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifiedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// SHA-256 over its signed bytes.
    pub txid: TxId,
}

impl IdentifiedTransaction {
    /// Computes the id of `transaction` on `chain`.
    pub fn new(chain: &ChainId, transaction: Transaction) -> Self {
        Self { transaction, txid: txid(chain, &transaction) }
    }
}

/// An opaque payload with its id, computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedOpaque {
    /// The payload.
    pub payload: Opaque,
    /// See [`opaque_id`].
    pub txid: TxId,
}

impl IdentifiedOpaque {
    /// Computes the id of `payload` on `chain`.
    pub fn new(chain: &ChainId, payload: Opaque) -> Self {
        let txid = opaque_id(chain, &payload);
        Self { payload, txid }
    }
}

/// A committed leader with everything it commits: what consensus orders and the ledger executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The committed leader.
    pub anchor: BlockRef,
    /// Lower median of the timestamps of the leader's parents at round − 1.
    pub median_time: Timestamp,
    /// All leaders committed in (anchor − gc depth, anchor], ascending, this one included.
    pub leaders: Vec<BlockRef>,
    /// The leader's uncommitted ancestors and itself by (round, author, digest).
    pub blocks: Vec<Arc<SealedBlock>>,
}
