//! The state transition: what one transaction or credit does to accounts and totals (DESIGN §3).
//!
//! Each step comes in two halves. `decide_*` computes everything that can fail from the state as it
//! stands; [`Books::apply`] writes and cannot fail. A refusal changes nothing.
//!
//! Guarantees: only the right sequence, or a fresh deposit reference, leaves a [`Decision`]; a debit
//! without cover consumes its sequence and moves nothing; arithmetic is checked, nothing wraps or
//! saturates; [`Totals::conserved`] holds after every step.
//!
//! Assumes: signatures and signers' keys were checked by block validity. Payees' keys are checked here,
//! before the debit; accounts that exist have acceptable keys already.

use shardpay_crypto::{IdentifiedTransaction, SignatureScheme, shard_of, shard_of_deposit};
use shardpay_types::{
    AccountState, Amount, CommitteeId, CreditOutcome, DepositRef, MessageKind, Mint, OutboxMessage, Outcome, Plan,
    PublicKey, SHARDS, Sequence, ShardId, Timestamp, Total, Totals, Transaction, TxId,
};

use crate::accounts::{Accounts, Slot};
use crate::api::TxReject;

/// What of a plan the transition needs; the same in every epoch, since shards do not move.
#[derive(Debug, Clone)]
pub struct Rules {
    own: CommitteeId,
    issuer: PublicKey,
    amount_min: Amount,
    mint_cap: Amount,
    /// Owner by shard.
    owners: Vec<CommitteeId>,
}

impl Rules {
    /// The rules of `plan` for committee `own`.
    pub fn new(plan: &Plan, own: CommitteeId) -> Self {
        let owners = (0..usize::from(SHARDS)).map(|shard| plan.owner(ShardId::at(shard))).collect();
        let (amount_min, mint_cap) = (plan.constants.amount_min, plan.constants.mint_cap);
        Self { own, issuer: plan.issuer, amount_min, mint_cap, owners }
    }

    /// The committee that holds `key`'s account.
    pub fn owner(&self, key: &PublicKey) -> CommitteeId {
        self.owners[shard_of(key).index()]
    }

    /// The committee that remembers `deposit`.
    pub fn deposit_owner(&self, deposit: &DepositRef) -> CommitteeId {
        self.owners[shard_of_deposit(deposit).index()]
    }
}

/// An account a step writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// It exists.
    At(Slot),
    /// It is created.
    New(PublicKey),
}

/// What a transaction will do; nothing about it can fail any more.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Applied, or short balance.
    pub outcome: Outcome,
    /// The debited account and its new state.
    pub debit: Option<(Touched, AccountState)>,
    /// The local account credited, when it is another one, and its new state.
    pub credit: Option<(Touched, AccountState)>,
    /// The credit that leaves for another committee.
    pub message: Option<(CommitteeId, OutboxMessage)>,
    /// The books after it, when they change.
    pub totals: Option<Totals>,
}

impl Decision {
    /// Number of local accounts touched.
    pub fn touched(&self) -> usize {
        usize::from(self.debit.is_some()) + usize::from(self.credit.is_some())
    }
}

/// Accounts and totals of a committee.
#[derive(Debug)]
pub struct Books {
    accounts: Accounts,
    totals: Totals,
    /// The totals at the last [`Books::settle`].
    settled: Totals,
    rules: Rules,
}

/// `a + b` in totals: u128 sums of u64 amounts, at most 2^62 of them.
pub(crate) fn plus(total: Total, amount: Amount) -> Total {
    total.checked_add(amount).expect("2^64 maximal amounts fit a total")
}

fn minus(total: Total, amount: Amount) -> Total {
    total.checked_sub(amount).expect("an account's balance is part of the total of balances")
}

impl Books {
    /// Books with these accounts and totals.
    pub fn new(rules: Rules, accounts: Accounts, totals: Totals) -> Self {
        Self { accounts, totals, settled: totals, rules }
    }

