//! Accounts and deposit references written behind the payment path.
//!
//! A ledger batch leaves its accounts in memory; [`Behind::flush`] writes them sorted and coalesced, in
//! pieces so that no other writer waits long, and last of all the height they are of. What the disk holds
//! between two pieces is a mix of states, each of a height between the flushed one and the tip; every
//! account that is newer than the flushed height stands in a block above it. So applying those blocks gives
//! the state of the tip wherever a crash cuts the log.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use foldhash::fast::SeedableRandomState;
use shardpay_types::{AccountState, Codec, DepositRef, Height, LedgerBlock, PublicKey};

use crate::db::Db;
use crate::error::StorageError;
use crate::keys;
use crate::replay::{Changes, replay};
use crate::tables::Table;

/// Entries written in one batch: some 100 KB of log, below 5 ms.
const PIECE_ENTRIES: usize = 1_024;

/// Changes not on disk yet.
#[derive(Debug)]
pub(crate) struct Unflushed {
    accounts: HashMap<PublicKey, AccountState, SeedableRandomState>,
    deposits: HashSet<DepositRef, SeedableRandomState>,
    /// The height they are of.
    height: Height,
    /// Bytes of the blocks they come from.
    block_bytes: usize,
}

impl Unflushed {
    fn new(height: Height) -> Self {
        // Keys are chosen by clients: the seed is secret.
        let seed = RandomState::new().hash_one(0);
        let state = SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed());
        let (accounts, deposits) = (HashMap::with_hasher(state.clone()), HashSet::with_hasher(state));
        Self { accounts, deposits, height, block_bytes: 0 }
    }

    /// Puts what is older below what stands here.
    fn take_back(&mut self, older: &Self) {
        for (key, state) in &older.accounts {
            self.accounts.entry(*key).or_insert(*state);
        }
        self.deposits.extend(&older.deposits);
        self.block_bytes += older.block_bytes;
    }

    /// Number of accounts and deposit references.
    fn len(&self) -> usize {
        self.accounts.len() + self.deposits.len()
    }
}

impl Changes for Unflushed {
    fn account(&mut self, key: PublicKey, state: AccountState) {
        self.accounts.insert(key, state);
    }
    fn deposit(&mut self, deposit: DepositRef) {
        self.deposits.insert(deposit);
    }
}

/// How much waits to be flushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Accounts and deposit references.
    pub entries: usize,
    /// Bytes of the blocks above the flushed height.
    pub block_bytes: usize,
}

/// The changes not on disk, in two generations.
pub(crate) struct Behind {
    db: Arc<Db>,
    state: Mutex<State>,
    /// Held while flushing: one flush at a time.
    flushing: Mutex<()>,
}

struct State {
    /// Collected since the last flush began.
    fresh: Unflushed,
    /// Being flushed.
    leaving: Option<Arc<Unflushed>>,
    /// On disk is the state of this height, or newer where a flush is under way.
    flushed: Height,
}

