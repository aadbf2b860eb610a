//! One test per rule of validity.

mod common;

use std::sync::Arc;

use common::build::{context, payload, tags};
use common::keys::{TestKey, TestScheme};
use common::{Builder, member, round};
use proptest::prelude::*;
use shardpay_consensus::{
    BlockReject, Context, ParentFault, Verifier, check_structure, genesis_ref, validate, verify_transactions,
};
use shardpay_crypto::{SealedBlock, VerifiedCache, transaction_fingerprint};
use shardpay_types::{
    Block, BlockDigest, BlockRef, ChainId, CommitteeId, DecodeError, Epoch, MemberIndex, Opaque, Payload, PublicKey,
    RawBlock, Signature, Transaction,
};

/// Author 1's block of round 3 on everybody's round 2, changed and signed again.
fn changed(change: impl FnOnce(&mut Block)) -> Result<(), BlockReject> {
    let mut builder = Builder::new(4);
    builder.full(1..=2);
    let parents: Vec<BlockRef> = (0..4).map(|author| builder.at(2, author)).collect();
    let mut block = builder.unsealed(1, 3, &parents, payload(1));
    change(&mut block);
    judge(&builder.context, SealedBlock::sign(block, &TestKey::new("member", 1)).raw().clone())
}

fn judge(context: &Context, raw: RawBlock) -> Result<(), BlockReject> {
    validate(context, &Verifier::sound(context, &TestScheme, None), raw).map(|_| ())
}

fn with_parents(change: impl FnOnce(&mut Vec<BlockRef>)) -> Result<(), BlockReject> {
    changed(|block| {
        let mut parents = block.parents.to_vec();
        change(&mut parents);
        block.parents = shardpay_types::List::bounded(parents);
    })
}

#[test]
fn a_good_block_is_valid() {
    assert_eq!(changed(|_| ()), Ok(()));
    assert_eq!(with_parents(|parents| parents.truncate(3)), Ok(()), "three of four are a quorum");
    // The own previous block may be older when a quorum of others stands one round below.
    let mut old = Builder::new(4);
    old.full(1..=1);
    let older = old.at(1, 1);
    assert_eq!(with_parents(|parents| parents[0] = older), Ok(()));
    let genesis = old.genesis(1);
    assert_eq!(with_parents(|parents| parents[0] = genesis), Ok(()));
}

#[test]
fn of_this_ledger_epoch_and_committee() {
    assert_eq!(changed(|block| block.chain = ChainId([1; 32])), Err(BlockReject::WrongChain));
    assert_eq!(changed(|block| block.epoch = Epoch::new(1)), Err(BlockReject::WrongEpoch));
    assert_eq!(changed(|block| block.committee = CommitteeId::at(1)), Err(BlockReject::WrongCommittee));
}

#[test]
fn by_a_member_in_a_real_round() {
    assert_eq!(changed(|block| block.author = member(4)), Err(BlockReject::UnknownAuthor));
    assert_eq!(changed(|block| block.round = round(0)), Err(BlockReject::RoundZero));
}

#[test]
fn parents_stand_in_one_order() {
    use ParentFault::*;
    let bad = |fault| Err(BlockReject::BadParents(fault));
    assert_eq!(with_parents(Vec::clear), bad(OwnNotFirst));
    assert_eq!(with_parents(|parents| parents.swap(0, 1)), bad(OwnNotFirst));
    assert_eq!(with_parents(|parents| parents.swap(1, 2)), bad(NotAscending));
    assert_eq!(with_parents(|parents| parents[2] = parents[1]), bad(NotAscending));
    assert_eq!(with_parents(|parents| parents[1] = parents[0]), bad(NotAscending));
    assert_eq!(with_parents(|parents| parents[3].author = member(9)), bad(UnknownAuthor));
    assert_eq!(with_parents(|parents| parents[3].round = round(3)), bad(NotBelow));
    assert_eq!(with_parents(|parents| parents[3].round = round(1 << 40)), bad(NotBelow));
}

#[test]
fn virtual_parents_only_where_they_belong() {
    let bad = Err(BlockReject::BadParents(ParentFault::BadGenesis));
    let builder = Builder::new(4);
    let foreign = builder.genesis(3);
    assert_eq!(with_parents(|parents| parents[3] = foreign), bad);
    assert_eq!(with_parents(|parents| parents[0] = BlockRef { round: round(0), ..parents[0] }), bad);
    let first =
        |parents: &[BlockRef]| judge(&builder.context, builder.sealed(1, 1, parents, Payload::default()).raw().clone());
    let all: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
    assert_eq!(first(&all), Ok(()));
    assert_eq!(first(&all[..3]), Ok(()));
    assert_eq!(first(&all[..2]), Err(BlockReject::TooFewParents { found: 2 }));
    let mut wrong = all.clone();
    wrong[2].digest = BlockDigest([1; 32]);
    assert_eq!(first(&wrong), bad);
    // Each epoch, committee and author has its own virtual blocks.
    let other = Context { epoch: Epoch::new(1), ..(*builder.context).clone() };
    assert_ne!(genesis_ref(&other, member(0)), builder.genesis(0));
    assert_ne!(builder.genesis(0).digest, builder.genesis(1).digest);
}