    /// Makes everything since the last time final.
    pub fn settle(&mut self) {
        self.accounts.settle();
        self.settled = self.totals;
    }

    /// Takes everything since the last [`Self::settle`] back.
    pub fn roll_back(&mut self) {
        self.accounts.roll_back();
        self.totals = self.settled;
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Ends a block: see [`Accounts::end_block`].
    pub fn end_block(&mut self) {
        self.accounts.end_block();
    }

    /// The totals.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Brings the accounts of these transactions near; see [`Accounts::warm`].
    pub fn warm<'a>(&self, transactions: impl IntoIterator<Item = &'a Transaction>) {
        let keys = transactions.into_iter().flat_map(|transaction| match transaction {
            Transaction::Payment(tx) => [Some(&tx.body.sender), Some(&tx.body.recipient)],
            Transaction::Redeem(tx) => [Some(&tx.body.sender), None],
            Transaction::Mint(tx) => [None, Some(&tx.body.recipient)],
        });
        self.accounts.warm(keys.flatten());
    }

    /// Decides a payment or redeem at ledger time `now`.
    ///
    /// # Panics
    /// When given a mint: the caller dispatches.
    pub fn decide_debit(
        &self,
        identified: &IdentifiedTransaction,
        now: Timestamp,
        scheme: &dyn SignatureScheme,
    ) -> Result<Decision, TxReject> {
        let transaction = &identified.transaction;
        let (sender, sequence) = transaction.debit().expect("mints are decided elsewhere");
        let amount = transaction.amount();
        let (from, state) = match self.accounts.find(&sender) {
            Some(slot) => (Touched::At(slot), self.accounts.state(slot)),
            None if self.rules.owner(&sender) == self.rules.own => (Touched::New(sender), AccountState::EMPTY),
            None => return Err(TxReject::WrongCommittee),
        };
        self.admissible(state, transaction, sequence, now)?;
        let recipient = match transaction {
            Transaction::Payment(payment) => Some(self.recipient(&payment.body.recipient, scheme)?),
            _ => None,
        };
        let consumed = AccountState { next_sequence: sequence.next(), ..state };
        let Some(rest) = state.balance.checked_sub(amount) else {
            let debit = Some((from, consumed));
            return Ok(Decision { outcome: Outcome::ShortBalance, debit, credit: None, message: None, totals: None });
        };
        let debited = AccountState { balance: rest, ..consumed };
        let done = |debit, credit, message, totals| {
            Ok(Decision { outcome: Outcome::Applied, debit: Some((from, debit)), credit, message, totals })
        };
        match recipient {
            None => done(debited, None, None, Some(self.burn(amount))),
            Some(Recipient::Local(to)) if to == from => done(consumed, None, None, None),
            Some(Recipient::Local(to)) => done(debited, Some(self.credited(to, amount)?), None, None),
            Some(Recipient::Remote(destination, payee)) => {
                let message =
                    OutboxMessage { kind: MessageKind::Credit, txid: identified.txid, payer: sender, payee, amount };
                done(debited, None, Some((destination, message)), Some(self.send(amount)))
            }
        }
    }

    /// What is static or expired, or out of sequence: no leaf.
    fn admissible(
        &self,
        state: AccountState,
        transaction: &Transaction,
        sequence: Sequence,
        now: Timestamp,
    ) -> Result<(), TxReject> {
        if transaction.amount() < self.rules.amount_min {
            return Err(TxReject::AmountTooSmall);
        }
        if sequence < state.next_sequence {
            return Err(TxReject::SequenceUsed);
        }
        let valid_until = transaction.valid_until();
        if valid_until != Timestamp::ZERO && now > valid_until {
            return Err(TxReject::Expired);
        }
        if sequence > state.next_sequence { Err(TxReject::SequenceGap) } else { Ok(()) }
    }

