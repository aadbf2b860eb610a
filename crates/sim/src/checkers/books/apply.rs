//! Executing the items of a ledger block on the books.

use std::sync::Arc;

use shardpay_crypto::{plan_hash, shard_of, shard_of_deposit, transaction_message, txid};
use shardpay_types::{
    AccountState, Amount, ClosingRecord, CreditOutcome, EpochChange, ExecutedCredit, ExecutedPack, ExecutedTransaction,
    LedgerBlock, LedgerItem, MessageKind, Mint, OutboxMessage, Outcome, PublicKey, Sequence, ShardId, Timestamp,
    Transaction, TxId,
};

use super::{Books, LeafPlace};
use crate::checkers::{Violation, hold};

/// A debit: a payment's or a redeem's.
struct Debit<'a> {
    sender: PublicKey,
    amount: Amount,
    sequence: Sequence,
    executed: &'a ExecutedTransaction,
}

impl Books {
    pub(super) fn apply_items(&mut self, committee: usize, block: &LedgerBlock) -> Result<(), Violation> {
        let mut leaf = 0u32;
        let count = block.items.len();
        for (at, item) in block.items.iter().enumerate() {
            match item {
                LedgerItem::Transaction(executed) => {
                    self.apply_transaction(committee, block, leaf, executed)?;
                    leaf += 1;
                }
                LedgerItem::Pack(executed) => {
                    self.apply_pack(committee, executed)?;
                    leaf += executed.credits.len() as u32;
                }
                LedgerItem::Opaque(_) => {
                    hold!(false, "opaque payloads", "committee {committee} ordered one: genesis allows none");
                }
                LedgerItem::Closing(record) => self.apply_closing(committee, record)?,
                LedgerItem::EpochChange(change) => {
                    hold!(at + 1 == count, "epoch closing", "items after the epoch change in committee {committee}");
                    let next = plan_hash(&change.plan);
                    hold!(block.header.next_plan == Some(next), "epoch closing", "the header names another plan");
                    self.apply_epoch_change(committee, change)?;
                }
            }
        }
        let closes = matches!(block.items.last(), Some(LedgerItem::EpochChange(_)));
        hold!(closes == block.header.next_plan.is_some(), "epoch closing", "a closing header without its item");
        hold!(leaf == block.header.leaf_count, "leaves", "{} leaves said, {leaf} there", block.header.leaf_count);
        Ok(())
    }

    fn apply_transaction(
        &mut self,
        committee: usize,
        block: &LedgerBlock,
        leaf: u32,
        executed: &ExecutedTransaction,
    ) -> Result<(), Violation> {
        let transaction = &executed.transaction;
        let id = txid(&self.chain, transaction);
        let (height, applied) = (block.header.height, executed.outcome == Outcome::Applied);
        if let Some(first) = self.leaves.get(&id) {
            return Err(Violation::new("one leaf per txid", format!("{id:?} at height {height}, and at {first:?}")));
        }
        self.check_transaction(committee, &block.header.ledger_time, transaction)?;
        let destination = match transaction {
            Transaction::Payment(tx) => {
                let body = tx.body;
                let debit = Debit { sender: body.sender, amount: body.amount, sequence: body.sequence, executed };
                self.apply_debit(committee, &debit, Some(body.recipient), id)?
            }
            Transaction::Redeem(tx) => {
                let body = tx.body;
                let debit = Debit { sender: body.sender, amount: body.amount, sequence: body.sequence, executed };
                if applied {
                    self.pages[committee].totals.burned += u128::from(body.amount.micros());
                    self.meet("ledger: redeemed");
                }
                self.apply_debit(committee, &debit, None, id)?
            }
            Transaction::Mint(tx) => self.apply_mint(committee, &tx.body, executed, id)?,
        };
        self.meet(if applied { "ledger: applied" } else { "ledger: short balance" });
        let place = LeafPlace { committee, height, index: leaf, applied, destination, at: self.now };
        self.leaves.insert(id, place);
        self.fresh.push(id);
        Ok(())
    }

    /// What does not depend on the accounts: signature, committee, amount, expiry.
    fn check_transaction(&self, committee: usize, time: &Timestamp, tx: &Transaction) -> Result<(), Violation> {
        let plan = &self.plans[0];
        let (key, shard) = match tx {
            Transaction::Payment(tx) => (tx.body.sender, shard_of(&tx.body.sender)),
            Transaction::Redeem(tx) => (tx.body.sender, shard_of(&tx.body.sender)),
            Transaction::Mint(tx) => (plan.issuer, shard_of_deposit(&tx.body.deposit_ref)),
        };
        let checked = self.leaves.len().is_multiple_of(self.signature_stride);
        let good = !checked || self.scheme.verify(&key, &transaction_message(&self.chain, tx), tx.signature());
        hold!(good, "signatures of leaves", "committee {committee} executed a transaction nobody signed");
        hold!(self.owner(shard) == committee, "deciding committee", "committee {committee} decided for shard {shard}");
        hold!(tx.amount() >= plan.constants.amount_min, "amounts", "{:?} is below the minimum", tx.amount());
        if let Some(recipient) = tx.recipient() {
            hold!(self.scheme.key_acceptable(&recipient), "recipients", "{recipient:?} is no acceptable key");
        }
        let valid_until = tx.valid_until();
        let alive = valid_until == Timestamp::ZERO || valid_until >= *time;
        hold!(alive, "expiry", "valid until {valid_until:?}, executed at {time:?}");
        Ok(())
    }