#[test]
fn opaque_payloads_only_as_long_as_genesis_says() {
    let carrying = |lens: &[usize]| {
        let payloads = lens.iter().map(|len| Opaque(vec![1; *len].into()));
        let opaque = shardpay_types::List::bounded(payloads.collect());
        Payload { opaque, ..payload(1) }
    };
    for (allowed, lens, expected) in [
        (0, &[][..], Ok(())),
        (0, &[0], Err(BlockReject::OpaqueRefused)),
        (0, &[512], Err(BlockReject::OpaqueRefused)),
        (512, &[512, 1, 0], Ok(())),
        (512, &[1, 513], Err(BlockReject::OpaqueRefused)),
    ] {
        let mut builder = Builder::new(4);
        builder.context = Arc::new(Context { opaque_bytes_max: allowed, ..(*builder.context).clone() });
        let all: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
        let block = builder.sealed(1, 1, &all, carrying(lens));
        assert_eq!(judge(&builder.context, block.raw().clone()), expected, "{lens:?} of {allowed}");
    }
}

#[test]
fn a_quorum_of_the_round_before() {
    assert_eq!(with_parents(|parents| parents.truncate(2)), Err(BlockReject::TooFewParents { found: 2 }));
    let old = with_parents(|parents| parents[1..3].iter_mut().for_each(|parent| parent.round = round(1)));
    assert_eq!(old, Err(BlockReject::TooFewParents { found: 2 }));
    for members in [1, 4, 5, 6, 7, 64] {
        let (_, quorum) = common::faults_and_quorum(members);
        let builder = Builder::new(members);
        for count in 1..=members {
            let parents: Vec<BlockRef> = (0..count).map(|author| builder.genesis(author)).collect();
            let block = builder.sealed(0, 1, &parents, Payload::default());
            let expected = if count >= quorum { Ok(()) } else { Err(BlockReject::TooFewParents { found: count }) };
            assert_eq!(check_structure(&builder.context, quorum, &block), expected);
            assert_eq!(judge(&builder.context, block.raw().clone()), expected);
        }
    }
}

#[test]
fn signed_by_the_author_over_everything() {
    assert_eq!(changed(|block| block.author = member(2)), Err(BlockReject::BadParents(ParentFault::OwnNotFirst)));
    let builder = Builder::new(4);
    let all: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
    let good = builder.sealed(1, 1, &all, payload(1)).raw().0.to_vec();
    // Each single bit matters.
    for index in 0..good.len() {
        let mut bytes = good.clone();
        bytes[index] ^= 1 << (index % 8);
        assert!(judge(&builder.context, RawBlock(bytes.into())).is_err(), "byte {index}");
    }
    let forged = SealedBlock::sign(builder.unsealed(1, 1, &all, payload(1)), &TestKey::new("member", 2));
    assert_eq!(judge(&builder.context, forged.raw().clone()), Err(BlockReject::BadSignature));
}

#[test]
fn one_pack_per_source() {
    // Packs are large; decoding bounds their number, this rule their sources.
    let reject = BlockReject::PackSourceTwice;
    assert_eq!(reject.to_string(), "two packs of one source");
    let twice = common::build::pack(CommitteeId::at(3));
    let packs = |list: Vec<_>| changed(|block| block.payload.packs = shardpay_types::List::bounded(list));
    assert_eq!(packs(vec![twice.clone(), twice.clone()]), Err(reject));
    assert_eq!(packs(vec![twice, common::build::pack(CommitteeId::at(4))]), Ok(()));
}

fn transactions(change: impl FnOnce(&mut Vec<Transaction>)) -> Result<(), usize> {
    let mut list: Vec<Transaction> = (0..5).flat_map(|tag| payload(tag).transactions.into_vec()).collect();
    change(&mut list);
    let context = context(4);
    verify_transactions(&context.chain, &context.issuer, &Verifier::sound(&context, &TestScheme, None), &list)
}

fn mint(transaction: &mut Transaction) -> &mut shardpay_types::SignedMint {
    let Transaction::Mint(mint) = transaction else { unreachable!("tests mint only") };
    mint
}

