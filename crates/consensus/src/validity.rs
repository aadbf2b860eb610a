//! When a block is valid: the part of consensus that every node must decide alike.
//!
//! Guarantees: the verdict depends on the block's bytes and the epoch's [`Context`] only; no clock, no
//! balance, no other committee's key. Two honest nodes never split over a block, so one that an honest
//! node built on can be accepted by every other. Any byte string gives a verdict, never a panic.
//!
//! A block's parents stand in one order only: the author's own previous block, then one block per other
//! author by ascending author. At least a quorum of them lies in the round before. Round 0 is virtual:
//! every author has one block there, whose digest follows from the context ([`genesis_ref`]); blocks of
//! round 1 stand on it, and an author whose first block comes later names its own virtual block as the
//! previous one.
//!
//! What a valid block *says* (balances, sequences, packs, plans) is judged when it is executed.

use std::sync::Arc;

use shardpay_crypto::{
    SealedBlock, SignatureScheme, SignedItem, Verified, VerifiedCache, sha256, transaction_fingerprint,
    transaction_message_into,
};
use shardpay_types::{
    Block, BlockDigest, BlockRef, ChainId, DecodeError, Hash, MemberIndex, MemberSet, PublicKey, RawBlock, Round,
    Transaction,
};

use crate::api::Context;

/// Opens what a virtual block's digest is the hash of.
const GENESIS_TAG: &[u8] = b"shardpay/dag-genesis/v1\0";

/// Names a transaction with its signature in the cache of verified ones.
pub type Fingerprint = fn(&ChainId, &Transaction) -> Hash;

/// What blocks are checked with.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// Checks signatures and keys.
    pub scheme: &'a dyn SignatureScheme,
    /// Transactions verified before are not verified again.
    pub cache: Option<&'a VerifiedCache>,
    /// [`transaction_fingerprint`]; a field only so that the simulator can plant the bug "cache keyed
    /// by txid".
    pub fingerprint: Fingerprint,
    /// Parents that a block needs in the round before: [`crate::Rules::quorum`].
    pub quorum: usize,
}

impl<'a> Verifier<'a> {
    /// The sound rules for `context`.
    pub fn sound(context: &Context, scheme: &'a dyn SignatureScheme, cache: Option<&'a VerifiedCache>) -> Self {
        Self { scheme, cache, fingerprint: transaction_fingerprint, quorum: context.members.quorum() }
    }
}

/// Why a block is not valid. One variant per rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockReject {
    /// Not the canonical encoding of a block, or above a size or count bound.
    #[error("not a block: {0}")]
    Decode(#[from] DecodeError),
    /// Of another ledger.
    #[error("wrong chain")]
    WrongChain,
    /// Of another epoch.
    #[error("wrong epoch")]
    WrongEpoch,
    /// Of another committee.
    #[error("wrong committee")]
    WrongCommittee,
    /// Its author is no member.
    #[error("unknown author")]
    UnknownAuthor,
    /// Round 0 is virtual.
    #[error("round zero")]
    RoundZero,
    /// The parents are not in their one order, or not below the block.
    #[error("parents: {0}")]
    BadParents(ParentFault),
    /// Fewer than a quorum of authors in the round before.
    #[error("{found} parents in the round before")]
    TooFewParents {
        /// How many there are.
        found: usize,
    },
    /// Two packs of one source.
    #[error("two packs of one source")]
    PackSourceTwice,
    /// An opaque payload, or one so long, that the genesis plan does not allow.
    #[error("opaque payload not allowed")]
    OpaqueRefused,
    /// Not signed by its author.
    #[error("signature does not verify")]
    BadSignature,
    /// A transaction's signature or keys are bad.
    #[error("transaction {index} does not verify")]
    BadTransaction {
        /// Which.
        index: usize,
    },
}

/// What is wrong with a block's parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParentFault {
    /// The first parent must be the author's own previous block.
    #[error("the first is not the author's own")]
    OwnNotFirst,
    /// The others must stand by ascending author, one each, not the block's author again.
    #[error("not one per author, ascending")]
    NotAscending,
    /// A parent's author is no member.
    #[error("unknown author")]
    UnknownAuthor,
    /// A parent's round must be below the block's.
    #[error("not below the block")]
    NotBelow,
    /// A virtual parent where none may be, or with a digest that is not the context's.
    #[error("not a virtual block of this epoch")]
    BadGenesis,
}

/// The virtual block of `author` in round 0.
pub fn genesis_ref(context: &Context, author: MemberIndex) -> BlockRef {
    let epoch = context.epoch.get().to_le_bytes();
    let committee = context.committee.index().to_le_bytes();
    let author_byte = author.index().to_le_bytes();
    let digest = sha256(&[GENESIS_TAG, context.chain.as_bytes(), &epoch, &committee, &author_byte]);
    BlockRef { round: Round::ZERO, author, digest: BlockDigest(digest) }
}

/// Blocks up to that many transactions are verified in one batch with them.
const SMALL_BLOCK_TRANSACTIONS: usize = 64;

