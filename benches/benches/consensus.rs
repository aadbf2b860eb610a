//! Consensus: core work per round and per block received (accept, evaluate, order; signatures and payload
//! aside), and validation of a block with and without payload.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use shardpay_consensus::{Config, Consensus, Context, Dag, Input, Output, Start, Verifier, genesis_ref, validate};
use shardpay_crypto::{
    Keypair, SealedBlock, SignatureScheme, SignedItem, Signer, Verified, Zip215, transaction_message,
};
use shardpay_types::{
    Amount, Block, BlockRef, ChainId, CommitteeId, CommitteePlan, Epoch, List, MemberIndex, Payload, Payment,
    PublicKey, Reference, Round, SHARDS, Sequence, Signature, SignedPayment, Timestamp, Transaction, Version,
};

/// Signs nothing: these benches leave signatures out.
struct Unsigned;

impl Signer for Unsigned {
    fn public_key(&self) -> PublicKey {
        PublicKey([1; 32])
    }
    fn sign(&self, _: &[u8]) -> Signature {
        Signature([1; 64])
    }
}

impl SignatureScheme for Unsigned {
    fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        vec![true; items.len()]
    }
    fn key_acceptable(&self, _: &PublicKey) -> bool {
        true
    }
}

fn context(keys: Vec<PublicKey>) -> Arc<Context> {
    Arc::new(Context {
        chain: ChainId([7; 32]),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        members: CommitteePlan { shard_first: 0, shard_count: SHARDS, members: List::bounded(keys) },
        issuer: PublicKey([9; 32]),
        opaque_bytes_max: 0,
    })
}

fn numbered_keys(members: usize) -> Vec<PublicKey> {
    (0..members).map(|index| PublicKey([index as u8; 32])).collect()
}

fn block(context: &Context, author: usize, round: u64, parents: &[BlockRef]) -> Block {
    let author = MemberIndex::at(author);
    let mut parents = parents.to_vec();
    parents.sort_by_key(|parent| (parent.author != author, parent.author));
    Block {
        version: Version,
        chain: context.chain,
        epoch: context.epoch,
        committee: context.committee,
        author,
        round: Round::new(round),
        timestamp: Timestamp::from_millis(round),
        parents: List::bounded(parents),
        payload: Payload::default(),
        signature: Signature::ZERO,
    }
}

/// A committee as seen by its first member: the others' blocks of each round stand on all of the one
/// before, ours included.
struct Committee {
    context: Arc<Context>,
    dag: Dag,
    now: Timestamp,
    last: Vec<BlockRef>,
    /// Own blocks the others have not built on.
    own: VecDeque<BlockRef>,
}

impl Committee {
    fn new(members: usize) -> Self {
        let context = context(numbered_keys(members));
        let now = Timestamp::from_millis(1_000);
        let config = Config::standard(context.clone(), MemberIndex::at(0));
        let mut dag = Dag::new(now, config, Arc::new(Unsigned), Start::NewEpoch);
        dag.handle(now, Input::WorkChanged { pending: true });
        let last = context.members.indices().map(|author| genesis_ref(&context, author)).collect();
        let mut committee = Self { context, dag, now, last, own: VecDeque::new() };
        committee.drain();
        committee
    }

    /// Carries out orders; remembers own blocks.
    fn drain(&mut self) {
        while let Some(output) = self.dag.poll_output() {
            match output {
                Output::Propose { round, .. } => {
                    self.dag.handle(self.now, Input::Proposal { round, payload: Payload::default() });
                }
                Output::Persist(block) if block.block().author.index() == 0 => self.own.push_back(block.reference()),
                Output::Commit(commit) => {
                    black_box(commit);
                    self.dag.handle(self.now, Input::CommitExecuted);
                }
                other => drop(black_box(other)),
            }
        }
    }

    /// The others' blocks of the next round.
    fn round(&mut self) -> Vec<Verified<Arc<SealedBlock>>> {
        let number = self.last[1].round.get() + 1;
        if number > 1 {
            self.last[0] = self.own.pop_front().expect("the own block of the round before");
        }
        let parents = self.last.clone();
        let blocks = (1..parents.len()).map(|author| {
            let sealed = SealedBlock::sign(block(&self.context, author, number, &parents), &Unsigned);
            self.last[author] = sealed.reference();
            Verified::trust(sealed)
        });
        blocks.collect()
    }

    /// Time that the instance takes for one round: all blocks of the others, and its own.
    fn play(&mut self) -> Duration {
        let blocks = self.round();
        self.now = self.now.after(Duration::from_millis(20));
        let start = Instant::now();
        for block in blocks {
            let from = block.block().author;
            self.dag.handle(self.now, Input::BlockReceived { from, block, requested: false });
            self.drain();
        }
        start.elapsed()
    }
}

fn commit_rule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit_rule");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for members in [4usize, 16, 64] {
        let mut committee = Committee::new(members);
        (0..100).for_each(|_| {
            committee.play();
        });
        let committed = committee.dag.status().last_output;
        group.bench_function(BenchmarkId::new("per=round", format!("n={members}")), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| committee.play()).sum());
        });
        group.bench_function(BenchmarkId::new("per=block", format!("n={members}")), |bencher| {
            let received = members as u32 - 1;
            bencher.iter_custom(|rounds| (0..rounds).map(|_| committee.play() / received).sum());
        });
        let status = committee.dag.status();
        assert!(status.last_output.since(committed) > 100, "every round commits a leader");
        assert_eq!((status.direct_skips, status.indirect_skips), (0, 0));
    }
}

fn payments(context: &Context, count: usize) -> Payload {
    let transaction = |index: usize| {
        let key = Keypair::from_seed(&[(index % 200) as u8; 32]);
        let body = Payment {
            sender: key.public_key(),
            recipient: Keypair::from_seed(&[200; 32]).public_key(),
            amount: Amount::from_micros(5),
            sequence: Sequence::new(index as u64),
            valid_until: Timestamp::ZERO,
            reference: Reference([0; 16]),
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let signature = key.sign(&transaction_message(&context.chain, &unsigned));
        Transaction::Payment(SignedPayment { body, signature })
    };
    Payload { transactions: List::bounded((0..count).map(transaction).collect()), ..Payload::default() }
}

fn block_validation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block_validation");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let keys: Vec<Keypair> = (0..4).map(|index| Keypair::from_seed(&[240 + index; 32])).collect();
    let context = context(keys.iter().map(Signer::public_key).collect());
    let genesis: Vec<BlockRef> = context.members.indices().map(|author| genesis_ref(&context, author)).collect();
    let below: Vec<BlockRef> = (0..4)
        .map(|author| SealedBlock::sign(block(&context, author, 1, &genesis), &keys[author]).reference())
        .collect();
    let zip215 = Zip215::new([3; 32], 4_096);
    for count in [0, 500] {
        let payload = payments(&context, count);
        let sealed = SealedBlock::sign(Block { payload, ..block(&context, 1, 2, &below) }, &keys[1]);
        for (name, scheme) in [("signatures=real", &zip215 as &dyn SignatureScheme), ("signatures=none", &Unsigned)] {
            let verifier = Verifier::sound(&context, scheme, None);
            assert!(validate(&context, &verifier, sealed.raw().clone()).is_ok());
            group.bench_function(BenchmarkId::new(name, format!("transactions={count}")), |bencher| {
                let check = |raw| validate(&context, &verifier, raw).is_ok();
                bencher.iter_batched(|| sealed.raw().clone(), |raw| black_box(check(raw)), BatchSize::SmallInput);
            });
        }
    }
}

criterion_group!(benches, commit_rule, block_validation);
criterion_main!(benches);
