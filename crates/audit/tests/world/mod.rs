//! A small system by hand: two committees of four, blocks with right roots and certificates, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_audit::{Acknowledged, Evidence, LoadKept, NodeView, StoreView, Verdict, audit};
use shardpay_crypto::{
    Frontier, Keypair, Signer, chain_id, header_hash, header_message, leaf_hash, opaque_id, root, shard_of, txid,
};
use shardpay_ledger::{MemStore, StateBatch, Store, item_leaves};
use shardpay_types::{
    AccountState, Amount, BlockDigest, BlockRef, Certificate, CertifiedHeader, ChainId, CommitteeId, CommitteePlan,
    ConsistencyProof, Constants, CreditOutcome, DepositRef, Epoch, ExecutedCredit, ExecutedPack, ExecutedTransaction,
    Hash, HeaderHash, Height, LedgerBlock, LedgerHeader, LedgerItem, List, MemberIndex, MemberSignature, MerklePath,
    MessageKind, Mint, NodeId, Opaque, OutboxLeaf, OutboxMessage, Outcome, Pack, Payment, Plan, PlanHash, PublicKey,
    Reference, Round, Sequence, Signature, SignedMint, SignedPayment, Timestamp, Total, Totals, Transaction, TxId,
    Version,
};

const MEMBERS: usize = 4;

/// Balance and next sequence.
fn state(balance: u64, next_sequence: u64) -> AccountState {
    AccountState { balance: Amount::from_micros(balance), next_sequence: Sequence::new(next_sequence) }
}

fn signer(committee: usize, member: usize) -> Keypair {
    Keypair::from_seed(&[(committee * MEMBERS + member + 1) as u8; 32])
}

fn genesis() -> Plan {
    let committee = |(id, (shard_first, shard_count))| CommitteePlan {
        shard_first,
        shard_count,
        members: List::bounded((0..MEMBERS).map(|member| signer(id, member).public_key()).collect()),
    };
    Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [7; 32],
        issuer: Keypair::from_seed(&[200; 32]).public_key(),
        constants: Constants::standard(2),
        committees: List::bounded(Plan::even_shards(2).into_iter().enumerate().map(committee).collect()),
    }
}

/// The n-th account that `committee` holds.
fn account(plan: &Plan, committee: usize, n: usize) -> PublicKey {
    let held = (0..=255u8).map(|byte| PublicKey([byte; 32]));
    held.filter(|key| plan.owner(shard_of(key)).index() == committee).nth(n).expect("enough keys")
}

fn executed(transaction: Transaction, outcome: Outcome, accounts: Vec<AccountState>) -> LedgerItem {
    LedgerItem::Transaction(ExecutedTransaction { transaction, outcome, accounts: List::bounded(accounts) })
}

fn mint(recipient: PublicKey, amount: u64) -> Transaction {
    let body = Mint { recipient, amount: Amount::from_micros(amount), deposit_ref: DepositRef(recipient.0) };
    Transaction::Mint(SignedMint { body, signature: Signature([0; 64]) })
}

fn payment(sender: PublicKey, recipient: PublicKey, amount: u64, sequence: u64) -> Transaction {
    let body = Payment {
        sender,
        recipient,
        amount: Amount::from_micros(amount),
        sequence: Sequence::new(sequence),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    };
    Transaction::Payment(SignedPayment { body, signature: Signature([0; 64]) })
}

fn certificate(chain: &ChainId, committee: usize, hash: &HeaderHash, signers: usize) -> Certificate {
    let sign = |member| MemberSignature {
        member: MemberIndex::at(member),
        signature: signer(committee, member).sign(&header_message(chain, hash)),
    };
    Certificate::new((0..signers).map(sign).collect()).expect("distinct members")
}

/// A block's items, the accounts they leave, and the totals.
struct Step {
    items: Vec<LedgerItem>,
    changed: Vec<(PublicKey, AccountState)>,
    totals: Totals,
}

fn totals(minted: u64, sent: u64, received: u64) -> Totals {
    let total = |micros: u64| Total::from_micros(u128::from(micros));
    let balances = minted + received - sent;
    Totals {
        balances: total(balances),
        sent: total(sent),
        minted: total(minted),
        received: total(received),
        ..Totals::ZERO
    }
}