#[test]
fn transactions_are_signed_and_name_good_keys() {
    assert_eq!(transactions(|_| ()), Ok(()));
    assert_eq!(transactions(|list| mint(&mut list[3]).signature = Signature::ZERO), Err(3));
    assert_eq!(transactions(|list| (1..4).for_each(|i| mint(&mut list[i]).signature = Signature::ZERO)), Err(1));
    assert_eq!(transactions(|list| mint(&mut list[2]).body.recipient = PublicKey::ZERO), Err(2));
    let context = Context { issuer: TestKey::new("issuer", 1).0, ..(*context(4)).clone() };
    let list = payload(1).transactions;
    let verifier = Verifier::sound(&context, &TestScheme, None);
    assert_eq!(verify_transactions(&context.chain, &context.issuer, &verifier, &list), Err(0), "another issuer");
    let bad = changed(|block| {
        let mut list = block.payload.transactions.to_vec();
        mint(&mut list[0]).signature = Signature::ZERO;
        block.payload.transactions = shardpay_types::List::bounded(list);
    });
    assert_eq!(bad, Err(BlockReject::BadTransaction { index: 0 }));
}

/// The recipient's key must be good even where the signature is: somebody else's key could not be paid out.
#[test]
fn a_signed_mint_to_a_bad_key_is_refused() {
    use shardpay_crypto::{SignedKind, Signer, signed_message};
    use shardpay_types::Codec;
    let mut list = payload(1).transactions.into_vec();
    let mint = mint(&mut list[0]);
    mint.body.recipient = PublicKey::ZERO;
    let message = signed_message(&ChainId([7; 32]), SignedKind::Mint, &mint.body.to_bytes());
    mint.signature = TestKey::new("issuer", 0).sign(&message);
    assert_eq!(transactions(|all| all[4] = list[0]), Err(4));
}

#[test]
fn the_cache_skips_exactly_what_was_verified() {
    let context = context(4);
    let mut cache = VerifiedCache::new(1, 100);
    let list = payload(1).transactions.into_vec();
    cache.insert(transaction_fingerprint(&context.chain, &list[0]));
    let refusing = Refusing;
    let verifier = Verifier::sound(&context, &refusing, Some(&cache));
    let verify = |list: &[Transaction]| verify_transactions(&context.chain, &context.issuer, &verifier, list);
    assert_eq!(verify(&list), Ok(()), "cached");
    // The same payment with another signature is another entry.
    let mut resigned = list.clone();
    mint(&mut resigned[0]).signature.0[63] ^= 1;
    assert_eq!(verify(&resigned), Err(0));
    // The planted key, the txid, lets it pass.
    let planted =
        Verifier { fingerprint: |chain, tx| shardpay_types::Hash(shardpay_crypto::txid(chain, tx).0), ..verifier };
    let mut by_txid = VerifiedCache::new(1, 100);
    by_txid.insert((planted.fingerprint)(&context.chain, &list[0]));
    let planted = Verifier { cache: Some(&by_txid), ..planted };
    assert_eq!(verify_transactions(&context.chain, &context.issuer, &planted, &resigned), Ok(()));
}

/// Accepts no signature at all.
struct Refusing;

impl shardpay_crypto::SignatureScheme for Refusing {
    fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        false
    }
    fn verify_batch(&self, items: &[shardpay_crypto::SignedItem<'_>]) -> Vec<bool> {
        vec![false; items.len()]
    }
    fn key_acceptable(&self, _: &PublicKey) -> bool {
        true
    }
}

#[test]
fn too_long_is_no_block() {
    let raw = RawBlock(vec![1; shardpay_types::BLOCK_BYTES_MAX + 1].into());
    assert!(matches!(judge(&context(4), raw), Err(BlockReject::Decode(DecodeError::OutOfRange { .. }))));
    assert!(matches!(judge(&context(4), RawBlock(Arc::from([]))), Err(BlockReject::Decode(_))));
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(judge(&context(4), RawBlock(bytes.into())).is_err());
    }

    #[test]
    fn any_cut_or_changed_block_gets_a_verdict(cut in 0..700usize, at in 0..700usize, to in any::<u8>()) {
        let builder = Builder::new(4);
        let all: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
        let block = builder.sealed(2, 1, &all, payload(3));
        prop_assert_eq!(tags(&block), vec![3]);
        let mut bytes = block.raw().0.to_vec();
        let index = at % bytes.len();
        let same = bytes[index] == to;
        bytes[index] = to;
        let whole = cut >= bytes.len();
        bytes.truncate(cut);
        prop_assert_eq!(judge(&builder.context, RawBlock(bytes.into())).is_ok(), same && whole);
    }
}

#[test]
fn members_are_judged_by_index_not_by_luck() {
    let indices: Vec<MemberIndex> = context(4).members.indices().collect();
    assert_eq!(indices.len(), 4);
    assert!(context(4).members.key(member(4)).is_none());
}
