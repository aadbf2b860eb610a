//! What is known of the ledger, in memory: users' accounts and each committee's newest block.
//!
//! Guarantees: an account's state is that after a certified height which is told with it. It is right at the
//! committee's newest height too, since later blocks that touch it would have changed it. What stands here was
//! written to the store before, or can be learnt from the ledger again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use shardpay_types::{AccountState, CommitteeId, Height, PublicKey, Timestamp, Totals};

/// A committee whose stream told nothing for so long is called stale.
const FRESH_US: u64 = 10_000_000;

/// An account as it was after a certified height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAccount {
    /// Balance and next sequence.
    pub state: AccountState,
    /// After this height.
    pub height: Height,
}

/// A committee's newest block.
#[derive(Debug, Clone, Copy)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its ledger time.
    pub ledger_time: Timestamp,
    /// The books after it.
    pub totals: Totals,
    /// When it was last known to be the newest.
    pub fresh_us: u64,
}

impl Tip {
    /// Whether the service has lost touch with the committee.
    pub const fn stale(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.fresh_us) > FRESH_US
    }
}

/// The view.
#[derive(Debug, Default)]
pub struct View {
    accounts: RwLock<HashMap<PublicKey, KnownAccount>>,
    tips: RwLock<Vec<Tip>>,
    /// Height of the newest block that was looked through for users' accounts, by committee.
    read: Vec<AtomicU64>,
}

impl View {
    /// A view of so many committees, of which nothing is known.
    pub fn new(committees: usize) -> Self {
        let nothing = Tip { height: Height::ZERO, ledger_time: Timestamp::ZERO, totals: Totals::ZERO, fresh_us: 0 };
        Self {
            accounts: RwLock::default(),
            tips: RwLock::new(vec![nothing; committees]),
            read: (0..committees).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// A committee's newest block.
    pub fn tip(&self, committee: CommitteeId) -> Tip {
        self.tips.read().unwrap_or_else(PoisonError::into_inner)[committee.index()]
    }

    /// Moves a committee's tip.
    pub fn set_tip(&self, committee: CommitteeId, tip: Tip) {
        self.tips.write().unwrap_or_else(PoisonError::into_inner)[committee.index()] = tip;
    }

    /// The tip is known to be the newest now.
    pub fn set_fresh(&self, committee: CommitteeId, now_us: u64) {
        self.tips.write().unwrap_or_else(PoisonError::into_inner)[committee.index()].fresh_us = now_us;
    }

    /// A block is about to be looked through: accounts tracked from now on may be missed in it.
    pub fn set_read(&self, committee: CommitteeId, height: Height) {
        self.read[committee.index()].fetch_max(height.get(), Ordering::SeqCst);
    }

    /// Height up to which an account tracked just now may have been missed.
    pub fn read(&self, committee: CommitteeId) -> Height {
        Height::new(self.read[committee.index()].load(Ordering::SeqCst)).max(self.tip(committee).height)
    }

    /// A user's account.
    pub fn account(&self, key: &PublicKey) -> Option<KnownAccount> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Whether an account is a user's.
    pub fn tracks(&self, key: &PublicKey) -> bool {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Stops tracking an account.
    pub fn forget(&self, key: &PublicKey) {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Notes an account's state, unless a later one is known.
    pub fn set_account(&self, key: PublicKey, account: KnownAccount) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        let known = accounts.entry(key).or_insert(account);
        if known.height <= account.height {
            *known = account;
        }
    }
}