    /// Decides a mint; `used`: whether its deposit reference was consumed before.
    pub fn decide_mint(
        &self,
        mint: &Mint,
        txid: TxId,
        used: bool,
        scheme: &dyn SignatureScheme,
    ) -> Result<Decision, TxReject> {
        if self.rules.deposit_owner(&mint.deposit_ref) != self.rules.own {
            return Err(TxReject::WrongCommittee);
        }
        if mint.amount == Amount::ZERO {
            return Err(TxReject::AmountTooSmall);
        }
        if used {
            return Err(TxReject::DepositUsed);
        }
        let minted = plus(self.totals.minted, mint.amount);
        if minted.micros() > u128::from(self.rules.mint_cap.micros()) {
            return Err(TxReject::MintCapReached);
        }
        let mut totals = Totals { minted, ..self.totals };
        let (mut credit, mut message) = (None, None);
        match self.recipient(&mint.recipient, scheme)? {
            Recipient::Local(to) => {
                credit = Some(self.credited(to, mint.amount)?);
                totals.balances = plus(totals.balances, mint.amount);
            }
            Recipient::Remote(destination, payee) => {
                totals.sent = plus(totals.sent, mint.amount);
                let (payer, amount) = (self.rules.issuer, mint.amount);
                message =
                    Some((destination, OutboxMessage { kind: MessageKind::MintCredit, txid, payer, payee, amount }));
            }
        }
        Ok(Decision { outcome: Outcome::Applied, debit: None, credit, message, totals: Some(totals) })
    }

    /// Carries a decision out; says where the debited account stands.
    pub fn apply(&mut self, decision: &Decision) -> Option<Slot> {
        let debited = decision.debit.map(|(touched, state)| self.write(touched, state));
        if let Some((touched, state)) = decision.credit {
            self.write(touched, state);
        }
        if let Some(totals) = decision.totals {
            self.totals = totals;
        }
        debited
    }

    /// Books a consumed message with this outcome; the account is written apart.
    pub(crate) fn receive(&mut self, outcome: CreditOutcome, amount: Amount) {
        let totals = &mut self.totals;
        totals.received = plus(totals.received, amount);
        let other = match outcome {
            CreditOutcome::Applied => &mut totals.balances,
            CreditOutcome::Returned => &mut totals.sent,
            CreditOutcome::Suspended => &mut totals.suspense,
        };
        *other = plus(*other, amount);
    }

    /// Writes an account.
    pub(crate) fn write(&mut self, touched: Touched, state: AccountState) -> Slot {
        match touched {
            Touched::At(slot) => {
                self.accounts.set(slot, state);
                slot
            }
            Touched::New(key) => self.accounts.create(key, state),
        }
    }

    fn recipient(&self, key: &PublicKey, scheme: &dyn SignatureScheme) -> Result<Recipient, TxReject> {
        if let Some(slot) = self.accounts.find(key) {
            return Ok(Recipient::Local(Touched::At(slot)));
        }
        if !scheme.key_acceptable(key) {
            return Err(TxReject::BadRecipient);
        }
        let owner = self.rules.owner(key);
        Ok(if owner == self.rules.own { Recipient::Local(Touched::New(*key)) } else { Recipient::Remote(owner, *key) })
    }

    fn credited(&self, to: Touched, amount: Amount) -> Result<(Touched, AccountState), TxReject> {
        let state = match to {
            Touched::At(slot) => self.accounts.state(slot),
            Touched::New(_) => AccountState::EMPTY,
        };
        let balance = state.balance.checked_add(amount).ok_or(TxReject::RecipientFull)?;
        Ok((to, AccountState { balance, ..state }))
    }

    fn burn(&self, amount: Amount) -> Totals {
        let totals = self.totals;
        Totals { balances: minus(totals.balances, amount), burned: plus(totals.burned, amount), ..totals }
    }

    fn send(&self, amount: Amount) -> Totals {
        let totals = self.totals;
        Totals { balances: minus(totals.balances, amount), sent: plus(totals.sent, amount), ..totals }
    }
}

enum Recipient {
    Local(Touched),
    Remote(CommitteeId, PublicKey),
}
