//! One committee's chain, worked out again block by block: headers, leaves, totals, accounts, messages.

use std::collections::{BTreeMap, HashMap};

use shardpay_crypto::{Frontier, header_hash, leaf_hash, opaque_id, root, shard_of, txid};
use shardpay_ledger::item_leaves;
use shardpay_types::{
    AccountState, ChainId, CommitteeId, CreditOutcome, ExecutedPack, ExecutedTransaction, HeaderHash, Height,
    LedgerBlock, LedgerItem, MessageKind, OutboxMessage, Outcome, Plan, PublicKey, Total, Totals, Transaction, TxId,
};

use crate::verdict::{CheckName, Findings};

/// What the blocks so far amount to.
pub(crate) struct Chain<'a> {
    genesis: &'a Plan,
    chain: ChainId,
    pub(crate) committee: CommitteeId,
    pub(crate) height: Height,
    parent: HeaderHash,
    history: Frontier,
    pub(crate) totals: Totals,
    pub(crate) accounts: HashMap<PublicKey, AccountState>,
    /// Messages sent, by destination, in order.
    pub(crate) sent: BTreeMap<CommitteeId, Vec<OutboxMessage>>,
    /// Messages consumed, by source, in order.
    pub(crate) received: BTreeMap<CommitteeId, Vec<OutboxMessage>>,
    /// Under which headers of their source: by source, the first message proven by one, its height and hash.
    pub(crate) proven: BTreeMap<CommitteeId, Vec<(usize, Height, HeaderHash)>>,
    /// Hashes of the headers, from height 1.
    pub(crate) hashes: Vec<HeaderHash>,
    /// Ids of all transactions with a leaf.
    pub(crate) executed: Vec<TxId>,
}

fn plus(total: &mut Total, micros: u64) {
    *total = Total::from_micros(total.micros() + u128::from(micros));
}

impl<'a> Chain<'a> {
    pub(crate) fn new(genesis: &'a Plan, chain: ChainId, committee: CommitteeId) -> Self {
        Self {
            genesis,
            chain,
            committee,
            height: Height::ZERO,
            parent: HeaderHash::ZERO,
            history: Frontier::new(),
            totals: Totals::ZERO,
            accounts: HashMap::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            proven: BTreeMap::new(),
            hashes: Vec::new(),
            executed: Vec::new(),
        }
    }

    /// Adds the block above; gives the ids of its transactions.
    pub(crate) fn add(&mut self, block: &LedgerBlock, hash: HeaderHash, findings: &mut Findings) -> Vec<TxId> {
        let header = &block.header;
        let place = format!("committee {}, height {}, header {hash}", self.committee, self.height.next());
        let origin = header.chain == self.chain && header.committee == self.committee;
        let follows = header.height == self.height.next() && header.parent == self.parent;
        findings.require(origin, CheckName::ChainIntact, || format!("{place}: of another chain or committee"));
        findings.require(follows, CheckName::ChainIntact, || {
            format!("{place}: says height {}, parent {}; expected parent {}", header.height, header.parent, self.parent)
        });
        let history = self.history.root();
        findings.require(header.history == history, CheckName::ChainIntact, || {
            format!("{place}: history {}, expected {history}", header.history)
        });
        let leaves: Vec<_> = block.items.iter().flat_map(|item| item_leaves(&self.chain, item)).collect();
        let matches = header.leaf_count as usize == leaves.len() && header.leaves == root(&leaves);
        findings.require(matches, CheckName::LeavesMatch, || {
            format!("{place}: {} leaves under {}, {} in the block", header.leaf_count, header.leaves, leaves.len())
        });

        let txids = self.execute(block, &place, findings);
        findings.require(header.totals.conserved(), CheckName::SupplyPerCommittee, || {
            format!("{place}: the totals do not balance: {:?}", header.totals)
        });
        findings.require(header.totals == self.totals, CheckName::SupplyPerCommittee, || {
            format!("{place}: totals {:?}, the items give {:?}", header.totals, self.totals)
        });
        self.totals = header.totals;
        self.height = self.height.next();
        self.parent = hash;
        self.hashes.push(hash);
        self.history.append(leaf_hash(hash.as_bytes()));
        debug_assert_eq!(hash, header_hash(header));
        txids
    }