impl Behind {
    /// Reads what the disk lacks from the blocks above the flushed height.
    pub(crate) fn recover(db: Arc<Db>) -> Result<Self, StorageError> {
        let flushed = db.read(Table::Meta, keys::meta::FLUSHED)?.unwrap_or(Height::ZERO);
        let mut fresh = Unflushed::new(flushed);
        for entry in db.scan(Table::Blocks, &keys::height(flushed.next()), None) {
            let (key, bytes) = entry?;
            let expected = fresh.height.next();
            if *key != keys::height(expected) {
                return Err(db.corrupt(format!("ledger block {expected} is missing")));
            }
            let block: LedgerBlock = db.decode(Table::Blocks, &bytes)?;
            replay(&block, &mut fresh);
            fresh.height = expected;
            fresh.block_bytes += bytes.len();
        }
        let state = Mutex::new(State { fresh, leaving: None, flushed });
        Ok(Self { db, state, flushing: Mutex::new(()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the unflushed changes")
    }

    /// The height of the last block.
    pub(crate) fn height(&self) -> Height {
        self.state().fresh.height
    }

    /// The height up to which accounts are on disk.
    pub(crate) fn flushed(&self) -> Height {
        self.state().flushed
    }

    /// How much waits.
    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.state();
        let leaving = state.leaving.as_ref().map_or(0, |leaving| leaving.len());
        Waiting { entries: state.fresh.len() + leaving, block_bytes: state.fresh.block_bytes }
    }

    /// Takes what blocks up to `height`, of so many bytes, changed. Returns what waits now.
    pub(crate) fn take(
        &self,
        accounts: Vec<(PublicKey, AccountState)>,
        deposits: Vec<DepositRef>,
        height: Height,
        block_bytes: usize,
    ) -> Waiting {
        let mut state = self.state();
        let fresh = &mut state.fresh;
        fresh.accounts.extend(accounts);
        fresh.deposits.extend(deposits);
        fresh.height = fresh.height.max(height);
        fresh.block_bytes += block_bytes;
        Waiting { entries: fresh.len(), block_bytes: fresh.block_bytes }
    }

    /// Whether a deposit reference was consumed.
    pub(crate) fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StorageError> {
        let state = self.state();
        let leaving = state.leaving.as_ref().is_some_and(|leaving| leaving.deposits.contains(deposit));
        if leaving || state.fresh.deposits.contains(deposit) {
            return Ok(true);
        }
        drop(state);
        // What left memory in between is on disk.
        self.db.get(Table::Deposits, deposit.as_bytes()).map(|found| found.is_some())
    }

    /// Writes what was collected. Returns the number of entries. After a failure all of it waits again: the disk
    /// holds a part of it, the flushed height is as before. `rest` is called after each piece with the time it took.
    pub(crate) fn flush(&self, rest: &mut dyn FnMut(Duration)) -> Result<usize, StorageError> {
        let _one_at_a_time = self.flushing.lock().expect("flushing does not panic");
        let leaving = {
            let mut state = self.state();
            if state.fresh.height == state.flushed {
                return Ok(0);
            }
            let next = Unflushed::new(state.fresh.height);
            let leaving = Arc::new(std::mem::replace(&mut state.fresh, next));
            state.leaving = Some(leaving.clone());
            leaving
        };
        let written = self.write(&leaving, rest);
        let mut state = self.state();
        state.leaving = None;
        if let Err(error) = written {
            state.fresh.take_back(&leaving);
            return Err(error);
        }
        state.flushed = leaving.height;
        Ok(leaving.len())
    }

    fn write(&self, leaving: &Unflushed, rest: &mut dyn FnMut(Duration)) -> Result<(), StorageError> {
        let mut deposits: Vec<_> = leaving.deposits.iter().collect();
        deposits.sort_unstable();
        for piece in deposits.chunks(PIECE_ENTRIES) {
            let start = Instant::now();
            let mut batch = self.db.batch();
            piece.iter().for_each(|deposit| batch.put(Table::Deposits, deposit.as_bytes(), &[]));
            batch.write_sorted()?;
            rest(start.elapsed());
        }
        let mut accounts: Vec<_> = leaving.accounts.iter().collect();
        accounts.sort_unstable_by_key(|(key, _)| **key);
        let mut value = Vec::with_capacity(AccountState::MIN_LEN);
        for piece in accounts.chunks(PIECE_ENTRIES) {
            let start = Instant::now();
            let mut batch = self.db.batch();
            for (key, state) in piece {
                value.clear();
                state.encode(&mut value);
                batch.put(Table::Accounts, key.as_bytes(), &value);
            }
            batch.write_sorted()?;
            rest(start.elapsed());
        }
        let mut batch = self.db.batch();
        batch.put(Table::Meta, keys::meta::FLUSHED, &leaving.height.to_bytes());
        batch.write()
    }

    /// Calls `each` with every account, ascending, as of the last block.
    pub(crate) fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StorageError> {
        let mut newer: BTreeMap<PublicKey, AccountState> = BTreeMap::new();
        let state = self.state();
        let generations = state.leaving.as_deref().into_iter().chain([&state.fresh]);
        generations.for_each(|generation| newer.extend(&generation.accounts));
        drop(state);
        let mut newer = newer.into_iter().peekable();
        for entry in self.db.scan(Table::Accounts, &[], None) {
            let (key, bytes) = entry?;
            let key = PublicKey(self.db.array(Table::Accounts, &key)?);
            while let Some((key, state)) = newer.next_if(|(other, _)| *other < key) {
                each(key, state);
            }
            let state = match newer.next_if(|(other, _)| *other == key) {
                Some((_, state)) => state,
                None => self.db.decode(Table::Accounts, &bytes)?,
            };
            each(key, state);
        }
        newer.for_each(|(key, state)| each(key, state));
        Ok(())
    }

    /// Calls `each` with every deposit reference, ascending, as of the last block.
    pub(crate) fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StorageError> {
        let mut newer: BTreeSet<DepositRef> = BTreeSet::new();
        let state = self.state();
        let generations = state.leaving.as_deref().into_iter().chain([&state.fresh]);
        generations.for_each(|generation| newer.extend(&generation.deposits));
        drop(state);
        let mut newer = newer.into_iter().peekable();
        for entry in self.db.scan(Table::Deposits, &[], None) {
            let deposit = DepositRef(self.db.array(Table::Deposits, &entry?.0)?);
            while let Some(other) = newer.next_if(|other| *other <= deposit) {
                if other != deposit {
                    each(other);
                }
            }
            each(deposit);
        }
        newer.for_each(each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rocksdb::{ColumnFamilyDescriptor, DB, Options};
    use shardpay_types::{Amount, Sequence};

    use super::*;

    fn tables() -> impl Iterator<Item = ColumnFamilyDescriptor> {
        Table::ALL.iter().map(|table| ColumnFamilyDescriptor::new(table.name(), Options::default()))
    }

    fn made(dir: &std::path::Path) -> DB {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        DB::open_cf_descriptors(&options, dir, tables()).expect("made")
    }

    /// A database that is read only: every flush fails, as on a full disk.
    fn full(dir: &std::path::Path) -> Arc<Db> {
        drop(made(dir));
        let inner = DB::open_cf_descriptors_read_only(&Options::default(), dir, tables(), false);
        Arc::new(Db::new(inner.expect("opened"), dir))
    }

    #[test]
    fn a_flush_that_fails_loses_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let behind = Behind::recover(full(dir.path())).expect("an empty store");
        let state = |balance| AccountState { balance: Amount::from_micros(balance), next_sequence: Sequence::new(0) };
        let account = |n, balance| (PublicKey([n; 32]), state(balance));
        let all = || {
            let mut all = Vec::new();
            behind.accounts(&mut |key, state| all.push((key, state))).expect("read");
            all
        };
        behind.take(vec![account(1, 10), account(2, 20)], vec![DepositRef([1; 32])], Height::new(1), 100);
        assert!(behind.flush(&mut |_| ()).is_err());
        assert_eq!((behind.flushed(), behind.waiting().entries), (Height::ZERO, 3));
        // newer values stand above those that come back
        behind.take(vec![account(2, 21), account(3, 30)], vec![DepositRef([2; 32])], Height::new(2), 50);
        for _ in 0..3 {
            assert!(behind.flush(&mut |_| ()).is_err());
            assert_eq!(all(), [account(1, 10), account(2, 21), account(3, 30)]);
            let used = [1, 2, 3].map(|n| behind.deposit_used(&DepositRef([n; 32])).expect("read"));
            assert_eq!(used, [true, true, false]);
            let waiting = behind.waiting();
            assert_eq!((behind.height(), waiting.entries, waiting.block_bytes), (Height::new(2), 5, 150));
        }
    }

    #[test]
    fn while_a_flush_rests_everything_is_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let behind = Behind::recover(Arc::new(Db::new(made(dir.path()), dir.path()))).expect("an empty store");
        let count = 2 * PIECE_ENTRIES + 1;
        let key = |n: usize| PublicKey(std::array::from_fn(|at| if at < 8 { n.to_be_bytes()[at] } else { 0 }));
        let state = |balance| AccountState { balance: Amount::from_micros(balance), next_sequence: Sequence::new(0) };
        let written = |balance| (0..count).map(|n| (key(n), state(balance))).collect::<Vec<_>>();
        behind.take(written(1), Vec::new(), Height::new(1), 100);
        let mut rests = 0;
        let flush = behind.flush(&mut |_| {
            rests += 1;
            // what is taken in meanwhile stands above what is being written
            behind.take(vec![(key(rests), state(9))], Vec::new(), Height::new(1 + rests as u64), 10);
            let mut found = Vec::new();
            behind.accounts(&mut |key, state| found.push((key, state))).expect("read");
            let mut expected = written(1);
            expected[1..=rests].iter_mut().for_each(|(_, found)| *found = state(9));
            assert_eq!(found, expected);
            assert_eq!(behind.flushed(), Height::ZERO);
        });
        assert_eq!((flush.expect("written"), rests), (count, 3));
        assert_eq!((behind.flushed(), behind.waiting().entries), (Height::new(1), 3));
    }
}