/// Everything about a block but its signatures.
pub fn check_structure(context: &Context, quorum: usize, block: &SealedBlock) -> Result<(), BlockReject> {
    let body = block.block();
    if body.chain != context.chain {
        return Err(BlockReject::WrongChain);
    }
    if body.epoch != context.epoch {
        return Err(BlockReject::WrongEpoch);
    }
    if body.committee != context.committee {
        return Err(BlockReject::WrongCommittee);
    }
    if body.author.index() >= context.members.size() {
        return Err(BlockReject::UnknownAuthor);
    }
    if body.round == Round::ZERO {
        return Err(BlockReject::RoundZero);
    }
    check_parents(context, body).map_err(BlockReject::BadParents)?;
    let before = body.round.previous();
    let found = body.parents.iter().filter(|parent| parent.round == before).count();
    if found < quorum {
        return Err(BlockReject::TooFewParents { found });
    }
    let mut sources = std::collections::BTreeSet::new();
    if !body.payload.packs.iter().all(|pack| sources.insert(pack.source)) {
        return Err(BlockReject::PackSourceTwice);
    }
    if !body.payload.opaque.iter().all(|payload| payload.fits(context.opaque_bytes_max)) {
        return Err(BlockReject::OpaqueRefused);
    }
    Ok(())
}

fn check_parents(context: &Context, block: &Block) -> Result<(), ParentFault> {
    let own = block.parents.first().ok_or(ParentFault::OwnNotFirst)?;
    if own.author != block.author {
        return Err(ParentFault::OwnNotFirst);
    }
    let mut authors = MemberSet::from_iter([own.author]);
    let mut last = None;
    for parent in &block.parents[1..] {
        if !authors.insert(parent.author) || last >= Some(parent.author) {
            return Err(ParentFault::NotAscending);
        }
        last = Some(parent.author);
    }
    for parent in &block.parents {
        if parent.author.index() >= context.members.size() {
            return Err(ParentFault::UnknownAuthor);
        }
        if parent.round >= block.round {
            return Err(ParentFault::NotBelow);
        }
        // Virtual blocks: all parents of round 1, else at most the author's own.
        if parent.round == Round::ZERO {
            let allowed = block.round == Round::new(1) || parent.author == block.author;
            if !allowed || *parent != genesis_ref(context, parent.author) {
                return Err(ParentFault::BadGenesis);
            }
        }
    }
    Ok(())
}

/// Whether every transaction is signed by its sender (its issuer, for a mint) and names acceptable
/// keys. The recipient's key counts too: the payer's committee checks it before the debit. The error is
/// the index of the first bad one.
pub fn verify_transactions(
    chain: &ChainId,
    issuer: &PublicKey,
    verifier: &Verifier<'_>,
    transactions: &[Transaction],
) -> Result<(), usize> {
    let place = (chain, issuer);
    verify_signatures(place, verifier, None, transactions).map_err(|fault| match fault {
        SignatureFault::Transaction(index) => index,
        SignatureFault::Block => unreachable!("no block was given"),
    })
}

enum SignatureFault {
    Block,
    Transaction(usize),
}

/// One batch: the signature of a block, if given, and those of its transactions.
fn verify_signatures(
    (chain, issuer): (&ChainId, &PublicKey),
    verifier: &Verifier<'_>,
    block: Option<SignedItem<'_>>,
    transactions: &[Transaction],
) -> Result<(), SignatureFault> {
    let unseen = |transaction: &Transaction| {
        verifier.cache.is_none_or(|cache| !cache.contains(&(verifier.fingerprint)(chain, transaction)))
    };
    let mut bytes = Vec::new();
    let mut unverified = Vec::new();
    for (index, transaction) in transactions.iter().enumerate().filter(|(_, transaction)| unseen(transaction)) {
        let start = bytes.len();
        transaction_message_into(chain, transaction, &mut bytes);
        unverified.push((index, start..bytes.len()));
    }
    let signer = |transaction: &Transaction| transaction.debit().map_or(*issuer, |(sender, _)| sender);
    let signed = unverified.iter().map(|(index, range)| SignedItem {
        key: signer(&transactions[*index]),
        message: &bytes[range.clone()],
        signature: *transactions[*index].signature(),
    });
    let items: Vec<SignedItem<'_>> = block.into_iter().chain(signed).collect();
    // A good signature implies an acceptable signing key (the scheme's contract).
    let mut verdicts = verifier.scheme.verify_batch(&items).into_iter();
    if block.is_some() && verdicts.next() != Some(true) {
        return Err(SignatureFault::Block);
    }
    let recipient_good = |index: usize| {
        transactions[index].recipient().is_none_or(|recipient| verifier.scheme.key_acceptable(&recipient))
    };
    let bad = unverified.iter().zip(verdicts).find(|((index, _), good)| !good || !recipient_good(*index));
    bad.map_or(Ok(()), |((index, _), _)| Err(SignatureFault::Transaction(*index)))
}

/// Decodes and checks a block that came off the wire, cheapest rules first.
pub fn validate(
    context: &Context,
    verifier: &Verifier<'_>,
    raw: RawBlock,
) -> Result<Verified<Arc<SealedBlock>>, BlockReject> {
    let block = SealedBlock::decode(raw)?;
    check_structure(context, verifier.quorum, &block)?;
    let author = context.members.key(block.block().author).ok_or(BlockReject::UnknownAuthor)?;
    let transactions = &block.block().payload.transactions;
    let place = (&context.chain, &context.issuer);
    // A small block is one batch with its transactions: cheaper than one alone. A large one with a bad
    // author's signature must not cost a large batch.
    let message = block.signed_message();
    let together = transactions.len() <= SMALL_BLOCK_TRANSACTIONS;
    if !together && !verifier.scheme.verify(author, &message, &block.block().signature) {
        return Err(BlockReject::BadSignature);
    }
    let signed = SignedItem { key: *author, message: &message, signature: block.block().signature };
    verify_signatures(place, verifier, together.then_some(signed), transactions).map_err(|fault| match fault {
        SignatureFault::Block => BlockReject::BadSignature,
        SignatureFault::Transaction(index) => BlockReject::BadTransaction { index },
    })?;
    Ok(Verified::trust(Arc::new(block)))
}