    fn execute(&mut self, block: &LedgerBlock, place: &str, findings: &mut Findings) -> Vec<TxId> {
        let mut txids = Vec::new();
        for item in &block.items {
            match item {
                LedgerItem::Transaction(executed) => {
                    let id = txid(&self.chain, &executed.transaction);
                    txids.push(id);
                    self.transaction(id, executed);
                }
                LedgerItem::Opaque(payload) => {
                    let max = self.genesis.constants.opaque_bytes_max;
                    findings.require(payload.fits(max), CheckName::LeavesMatch, || {
                        format!("{place}: an opaque payload of {} bytes, genesis allows {max}", payload.0.len())
                    });
                    txids.push(opaque_id(&self.chain, payload));
                }
                LedgerItem::Pack(executed) => self.pack(executed, place, findings),
                LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
            }
        }
        self.executed.extend_from_slice(&txids);
        txids
    }

    /// Books an account's new state; the sum of balances moves with it.
    fn book(&mut self, key: PublicKey, state: AccountState) {
        let before = self.accounts.insert(key, state).unwrap_or(AccountState::EMPTY);
        let sum = self.totals.balances.micros() + u128::from(state.balance.micros());
        self.totals.balances = Total::from_micros(sum.saturating_sub(u128::from(before.balance.micros())));
    }

    fn transaction(&mut self, id: TxId, executed: &ExecutedTransaction) {
        let transaction = &executed.transaction;
        let sender = transaction.debit().map(|(sender, _)| sender);
        let keys = sender.into_iter().chain(transaction.recipient());
        for (key, state) in keys.zip(&executed.accounts) {
            self.book(key, *state);
        }
        if executed.outcome != Outcome::Applied {
            return;
        }
        let amount = transaction.amount();
        let kind = match transaction {
            Transaction::Mint(_) => {
                plus(&mut self.totals.minted, amount.micros());
                MessageKind::MintCredit
            }
            Transaction::Redeem(_) => {
                plus(&mut self.totals.burned, amount.micros());
                return;
            }
            Transaction::Payment(_) => MessageKind::Credit,
        };
        let Some(payee) = transaction.recipient() else { return };
        let destination = self.genesis.owner(shard_of(&payee));
        if destination != self.committee {
            let payer = sender.unwrap_or(self.genesis.issuer);
            self.send(destination, OutboxMessage { kind, txid: id, payer, payee, amount });
        }
    }

    fn send(&mut self, destination: CommitteeId, message: OutboxMessage) {
        plus(&mut self.totals.sent, message.amount.micros());
        self.sent.entry(destination).or_default().push(message);
    }

    fn pack(&mut self, executed: &ExecutedPack, place: &str, findings: &mut Findings) {
        let pack = &executed.pack;
        let cursor = self.received.entry(pack.source).or_default().len() as u64;
        findings.require(pack.first == cursor, CheckName::MessagesBetweenCommittees, || {
            format!("{place}: pack of {} begins at {}, the cursor stands at {cursor}", pack.source, pack.first)
        });
        let header = &pack.certified.header;
        let proof = (cursor as usize, header.height, header_hash(header));
        self.proven.entry(pack.source).or_default().push(proof);
        for (message, credit) in pack.messages.iter().zip(&executed.credits) {
            plus(&mut self.totals.received, message.amount.micros());
            self.received.entry(pack.source).or_default().push(*message);
            let credited = match message.kind {
                MessageKind::Return => message.payer,
                MessageKind::Credit | MessageKind::MintCredit => message.payee,
            };
            match (credit.outcome, credit.account) {
                (CreditOutcome::Applied, Some(state)) => self.book(credited, state),
                (CreditOutcome::Applied, None) => {
                    findings.fail(CheckName::AccountsMatch, || format!("{place}: a credit without an account"));
                }
                (CreditOutcome::Returned, _) => {
                    self.send(pack.source, OutboxMessage { kind: MessageKind::Return, ..*message });
                }
                (CreditOutcome::Suspended, _) => plus(&mut self.totals.suspense, message.amount.micros()),
            }
        }
    }
}
