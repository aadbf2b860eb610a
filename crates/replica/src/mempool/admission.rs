//! What a client's transaction must pass before it is held: cheap checks that spare everybody a proposal
//! that could only fail. None of them is validity; execution decides again.

use shardpay_crypto::{IdentifiedTransaction, Verified, shard_of, shard_of_deposit};
use shardpay_ledger::TxReject;
use shardpay_types::{AccountState, PublicKey, Sequence, ShardId, Timestamp, Transaction, TxId};

use super::sender::{Sender, is_fresher};
use super::{Key, Mempool};
use crate::api::{Answer, ClientToken, Refusal};

/// Why a transaction is not taken in.
enum Stop {
    Busy,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<TxReject> for Stop {
    fn from(reject: TxReject) -> Self {
        Self::Refused(Refusal::Ledger(reject))
    }
}

impl Mempool {
    /// Holds a client's transaction, or says why not. `given`: the debited account as the driver read it.
    pub(crate) fn submit(
        &mut self,
        client: ClientToken,
        transaction: &Verified<IdentifiedTransaction>,
        given: AccountState,
    ) -> Answer {
        match self.admit(client, transaction, given) {
            Ok(()) => Answer::Accepted,
            Err(Stop::Refused(refusal)) => Answer::Rejected(refusal),
            Err(Stop::Busy) => self.busy(),
        }
    }

    /// "Try again later".
    pub(crate) fn busy(&self) -> Answer {
        Answer::Busy { retry_after_ms: u32::try_from(self.limits.retry_after.as_millis()).unwrap_or(u32::MAX) }
    }

    fn admit(
        &mut self,
        client: ClientToken,
        held: &Verified<IdentifiedTransaction>,
        given: AccountState,
    ) -> Result<(), Stop> {
        if self.keys.contains_key(&held.txid) {
            return self.subscribe(client, &held.txid);
        }
        self.check_static(&held.transaction)?;
        let key = Key::of(&held.transaction);
        if self.entry(&key).is_some() {
            return Err(Refusal::SequencePending.into());
        }
        match key {
            Key::Mint(_) => self.check_mint(&held.transaction)?,
            Key::Debit(account, sequence) => self.check_debit(account, sequence, &held.transaction, given)?,
        }
        if let Key::Debit(account, _) = key {
            let state = self.freshest(&account, given);
            self.account_moved(&account, state);
        }
        if !self.make_room(held.transaction.encoded_len(), self.is_executable(&key, given)) {
            return Err(Stop::Busy);
        }
        if let Key::Debit(account, _) = key {
            let state = self.freshest(&account, given);
            self.senders.entry(account).or_insert_with(|| Sender::new(state));
        }
        self.insert(**held, vec![client]);
        Ok(())
    }

    /// The same transaction again: one more client waits for it.
    fn subscribe(&mut self, client: ClientToken, txid: &TxId) -> Result<(), Stop> {
        let clients_max = self.limits.clients_max;
        let key = self.keys.get(txid).copied().expect("the caller looked it up");
        let clients = &mut self.entry_mut(&key).clients;
        if clients.contains(&client) {
            return Ok(());
        }
        if clients.len() >= clients_max {
            return Err(Stop::Busy);
        }
        clients.push(client);
        Ok(())
    }

    fn check_static(&self, transaction: &Transaction) -> Result<(), Stop> {
        if !self.committee.owns(deciding_shard(transaction)) {
            return Err(TxReject::WrongCommittee.into());
        }
        if transaction.amount() < self.constants.amount_min {
            return Err(TxReject::AmountTooSmall.into());
        }
        let until = transaction.valid_until();
        if until != Timestamp::ZERO && until < self.clock.time {
            return Err(TxReject::Expired.into());
        }
        Ok(())
    }

    fn check_mint(&self, transaction: &Transaction) -> Result<(), Stop> {
        let after = self.clock.minted.micros().checked_add(u128::from(transaction.amount().micros()));
        if after.is_none_or(|minted| minted > u128::from(self.constants.mint_cap.micros())) {
            return Err(TxReject::MintCapReached.into());
        }
        Ok(())
    }

    fn check_debit(
        &self,
        account: PublicKey,
        sequence: Sequence,
        transaction: &Transaction,
        given: AccountState,
    ) -> Result<(), Stop> {
        let state = self.freshest(&account, given);
        if sequence < state.next_sequence {
            return Err(TxReject::SequenceUsed.into());
        }
        let sender = self.senders.get(&account);
        let held = sender.map_or(0, |sender| sender.entries.len());
        if held >= self.limits.per_sender_max {
            return Err(Stop::Busy);
        }
        let ready_end = sender.map_or(state.next_sequence, |sender| sender.ready_end.max(state.next_sequence));
        if sequence > ready_end.plus(u64::from(self.constants.future_sequences_max)) {
            return Err(Refusal::TooFarAhead.into());
        }
        let pending = sender.filter(|sender| !sender.guessed).map_or(0, |sender| sender.pending);
        if pending + u128::from(transaction.amount().micros()) > u128::from(state.balance.micros()) {
            return Err(Refusal::ShortBalance.into());
        }
        Ok(())
    }

    /// Whether the transaction would go into the next own block.
    fn is_executable(&self, key: &Key, given: AccountState) -> bool {
        match key {
            Key::Mint(_) => true,
            Key::Debit(account, sequence) => {
                let next = self.freshest(account, given).next_sequence;
                *sequence == self.senders.get(account).map_or(next, |sender| sender.ready_end)
            }
        }
    }

    /// The latest of what is known about an account.
    fn freshest(&self, account: &PublicKey, given: AccountState) -> AccountState {
        let held = self.senders.get(account).filter(|sender| !sender.guessed).map(|sender| sender.state);
        [held, self.recent.get(account)]
            .into_iter()
            .flatten()
            .fold(given, |best, state| if is_fresher(&state, &best) { state } else { best })
    }
}

/// The shard whose committee decides the transaction.
fn deciding_shard(transaction: &Transaction) -> ShardId {
    match transaction {
        Transaction::Payment(tx) => shard_of(&tx.body.sender),
        Transaction::Redeem(tx) => shard_of(&tx.body.sender),
        Transaction::Mint(tx) => shard_of_deposit(&tx.body.deposit_ref),
    }
}