/// Makes the chain of a committee.
fn chain_of(chain: &ChainId, committee: usize, steps: &[Step]) -> Vec<LedgerBlock> {
    let (mut parent, mut history) = (HeaderHash::ZERO, Frontier::new());
    let mut blocks = Vec::new();
    for (step, height) in steps.iter().zip(1..) {
        let leaves: Vec<Hash> = step.items.iter().flat_map(|item| item_leaves(chain, item)).collect();
        let digest = BlockDigest([height as u8; 32]);
        let header = LedgerHeader {
            version: Version,
            chain: *chain,
            committee: CommitteeId::at(committee),
            epoch: Epoch::ZERO,
            height: Height::new(height),
            parent,
            history: history.root(),
            ledger_time: Timestamp::from_millis(height),
            anchor: BlockRef { round: Round::new(height), author: MemberIndex::at(0), digest },
            leaders: Hash::ZERO,
            last_of_commit: true,
            leaf_count: leaves.len() as u32,
            leaves: root(&leaves),
            outbox: Hash::ZERO,
            inbox: Hash::ZERO,
            effects: Hash::ZERO,
            totals: step.totals,
            next_plan: None,
        };
        parent = header_hash(&header);
        history.append(leaf_hash(parent.as_bytes()));
        blocks.push(LedgerBlock { header, items: List::bounded(step.items.clone()) });
    }
    blocks
}

/// What differs from the sound system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Story {
    Sound,
    Twice,
    ForgedCredit,
    ShortBalance,
}

/// The items of the source's second block, the payer's account after it, and what the payee got.
fn second_block(story: Story, local: Transaction) -> (Vec<LedgerItem>, AccountState, u64) {
    match story {
        Story::ShortBalance => {
            (vec![executed(local, Outcome::ShortBalance, vec![state(1_000, 1)])], state(1_000, 1), 0)
        }
        Story::Twice => {
            let first = executed(local, Outcome::Applied, vec![state(900, 1), state(100, 0)]);
            let again = executed(local, Outcome::Applied, vec![state(800, 2), state(200, 0)]);
            (vec![first, again], state(800, 2), 200)
        }
        _ => (vec![executed(local, Outcome::Applied, vec![state(900, 1), state(100, 0)])], state(900, 1), 100),
    }
}

/// The system, its stores, and what a client was told.
pub(crate) struct World {
    plan: Plan,
    chain: ChainId,
    /// By (committee, member).
    pub(crate) stores: BTreeMap<(usize, usize), MemStore>,
    pub(crate) acks: Vec<Acknowledged>,
    pub(crate) load: LoadKept,
    steps: [Vec<Step>; 2],
}

impl World {
    pub(crate) fn sound() -> Self {
        Self::new(Story::Sound)
    }

    /// A payment has two leaves.
    pub(crate) fn twice() -> Self {
        Self::new(Story::Twice)
    }

    /// A consumed message names another payee than the one sent.
    pub(crate) fn forged_credit() -> Self {
        Self::new(Story::ForgedCredit)
    }

    /// The acknowledged payment failed.
    pub(crate) fn short_balance_acknowledged() -> Self {
        Self::new(Story::ShortBalance)
    }

    /// Sound, but committee 1's last block ends with these payloads, all acknowledged, where genesis allows so many bytes.
    pub(crate) fn with_payloads(opaque_bytes_max: u32, payloads: &[Opaque]) -> Self {
        let mut plan = genesis();
        plan.constants.opaque_bytes_max = opaque_bytes_max;
        let mut world = Self::on(plan, Story::Sound);
        let chain = world.chain;
        world.rewrite(1, |block| {
            if block.header.height == Height::new(2) {
                let items = block.items.iter().cloned().chain(payloads.iter().cloned().map(LedgerItem::Opaque));
                let items: Vec<LedgerItem> = items.collect();
                let leaves: Vec<Hash> = items.iter().flat_map(|item| item_leaves(&chain, item)).collect();
                (block.header.leaf_count, block.header.leaves) = (leaves.len() as u32, root(&leaves));
                block.items = List::bounded(items);
            }
        });
        world.acks.extend((1..).zip(payloads).map(|(leaf, payload)| Acknowledged {
            committee: CommitteeId::at(1),
            height: Height::new(2),
            leaf,
            txid: opaque_id(&chain, payload),
            credit: false,
        }));
        world
    }

    fn new(story: Story) -> Self {
        Self::on(genesis(), story)
    }