    /// Which committee owns a shard, by walking the plan.
    fn owner(&self, shard: ShardId) -> usize {
        let owns = |c: &shardpay_types::CommitteePlan| {
            (usize::from(c.shard_first)..usize::from(c.shard_first) + usize::from(c.shard_count))
                .contains(&shard.index())
        };
        self.plans[0].committees.iter().position(owns).expect("plans cover every shard")
    }

    fn apply_debit(
        &mut self,
        committee: usize,
        debit: &Debit<'_>,
        recipient: Option<PublicKey>,
        id: TxId,
    ) -> Result<Option<usize>, Violation> {
        let before = self.account(committee, &debit.sender);
        let (sender, sequence) = (debit.sender, debit.sequence);
        hold!(
            before.next_sequence == sequence,
            "sequences",
            "{sender:?} executed {sequence}, its next was {}",
            before.next_sequence
        );
        let mut after = AccountState { next_sequence: sequence.next(), ..before };
        let covered = before.balance >= debit.amount;
        let applied = debit.executed.outcome == Outcome::Applied;
        hold!(applied == covered, "overdraft", "{sender:?}: {:?} of {:?}: {applied}", debit.amount, before.balance);
        if applied {
            after.balance = before.balance.checked_sub(debit.amount).expect("covered");
            self.pages[committee].totals.balances -= u128::from(debit.amount.micros());
        }
        self.pages[committee].accounts.insert(sender, after);
        let mut touched = vec![sender];
        let mut destination = None;
        if let (true, Some(payee)) = (applied, recipient) {
            let kind = MessageKind::Credit;
            let message = OutboxMessage { kind, txid: id, payer: sender, payee, amount: debit.amount };
            destination = self.give(committee, message)?;
            if destination.is_none() && payee != sender {
                touched.push(payee);
            }
        }
        self.check_states(committee, &touched, &debit.executed.accounts)?;
        Ok(destination)
    }

    fn apply_mint(
        &mut self,
        committee: usize,
        mint: &Mint,
        executed: &ExecutedTransaction,
        id: TxId,
    ) -> Result<Option<usize>, Violation> {
        hold!(self.deposits.insert(mint.deposit_ref), "one mint per deposit", "{:?} minted twice", mint.deposit_ref);
        hold!(executed.outcome == Outcome::Applied, "mints", "a mint cannot be short of balance");
        let (cap, payer) = (self.plans[0].constants.mint_cap, self.plans[0].issuer);
        let totals = &mut self.pages[committee].totals;
        totals.minted += u128::from(mint.amount.micros());
        hold!(totals.minted <= u128::from(cap.micros()), "mint cap", "committee {committee}: {}", totals.minted);
        self.meet("ledger: minted");
        let kind = MessageKind::MintCredit;
        let message = OutboxMessage { kind, txid: id, payer, payee: mint.recipient, amount: mint.amount };
        let destination = self.give(committee, message)?;
        let touched = if destination.is_none() { vec![mint.recipient] } else { vec![] };
        self.check_states(committee, &touched, &executed.accounts)?;
        Ok(destination)
    }

    /// Credits the payee here, or puts the message in flight; says where to.
    fn give(&mut self, committee: usize, message: OutboxMessage) -> Result<Option<usize>, Violation> {
        let key = if message.kind == MessageKind::Return { message.payer } else { message.payee };
        let destination = self.owner(shard_of(&key));
        if destination == committee {
            self.credit(committee, key, message.amount)?;
            return Ok(None);
        }
        self.pages[committee].totals.sent += u128::from(message.amount.micros());
        self.flight.entry((committee, destination)).or_default().push_back(message);
        self.in_flight += 1;
        self.meet("relay: message sent");
        Ok(Some(destination))
    }

    fn credit(&mut self, committee: usize, key: PublicKey, amount: Amount) -> Result<(), Violation> {
        let mut account = self.account(committee, &key);
        let sum = account.balance.checked_add(amount);
        hold!(sum.is_some(), "overflow", "{key:?} holds {:?} and got {amount:?}", account.balance);
        account.balance = sum.unwrap_or_default();
        self.pages[committee].accounts.insert(key, account);
        self.pages[committee].totals.balances += u128::from(amount.micros());
        Ok(())
    }

