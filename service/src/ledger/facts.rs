//! What a certified block says, in the form in which it is written to the store.
//!
//! Made from blocks that the client library verified in full; the crash tests make them themselves.

use shardpay_client::VerifiedBlock;
use shardpay_crypto::shard_of;
use shardpay_types::{
    AccountState, CommitteeId, CreditOutcome, Height, LedgerItem, MessageKind, OutboxMessage, Outcome, Plan, PublicKey,
    Timestamp, Totals, Transaction, TxId,
};

/// A certified block.
#[derive(Debug, Clone)]
pub struct BlockFacts {
    /// Whose.
    pub committee: CommitteeId,
    /// Its height.
    pub height: Height,
    /// Its ledger time.
    pub ledger_time: Timestamp,
    /// The committee's books after it.
    pub totals: Totals,
    /// Its leaves.
    pub leaves: Vec<LeafFact>,
}

/// A leaf of a certified block.
#[derive(Debug, Clone)]
pub enum LeafFact {
    /// A transaction that left a leaf.
    Executed(ExecutedFact),
    /// A consumed message.
    Credit(CreditFact),
}

/// A transaction that left a leaf.
#[derive(Debug, Clone)]
pub struct ExecutedFact {
    /// Index among the block's leaves.
    pub leaf: u32,
    /// Its id.
    pub txid: TxId,
    /// The transaction.
    pub transaction: Transaction,
    /// What became of it.
    pub outcome: Outcome,
    /// The committee that credits the payee, when it is another one.
    pub credited_by: Option<CommitteeId>,
    /// The accounts of this committee that it touched, with their state after it.
    pub accounts: Vec<(PublicKey, AccountState)>,
}

/// A consumed message of another committee.
#[derive(Debug, Clone)]
pub struct CreditFact {
    /// Index among the block's leaves.
    pub leaf: u32,
    /// The message.
    pub message: OutboxMessage,
    /// What became of it.
    pub outcome: CreditOutcome,
    /// The account credited and its state after it.
    pub account: Option<(PublicKey, AccountState)>,
}

/// The committee that holds an account.
pub fn holder(plan: &Plan, key: &PublicKey) -> CommitteeId {
    plan.owner(shard_of(key))
}

impl ExecutedFact {
    /// A transaction executed by `committee`, with the account states its leaf lists.
    pub fn new(
        plan: &Plan,
        committee: CommitteeId,
        (leaf, txid): (u32, TxId),
        (transaction, outcome): (Transaction, Outcome),
        states: &[AccountState],
    ) -> Self {
        let applied = outcome == Outcome::Applied;
        let debited = transaction.debit().map(|(sender, _)| sender);
        let payee = transaction.recipient().filter(|payee| applied && debited != Some(*payee));
        let local = payee.filter(|payee| holder(plan, payee) == committee);
        let credited_by = payee.map(|payee| holder(plan, &payee)).filter(|to| *to != committee);
        let accounts = debited.into_iter().chain(local).zip(states.iter().copied()).collect();
        Self { leaf, txid, transaction, outcome, credited_by, accounts }
    }

    /// Whether one of its parties passes `wanted`.
    pub fn touches(&self, wanted: &impl Fn(&PublicKey) -> bool) -> bool {
        self.transaction.debit().is_some_and(|(sender, _)| wanted(&sender))
            || self.transaction.recipient().is_some_and(|payee| wanted(&payee))
    }
}

impl CreditFact {
    /// Whether one of its parties passes `wanted`.
    pub fn touches(&self, wanted: &impl Fn(&PublicKey) -> bool) -> bool {
        wanted(&self.message.payee) || wanted(&self.message.payer)
    }
}

impl BlockFacts {
    /// What a verified block says to those that pass `wanted`; other leaves are left out.
    pub fn of(plan: &Plan, block: &VerifiedBlock, wanted: &impl Fn(&PublicKey) -> bool) -> Self {
        let header = &block.certified.header;
        let mut txids = block.txids.iter();
        let (mut leaves, mut leaf) = (Vec::new(), 0u32);
        for item in &block.items {
            match item {
                LedgerItem::Transaction(executed) => {
                    let txid = *txids.next().expect("a verified block has one id per transaction");
                    let what = (executed.transaction, executed.outcome);
                    let fact = ExecutedFact::new(plan, header.committee, (leaf, txid), what, &executed.accounts);
                    if fact.touches(wanted) {
                        leaves.push(LeafFact::Executed(fact));
                    }
                    leaf += 1;
                }
                LedgerItem::Pack(executed) => {
                    for (message, credit) in executed.pack.messages.iter().zip(executed.credits.iter()) {
                        let account = credit.account.map(|state| (credited(message), state));
                        let fact = CreditFact { leaf, message: *message, outcome: credit.outcome, account };
                        if fact.touches(wanted) {
                            leaves.push(LeafFact::Credit(fact));
                        }
                        leaf += 1;
                    }
                }
                LedgerItem::Opaque(_) => {
                    txids.next();
                    leaf += 1;
                }
                LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
            }
        }
        Self {
            committee: header.committee,
            height: header.height,
            ledger_time: header.ledger_time,
            totals: header.totals,
            leaves,
        }
    }
}

/// Whose account a message credits.
pub fn credited(message: &OutboxMessage) -> PublicKey {
    match message.kind {
        MessageKind::Credit | MessageKind::MintCredit => message.payee,
        MessageKind::Return => message.payer,
    }
}