    fn on(plan: Plan, story: Story) -> Self {
        let chain = chain_id(&plan);
        let [a, b] = [0, 1].map(|n| account(&plan, 0, n));
        let [c, d] = [0, 1].map(|n| account(&plan, 1, n));
        let (local, abroad) = (payment(a, b, 100, 0), payment(a, c, 50, if story == Story::Twice { 2 } else { 1 }));
        let (items, left, paid) = second_block(story, local);
        let after = state(left.balance.micros() - 50, left.next_sequence.get() + 1);
        let mut changed = vec![(a, left)];
        changed.extend((paid > 0).then_some((b, state(paid, 0))));
        let source = vec![
            Step {
                items: vec![executed(mint(a, 1_000), Outcome::Applied, vec![state(1_000, 0)])],
                changed: vec![(a, state(1_000, 0))],
                totals: totals(1_000, 0, 0),
            },
            Step { items, changed, totals: totals(1_000, 0, 0) },
            Step {
                items: vec![executed(abroad, Outcome::Applied, vec![after])],
                changed: vec![(a, after)],
                totals: totals(1_000, 50, 0),
            },
        ];
        let header = chain_of(&chain, 0, &source).pop().expect("three blocks").header;
        let message = OutboxMessage {
            kind: MessageKind::Credit,
            txid: txid(&chain, &abroad),
            payer: a,
            payee: if story == Story::ForgedCredit { d } else { c },
            amount: Amount::from_micros(50),
        };
        let credited = if story == Story::ForgedCredit { state(50, 0) } else { state(550, 0) };
        let destination = vec![
            Step {
                items: vec![executed(mint(c, 500), Outcome::Applied, vec![state(500, 0)])],
                changed: vec![(c, state(500, 0))],
                totals: totals(500, 0, 0),
            },
            Step {
                items: vec![pack(&chain, header, message, credited)],
                changed: vec![(message.payee, credited)],
                totals: totals(500, 0, 50),
            },
        ];
        let ack = |committee, height, txid: TxId, credit| Acknowledged {
            committee: CommitteeId::at(committee),
            height: Height::new(height),
            leaf: 0,
            txid,
            credit,
        };
        let acks =
            vec![ack(0, 2, txid(&chain, &local), false), ack(0, 3, message.txid, false), ack(1, 2, message.txid, true)];
        let load = LoadKept { offered: 100, sent: 100, share_min: 0.95 };
        let mut world = Self { plan, chain, stores: BTreeMap::new(), acks, load, steps: [source, destination] };
        for committee in 0..2 {
            for member in 0..MEMBERS {
                world.cut(committee, member, usize::MAX);
            }
        }
        world
    }

    /// Makes a store that ends at `height`.
    pub(crate) fn cut(&mut self, committee: usize, member: usize, height: usize) {
        let steps = &self.steps[committee];
        let mut store = MemStore::new();
        for (block, step) in chain_of(&self.chain, committee, steps).into_iter().zip(steps).take(height) {
            let certified = certificate(&self.chain, committee, &header_hash(&block.header), 3);
            let certificates = vec![(block.header.height, certified)];
            let batch = StateBatch {
                accounts: step.changed.clone(),
                blocks: vec![Arc::new(block)],
                certificates,
                ..StateBatch::default()
            };
            store.write(batch).expect("memory");
        }
        self.stores.insert((committee, member), store);
    }

    fn store(&mut self, committee: usize, member: usize) -> &mut MemStore {
        self.stores.get_mut(&(committee, member)).expect("a store")
    }

    /// Changes the first account of a store.
    pub(crate) fn alter_account(
        &mut self,
        committee: usize,
        member: usize,
        change: impl Fn(AccountState) -> AccountState,
    ) {
        let store = self.store(committee, member);
        let mut found = None;
        Store::accounts(store, &mut |key, state| found = found.or(Some((key, state)))).expect("memory");
        let (key, state) = found.expect("an account");
        store.write(StateBatch { accounts: vec![(key, change(state))], ..StateBatch::default() }).expect("memory");
    }

    /// Takes a block out of a store.
    pub(crate) fn remove_block(&mut self, committee: usize, member: usize, height: u64) {
        let old = self.stores.remove(&(committee, member)).expect("a store");
        let mut store = MemStore::new();
        let mut batch = StateBatch::default();
        Store::accounts(&old, &mut |key, state| batch.accounts.push((key, state))).expect("memory");
        batch.blocks = old.all_blocks().filter(|block| block.header.height.get() != height).cloned().collect();
        batch.certificates =
            old.all_certificates().map(|(height, certificate)| (height, certificate.clone())).collect();
        store.write(batch).expect("memory");
        self.stores.insert((committee, member), store);
    }

