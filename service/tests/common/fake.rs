//! A ledger in memory behind the service's seam: executes what is submitted at once, in blocks that a test
//! hands to the follower when it likes. Keeps its own books, by which tests judge.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use shardpay_client::ReceiptFile;
use shardpay_crypto::{IdentifiedTransaction, Keypair, Signer as _, chain_id};
use shardpay_service::clock::Clock;
use shardpay_service::ledger::facts::{BlockFacts, ExecutedFact, LeafFact};
use shardpay_service::ledger::port::{Later, ProofPlace};
use shardpay_service::ledger::{Ledger, LedgerError, LedgerEvent};
use shardpay_types::{
    AccountState, Amount, ChainId, CommitteeId, CommitteePlan, Constants, DepositRef, Epoch, Height, List, Outcome,
    Plan, PlanHash, PublicKey, Sequence, Timestamp, Total, Totals, Transaction, TxId, Version,
};

/// The issuer's seed.
pub const ISSUER: [u8; 32] = [9; 32];

/// A plan of one committee of one member.
pub fn plan() -> Plan {
    let member = Keypair::from_seed(&[8; 32]).public_key();
    let committee = CommitteePlan { shard_first: 0, shard_count: 4_096, members: List::bounded(vec![member]) };
    Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [1; 32],
        issuer: Keypair::from_seed(&ISSUER).public_key(),
        constants: Constants::standard(1),
        committees: List::bounded(vec![committee]),
    }
}

#[derive(Default)]
struct Books {
    accounts: HashMap<PublicKey, AccountState>,
    deposits: HashSet<DepositRef>,
    executed: HashSet<TxId>,
    blocks: Vec<BlockFacts>,
    minted: u64,
    burned: u64,
}

/// The ledger.
pub struct Fake {
    plan: Plan,
    chain: ChainId,
    books: Mutex<Books>,
    clock: Option<Clock>,
}

impl Default for Fake {
    fn default() -> Self {
        let plan = plan();
        Self { chain: chain_id(&plan), plan, books: Mutex::default(), clock: None }
    }
}

impl Fake {
    /// A ledger whose time is that of a clock; else blocks are a microsecond apart.
    pub fn telling(clock: Clock) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// Blocks above a height.
    pub fn blocks_above(&self, height: Height) -> Vec<LedgerEvent> {
        let books = self.books.lock().unwrap();
        let later = books.blocks.iter().filter(|block| block.height > height);
        later.cloned().map(LedgerEvent::Block).collect()
    }

    /// Coins ever created and redeemed, and how many deposits were used.
    pub fn sums(&self) -> (u64, u64, usize) {
        let books = self.books.lock().unwrap();
        (books.minted, books.burned, books.deposits.len())
    }

    /// An account.
    pub fn account(&self, key: &PublicKey) -> AccountState {
        self.books.lock().unwrap().accounts.get(key).copied().unwrap_or(AccountState::EMPTY)
    }

    fn execute(&self, signed: &IdentifiedTransaction) {
        let mut guard = self.books.lock().unwrap();
        let books = &mut *guard;
        let transaction = signed.transaction;
        let amount = transaction.amount();
        let state = |books: &Books, key: &PublicKey| books.accounts.get(key).copied().unwrap_or(AccountState::EMPTY);
        let mut outcome = Outcome::Applied;
        if let Some((sender, sequence)) = transaction.debit() {
            let mut payer = state(books, &sender);
            if payer.next_sequence != sequence {
                return;
            }
            payer.next_sequence = Sequence::new(sequence.get() + 1);
            match payer.balance.checked_sub(amount) {
                Some(rest) => payer.balance = rest,
                None => outcome = Outcome::ShortBalance,
            }
            books.accounts.insert(sender, payer);
        }
        match &transaction {
            Transaction::Mint(mint) if !books.deposits.insert(mint.body.deposit_ref) => return,
            Transaction::Mint(_) => books.minted += amount.micros(),
            Transaction::Redeem(_) if outcome == Outcome::Applied => books.burned += amount.micros(),
            Transaction::Redeem(_) | Transaction::Payment(_) => {}
        }
        if let Some(payee) = transaction.recipient().filter(|_| outcome == Outcome::Applied) {
            let mut account = state(books, &payee);
            account.balance = Amount::from_micros(account.balance.micros() + amount.micros());
            books.accounts.insert(payee, account);
        }
        assert!(books.executed.insert(signed.txid), "sequences and deposits make a transaction execute once");
        let debited = transaction.debit().map(|(sender, _)| sender);
        let credited = transaction.recipient().filter(|to| outcome == Outcome::Applied && debited != Some(*to));
        let states: Vec<AccountState> = debited.into_iter().chain(credited).map(|key| state(books, &key)).collect();
        let what = (transaction, outcome);
        let fact = ExecutedFact::new(&self.plan, CommitteeId::at(0), (0, signed.txid), what, &states);
        let total = |micros: u64| Total::from_micros(u128::from(micros));
        let totals = Totals {
            balances: total(books.minted - books.burned),
            burned: total(books.burned),
            minted: total(books.minted),
            ..Totals::ZERO
        };
        let height = Height::new(books.blocks.len() as u64 + 1);
        books.blocks.push(BlockFacts {
            committee: CommitteeId::at(0),
            height,
            ledger_time: Timestamp::from_micros(self.clock.as_ref().map_or(height.get(), Clock::now_us)),
            totals,
            leaves: vec![LeafFact::Executed(fact)],
        });
    }
}

impl Ledger for Fake {
    fn genesis(&self) -> &Plan {
        &self.plan
    }

    fn chain(&self) -> &ChainId {
        &self.chain
    }

    fn balance(&self, key: PublicKey) -> Later<'_, Result<(Height, AccountState), LedgerError>> {
        let height = Height::new(self.books.lock().unwrap().blocks.len() as u64);
        let state = self.account(&key);
        Box::pin(async move { Ok((height, state)) })
    }

    fn submit(&self, transaction: IdentifiedTransaction) {
        self.execute(&transaction);
    }

    fn settle(&self, _: TxId) {}

    fn past(&self, _: CommitteeId, _: PublicKey, height: Height) -> Later<'_, Result<Vec<BlockFacts>, LedgerError>> {
        let books = self.books.lock().unwrap();
        let blocks = books.blocks.iter().filter(|block| block.height <= height).cloned().collect();
        Box::pin(async move { Ok(blocks) })
    }

    fn receipt_file(&self, _: ProofPlace) -> Later<'_, Result<ReceiptFile, LedgerError>> {
        Box::pin(async move { Err(LedgerError::Other("no proofs in memory".to_owned())) })
    }
}
