//! Builds DAGs block by block.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_consensus::{Config, Context, genesis_ref};
use shardpay_crypto::{SealedBlock, SignedKind, Signer, signed_message};
use shardpay_types::{
    Amount, Block, BlockRef, CertifiedHeader, ChainId, Codec, CommitteeId, CommitteePlan, DepositRef, Epoch, List,
    MemberIndex, Mint, PROTOCOL_VERSION, Pack, Payload, PublicKey, Round, SHARDS, Signature, SignedMint, Timestamp,
    Transaction, Version,
};

use super::keys::TestKey;
use super::{member, round};

/// The committee of a test.
pub fn context(members: usize) -> Arc<Context> {
    let keys: Vec<PublicKey> = (0..members).map(|index| TestKey::new("member", index).0).collect();
    Arc::new(Context {
        chain: ChainId([7; 32]),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        members: CommitteePlan { shard_first: 0, shard_count: SHARDS, members: List::bounded(keys) },
        issuer: TestKey::new("issuer", 0).0,
        opaque_bytes_max: 0,
    })
}

/// A payload with one mint that `tag` tells apart.
pub fn payload(tag: u64) -> Payload {
    let mut deposit = [0; 32];
    deposit[..8].copy_from_slice(&tag.to_le_bytes());
    let recipient = TestKey::new("recipient", tag as usize).0;
    let body = Mint { recipient, amount: Amount::from_micros(1), deposit_ref: DepositRef(deposit) };
    let message = signed_message(&ChainId([7; 32]), SignedKind::Mint, &body.to_bytes());
    let signature = TestKey::new("issuer", 0).sign(&message);
    let transactions = List::bounded(vec![Transaction::Mint(SignedMint { body, signature })]);
    Payload { transactions, ..Payload::default() }
}

/// The tags of a block's payload.
pub fn tags(block: &SealedBlock) -> Vec<u64> {
    let tag = |transaction: &Transaction| match transaction {
        Transaction::Mint(mint) => u64::from_le_bytes(mint.body.deposit_ref.0[..8].try_into().expect("8 of 32")),
        _ => unreachable!("tests mint only"),
    };
    block.block().payload.transactions.iter().map(tag).collect()
}

/// Builds blocks of a committee and remembers them.
pub struct Builder {
    pub context: Arc<Context>,
    pub blocks: Vec<Arc<SealedBlock>>,
    by_ref: BTreeMap<BlockRef, Arc<SealedBlock>>,
}

impl Builder {
    pub fn new(members: usize) -> Self {
        Self { context: context(members), blocks: Vec::new(), by_ref: BTreeMap::new() }
    }

    pub fn members(&self) -> usize {
        self.context.members.size()
    }

    pub fn config(&self, own: usize) -> Config {
        Config::standard(self.context.clone(), member(own))
    }

    pub fn get(&self, reference: &BlockRef) -> Option<&Arc<SealedBlock>> {
        self.by_ref.get(reference)
    }

    pub fn genesis(&self, author: usize) -> BlockRef {
        genesis_ref(&self.context, member(author))
    }

    /// The first block made by `author` in `number` (round 0: the virtual one).
    pub fn at(&self, number: u64, author: usize) -> BlockRef {
        if number == 0 {
            return self.genesis(author);
        }
        let here = |block: &&Arc<SealedBlock>| {
            block.reference().round == round(number) && block.reference().author == member(author)
        };
        self.blocks.iter().find(here).expect("built before").reference()
    }

    /// A block with exactly these parents, put into their one order.
    pub fn block(&mut self, author: usize, number: u64, parents: &[BlockRef]) -> BlockRef {
        self.block_with(author, number, parents, Payload::default())
    }

    /// The same, with a payload.
    pub fn block_with(&mut self, author: usize, number: u64, parents: &[BlockRef], payload: Payload) -> BlockRef {
        let sealed = self.sealed(author, number, parents, payload);
        let reference = sealed.reference();
        self.by_ref.insert(reference, sealed.clone());
        self.blocks.push(sealed);
        reference
    }

    /// Seals a block without remembering it.
    pub fn sealed(&self, author: usize, number: u64, parents: &[BlockRef], payload: Payload) -> Arc<SealedBlock> {
        let block = self.unsealed(author, number, parents, payload);
        SealedBlock::sign(block, &TestKey::new("member", author))
    }

    /// A block before it is signed.
    pub fn unsealed(&self, author: usize, number: u64, parents: &[BlockRef], payload: Payload) -> Block {
        let mut parents = parents.to_vec();
        let author: MemberIndex = member(author);
        parents.sort_by_key(|parent| (parent.author != author, parent.author));
        Block {
            version: Version,
            chain: self.context.chain,
            epoch: self.context.epoch,
            committee: self.context.committee,
            author,
            round: Round::new(number),
            timestamp: Timestamp::from_millis(number * 10 + author.index() as u64),
            parents: List::bounded(parents),
            payload,
            signature: Signature::ZERO,
        }
    }

    /// One block per author of `authors`, on the first blocks of `parents` (authors) one round below.
    pub fn layer(&mut self, number: u64, authors: &[usize], parents: &[usize]) {
        let parents: Vec<BlockRef> = parents.iter().map(|author| self.at(number - 1, *author)).collect();
        for author in authors {
            self.block(*author, number, &parents);
        }
    }

    /// Rounds in which everybody stands on everybody.
    pub fn full(&mut self, rounds: std::ops::RangeInclusive<u64>) {
        let all: Vec<usize> = (0..self.members()).collect();
        for number in rounds {
            self.layer(number, &all, &all);
        }
    }

    /// Rounds in which only `authors` make blocks, on each other's.
    pub fn only(&mut self, rounds: std::ops::RangeInclusive<u64>, authors: &[usize]) {
        for number in rounds {
            if number == 1 {
                let all: Vec<usize> = (0..self.members()).collect();
                self.layer(1, authors, &all);
            } else {
                self.layer(number, authors, authors);
            }
        }
    }
}

/// A pack of `source` with nothing in it.
pub fn pack(source: CommitteeId) -> Pack {
    // The shortest encoding is all zero, but for the version of the header inside.
    let mut bytes = vec![0; Pack::MIN_LEN];
    bytes[Pack::MIN_LEN - CertifiedHeader::MIN_LEN] = PROTOCOL_VERSION;
    let empty = Pack::from_bytes(&bytes).expect("the shortest pack");
    Pack { source, ..empty }
}