    fn put(&mut self, committee: usize, member: usize, block: LedgerBlock, signers: usize) {
        let certified = certificate(&self.chain, committee, &header_hash(&block.header), signers);
        let certificates = vec![(block.header.height, certified)];
        let batch = StateBatch { blocks: vec![Arc::new(block)], certificates, ..StateBatch::default() };
        self.store(committee, member).write(batch).expect("memory");
    }

    fn block(&mut self, committee: usize, member: usize, height: u64) -> LedgerBlock {
        let block = Store::block(self.store(committee, member), Height::new(height)).expect("memory");
        LedgerBlock::clone(&block.expect("a block"))
    }

    /// The hash of a member's header.
    pub(crate) fn header(&mut self, committee: usize, member: usize, height: u64) -> String {
        header_hash(&self.block(committee, member, height).header).to_string()
    }

    /// Gives one member another block.
    pub(crate) fn fork(&mut self, committee: usize, member: usize, height: u64) {
        let mut block = self.block(committee, member, height);
        block.header.ledger_time = Timestamp::from_millis(999);
        self.put(committee, member, block, 3);
    }

    /// Changes the blocks of all members, then signs and links them again.
    pub(crate) fn rewrite(&mut self, committee: usize, change: impl Fn(&mut LedgerBlock)) {
        let (mut parent, mut history) = (HeaderHash::ZERO, Frontier::new());
        for height in 1..=self.steps[committee].len() as u64 {
            let mut block = self.block(committee, 0, height);
            (block.header.parent, block.header.history) = (parent, history.root());
            change(&mut block);
            parent = header_hash(&block.header);
            history.append(leaf_hash(parent.as_bytes()));
            for member in 0..MEMBERS {
                self.put(committee, member, block.clone(), 3);
            }
        }
    }

    /// Leaves a member with a certificate of two signatures.
    pub(crate) fn thin_certificate(&mut self, committee: usize, member: usize, height: u64) {
        let block = self.block(committee, member, height);
        self.put(committee, member, block, 2);
    }

    /// Spoils one signature of a member's certificate.
    pub(crate) fn spoil_certificate(&mut self, committee: usize, member: usize, height: u64) {
        let certificate = Store::certificate(self.store(committee, member), Height::new(height)).expect("memory");
        let mut signatures = certificate.expect("certified").signatures().to_vec();
        signatures[1].signature.0[3] ^= 1;
        let spoilt = Certificate::new(signatures).expect("distinct members");
        let batch = StateBatch { certificates: vec![(Height::new(height), spoilt)], ..StateBatch::default() };
        self.store(committee, member).write(batch).expect("memory");
    }

    pub(crate) fn audit(&self) -> Verdict {
        let node = |(committee, member): (usize, usize)| NodeId {
            committee: CommitteeId::at(committee),
            member: MemberIndex::at(member),
        };
        let nodes = self
            .stores
            .iter()
            .map(|(place, store)| NodeView { node: node(*place), store: Ok(store as &dyn StoreView) });
        audit(&Evidence {
            genesis: &self.plan,
            nodes: nodes.collect(),
            acknowledged: self.acks.clone(),
            load: Some(self.load),
        })
    }
}

/// A pack of one message under the source's header.
fn pack(chain: &ChainId, header: LedgerHeader, message: OutboxMessage, account: AccountState) -> LedgerItem {
    let certificate = certificate(chain, 0, &header_hash(&header), 3);
    let log =
        OutboxLeaf { destination: CommitteeId::at(1), count: 1, amount: Total::from_micros(50), root: Hash::ZERO };
    LedgerItem::Pack(ExecutedPack {
        pack: Pack {
            source: CommitteeId::at(0),
            destination: CommitteeId::at(1),
            first: 0,
            messages: List::bounded(vec![message]),
            consistency: ConsistencyProof { hashes: List::bounded(Vec::new()) },
            log,
            path: MerklePath { index: 1, count: 2, siblings: List::bounded(vec![Hash::ZERO]) },
            certified: CertifiedHeader { header, certificate },
        },
        credits: List::bounded(vec![ExecutedCredit { outcome: CreditOutcome::Applied, account: Some(account) }]),
    })
}
