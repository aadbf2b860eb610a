//! Checkpoints: the whole state in one hash (DESIGN §7, at an epoch's end).
//!
//! The state root is the RFC 9162 root over five leaves, one per section, each `STATE ‖ section number ‖
//! content`: the accounts and the deposit references enter by their own roots (over `STATE ‖ entry` leaves
//! in ascending order) and counts; cursors with their amounts, keysets and totals by their encodings.
//! So single accounts can be proven against a checkpoint. Outboxes stand in the header it names.

use shardpay_crypto::{Frontier, domain, leaf_hash, root};
use shardpay_types::{Checkpoint, Codec, Hash};

use crate::api::{Store, StoreError};
use crate::ledger::Ledger;

impl<S: Store> Ledger<S> {
    /// The checkpoint of the state as executed. Members agree on it where they stand at one height; the
    /// one that is signed is taken when the closing block was executed.
    pub fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        Ok(Checkpoint {
            chain: self.judge.chain,
            committee: self.judge.own,
            epoch: self.head.epoch,
            height: self.head.height,
            header: self.head.hash,
            state_root: self.state_root()?,
        })
    }

    fn state_root(&self) -> Result<Hash, StoreError> {
        let mut accounts: Vec<_> = self.books.accounts().iter().collect();
        accounts.sort_unstable_by_key(|(key, _)| *key);
        let mut account_log = Frontier::new();
        for (key, state) in &accounts {
            let mut content = domain::STATE.to_vec();
            key.encode(&mut content);
            state.encode(&mut content);
            account_log.append(leaf_hash(&content));
        }
        let mut deposit_log = Frontier::new();
        self.store.deposits(&mut |deposit| {
            let mut content = domain::STATE.to_vec();
            deposit.encode(&mut content);
            deposit_log.append(leaf_hash(&content));
        })?;
        let mut cursors = Vec::new();
        self.links.trees.inbox.leaves().iter().for_each(|leaf| leaf.encode(&mut cursors));
        let mut keysets = Vec::new();
        for keyset in &self.links.keysets {
            keyset.epoch().encode(&mut keysets);
            keyset.plan_hash.encode(&mut keysets);
            keyset.closing.encode(&mut keysets);
        }
        let counted = |log: &Frontier| [log.count().to_bytes(), log.root().to_bytes()].concat();
        let sections = [counted(&account_log), counted(&deposit_log), cursors, keysets, self.books.totals().to_bytes()];
        let leaves =
            (0u8..).zip(&sections).map(|(number, content)| leaf_hash(&[domain::STATE, &[number], content].concat()));
        Ok(root(&leaves.collect::<Vec<_>>()))
    }
}
