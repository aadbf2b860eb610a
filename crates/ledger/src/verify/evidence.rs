//! Statements members sign beside headers (balances, checkpoints), and proofs that members are faulty.

use shardpay_crypto::{balance_message, block_body_hash, block_digest, block_message, checkpoint_message, header_hash};
use shardpay_types::{
    AccountState, BalanceStatement, Block, BlockDigest, CertifiedBalance, CertifiedCheckpoint, Codec, Epoch,
    EquivocationProof, ForkProof, Height, MemberIndex, PublicKey, Round,
};

use super::{EpochKeys, ProofError, quorum_of};

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceQuery {
    /// The account.
    pub key: PublicKey,
    /// Drawn by the client for this question.
    pub nonce: [u8; 16],
}

/// Checks an answer about a balance: f + 1 members of the newest epoch, one of them honest, say so.
pub fn verify_balance(
    keys: &EpochKeys,
    query: &BalanceQuery,
    certified: &CertifiedBalance,
) -> Result<(Height, AccountState), ProofError> {
    let BalanceStatement { chain, committee, epoch, height, key, balance, next_sequence, nonce } = certified.statement;
    if chain != keys.chain {
        return Err(ProofError::WrongChain);
    }
    if committee != keys.committee {
        return Err(ProofError::WrongCommittee);
    }
    if keys.holder(&key) != keys.committee {
        return Err(ProofError::WrongShard);
    }
    if (key, nonce) != (query.key, query.nonce) {
        return Err(ProofError::WrongQuestion);
    }
    let known = keys.known(epoch)?;
    if known.closing.is_some() {
        return Err(ProofError::RetiredEpoch);
    }
    let size = known.members.len();
    let needed = size - quorum_of(size) + 1;
    keys.signed_by(needed, epoch, &balance_message(&certified.statement), &certified.certificate)?;
    Ok((height, AccountState { balance, next_sequence }))
}

/// Checks a checkpoint: Q members of its epoch; of a closed epoch, at its closing header.
pub fn verify_checkpoint(keys: &EpochKeys, certified: &CertifiedCheckpoint) -> Result<(), ProofError> {
    let checkpoint = &certified.checkpoint;
    if checkpoint.chain != keys.chain {
        return Err(ProofError::WrongChain);
    }
    if checkpoint.committee != keys.committee {
        return Err(ProofError::WrongCommittee);
    }
    let known = keys.known(checkpoint.epoch)?;
    if known.closing.is_some_and(|closing| closing != checkpoint.header) {
        return Err(ProofError::RetiredEpoch);
    }
    let needed = quorum_of(known.members.len());
    keys.signed_by(needed, checkpoint.epoch, &checkpoint_message(checkpoint), &certified.certificate)
}

/// Checks that two different headers of one height are certified: more than f members are faulty.
pub fn verify_fork_proof(keys: &EpochKeys, proof: &ForkProof) -> Result<Height, ProofError> {
    let (first, second) = (&proof.first.header, &proof.second.header);
    if first.height != second.height || header_hash(first) == header_hash(second) {
        return Err(ProofError::NoContradiction);
    }
    keys.quorum_signed(&proof.first)?;
    keys.quorum_signed(&proof.second)?;
    Ok(first.height)
}

/// Checks that one member signed two blocks for one slot.
pub fn verify_equivocation(
    keys: &EpochKeys,
    proof: &EquivocationProof,
) -> Result<(Epoch, Round, MemberIndex), ProofError> {
    let slot = |block: &Block| (block.epoch, block.round, block.author);
    if slot(&proof.first) != slot(&proof.second) {
        return Err(ProofError::NoContradiction);
    }
    let first = signed_block(keys, &proof.first)?;
    let second = signed_block(keys, &proof.second)?;
    if first == second { Err(ProofError::NoContradiction) } else { Ok(slot(&proof.first)) }
}

fn signed_block(keys: &EpochKeys, block: &Block) -> Result<BlockDigest, ProofError> {
    if block.chain != keys.chain {
        return Err(ProofError::WrongChain);
    }
    if block.committee != keys.committee {
        return Err(ProofError::WrongCommittee);
    }
    let members = &keys.known(block.epoch)?.members;
    let body = block_body_hash(&block.to_bytes());
    let message = block_message(&keys.chain, &body);
    let good = members.get(block.author.index()).is_some_and(|key| keys.scheme.verify(key, &message, &block.signature));
    if !good {
        return Err(ProofError::TooFewSignatures { valid: 0, needed: 1 });
    }
    Ok(block_digest(&body, &block.signature))
}