    fn check_states(&self, committee: usize, keys: &[PublicKey], states: &[AccountState]) -> Result<(), Violation> {
        let ours: Vec<_> = keys.iter().map(|key| self.account(committee, key)).collect();
        hold!(ours == states, "account states", "committee {committee}: {keys:?} hold {ours:?}, said {states:?}");
        Ok(())
    }

    fn apply_pack(&mut self, committee: usize, executed: &ExecutedPack) -> Result<(), Violation> {
        let pack = &executed.pack;
        let source = pack.source.index();
        let rule = "exactly once, in order";
        hold!(pack.destination.index() == committee, rule, "a pack for committee {}", pack.destination);
        let cursor = self.pages[committee].consumed.get(&source).copied().unwrap_or(0);
        hold!(pack.first == cursor, rule, "{source}→{committee}: from {}, the cursor is {cursor}", pack.first);
        hold!(pack.messages.len() == executed.credits.len(), rule, "messages and credits differ in number");
        let header = &pack.certified.header;
        // A closing header whose record was executed here is believed without its certificate.
        let recorded = header.is_closing() && self.pages[committee].closed.get(&source) == Some(&header.epoch.get());
        if recorded {
            let known = self.header_at(source, header.height);
            let own = known == Some(shardpay_crypto::header_hash(header));
            hold!(own, "certified packs", "closing header {} of committee {source} is not its own", header.height);
        } else {
            self.check_certified(&pack.certified, "certified packs")?;
        }
        if let Some(closed) = self.pages[committee].closed.get(&source) {
            let epoch = header.epoch.get();
            let fresh = epoch > *closed || (epoch == *closed && header.is_closing());
            hold!(fresh, "retired epochs", "{source}→{committee}: a header of epoch {epoch} after {closed} closed");
        }
        for (message, credit) in pack.messages.iter().zip(&executed.credits) {
            let sent = self.flight.get_mut(&(source, committee)).and_then(std::collections::VecDeque::pop_front);
            hold!(sent == Some(*message), rule, "{source}→{committee}: {message:?} credited, {sent:?} sent");
            self.in_flight -= 1;
            self.apply_credit(committee, message, credit)?;
        }
        self.pages[committee].consumed.insert(source, cursor + pack.messages.len() as u64);
        self.meet("relay: pack applied");
        Ok(())
    }

    fn apply_credit(
        &mut self,
        committee: usize,
        message: &OutboxMessage,
        credit: &ExecutedCredit,
    ) -> Result<(), Violation> {
        self.pages[committee].totals.received += u128::from(message.amount.micros());
        let key = if message.kind == MessageKind::Return { message.payer } else { message.payee };
        match credit.outcome {
            CreditOutcome::Applied => {
                self.credit(committee, key, message.amount)?;
                let state = self.account(committee, &key);
                hold!(credit.account == Some(state), "account states", "{key:?} holds {state:?}: {credit:?}");
            }
            CreditOutcome::Returned => {
                hold!(message.kind == MessageKind::Credit, "returns", "{:?} returned", message.kind);
                self.give(committee, OutboxMessage { kind: MessageKind::Return, ..*message })?;
            }
            CreditOutcome::Suspended => {
                self.pages[committee].totals.suspense += u128::from(message.amount.micros());
            }
        }
        Ok(())
    }

    fn apply_closing(&mut self, committee: usize, record: &ClosingRecord) -> Result<(), Violation> {
        let header = &record.certified.header;
        let source = header.committee.index();
        let rule = "closing records";
        self.check_certified(&record.certified, rule)?;
        hold!(header.next_plan == Some(plan_hash(&record.plan)), rule, "committee {source}: not the plan it named");
        let epoch = header.epoch.get();
        let due = self.pages[committee].closed.get(&source).map_or(0, |last| last + 1);
        hold!(epoch == due, rule, "{source}→{committee}: epoch {epoch} recorded, {due} was due");
        self.pages[committee].closed.insert(source, epoch);
        self.meet("epoch: closing of another committee recorded");
        Ok(())
    }

    fn apply_epoch_change(&mut self, committee: usize, change: &EpochChange) -> Result<(), Violation> {
        self.check_approvals(change)?;
        let epoch = self.pages[committee].epoch + 1;
        let rule = "epoch closing";
        hold!(change.plan.epoch.get() as usize == epoch, rule, "committee {committee}: plan of another epoch");
        match self.plans.get(epoch) {
            Some(plan) => hold!(**plan == change.plan, rule, "two plans for epoch {epoch}"),
            None => self.plans.push(Arc::new(change.plan.clone())),
        }
        self.pages[committee].epoch = epoch;
        self.meet("epoch: closed");
        Ok(())
    }
}
