//! The small structures against plain models: accounts with rollback, committee trees, the header log.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shardpay_crypto::{MerkleLog, leaf_hash, root, sha256, verify_inclusion};
use shardpay_types::{AccountState, Amount, CommitteeId, Hash, HeaderHash, OutboxLeaf, PublicKey, Sequence, Total};

use crate::accounts::Accounts;
use crate::history::{self, History};
use crate::roots::{CommitteeTree, tree_leaf};

fn key(n: u64) -> PublicKey {
    PublicKey(sha256(&[&n.to_le_bytes()]))
}

fn state(balance: u64) -> AccountState {
    AccountState { balance: Amount::from_micros(balance), next_sequence: Sequence::new(balance / 3) }
}

#[derive(Debug, Clone)]
enum Step {
    Write { key: u64, balance: u64 },
    EndBlock,
    Settle,
    RollBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0u64..200, 0u64..1_000).prop_map(|(key, balance)| Step::Write { key, balance }),
        3 => Just(Step::EndBlock),
        1 => Just(Step::Settle),
        1 => Just(Step::RollBack),
    ]
}

fn contents(accounts: &Accounts) -> BTreeMap<PublicKey, AccountState> {
    accounts.iter().collect()
}

proptest! {
    #[test]
    fn accounts_are_a_map_that_can_go_back(seed in any::<u64>(), steps in prop::collection::vec(step(), 0..400)) {
        let mut accounts = Accounts::new(seed, 0);
        let (mut now, mut settled) = (BTreeMap::new(), BTreeMap::new());
        let (mut in_block, mut since) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Write { key: n, balance } => {
                    let (key, state) = (key(n), state(balance));
                    match accounts.find(&key) {
                        Some(slot) => accounts.set(slot, state),
                        None => drop(accounts.create(key, state)),
                    }
                    now.insert(key, state);
                    in_block.insert(key);
                    since.insert(key);
                }
                Step::EndBlock => {
                    accounts.end_block();
                    in_block.clear();
                }
                Step::Settle => {
                    accounts.settle();
                    settled = now.clone();
                    (in_block, since) = Default::default();
                }
                Step::RollBack => {
                    accounts.roll_back();
                    now = settled.clone();
                    (in_block, since) = Default::default();
                }
            }
            let changed = accounts.changed_sorted();
            prop_assert_eq!(changed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), in_block.iter().copied().collect::<Vec<_>>());
            prop_assert!(changed.iter().all(|(key, state)| now.get(key) == Some(state)));
            let touched: BTreeSet<PublicKey> = accounts.changed().map(|slot| accounts.key(slot)).collect();
            prop_assert_eq!(&touched, &since);
        }
        accounts.warm(now.keys().chain([&key(999)]));
        prop_assert_eq!(contents(&accounts), now.clone());
        prop_assert_eq!((accounts.len(), accounts.is_empty()), (now.len(), now.is_empty()));
        for n in 0..220 {
            let expected = now.get(&key(n)).copied();
            prop_assert_eq!(accounts.find(&key(n)).map(|slot| accounts.state(slot)), expected);
            prop_assert_eq!(accounts.get(&key(n)), expected.unwrap_or(AccountState::EMPTY));
        }
    }

    #[test]
    fn header_paths_come_from_stored_nodes(count in 1u64..600, index in any::<u64>()) {
        let (mut history, mut log, mut nodes) = (History::default(), MerkleLog::new(), Vec::new());
        for n in 0..600u64 {
            prop_assert_eq!(history.root(), log.root());
            let header = HeaderHash(sha256(&[&n.to_le_bytes()]));
            history.append(&header, &mut nodes);
            log.append(leaf_hash(header.as_bytes()));
        }
        let stored: BTreeMap<(u8, u64), Hash> = nodes.iter().map(|(level, at, hash)| ((*level, *at), *hash)).collect();
        prop_assert_eq!(stored.len(), nodes.len(), "each node once");
        let index = index % count;
        let read = |place| Ok::<_, ()>(stored.get(&place).copied());
        prop_assert_eq!(history::inclusion(index, count, read), Ok(log.inclusion(index, count)));
        prop_assert_eq!(history::inclusion(count, count, read), Ok(None));
        prop_assert_eq!(history::inclusion(0, count + 1_000, read), Ok(None), "missing nodes");
        prop_assert_eq!(history::inclusion(index, count.max(2), |_| Err(7)), Err(7));
    }
}

#[test]
fn committee_trees_of_every_size_follow_the_rfc() {
    for committees in 1..=70 {
        let mut tree = CommitteeTree::<OutboxLeaf>::empty(committees);
        for step in 0..committees * 2 {
            let hashes: Vec<Hash> = tree.leaves().iter().map(tree_leaf).collect();
            assert_eq!(tree.root(), root(&hashes));
            let (destination, count) = (CommitteeId::at(step * 7 % committees), step as u64);
            let path = tree.path(destination).expect("a committee");
            assert_eq!((path.index, path.count), (destination.index() as u64, committees as u64));
            assert!(verify_inclusion(&tree.root(), &hashes[destination.index()], &path));
            let amount = Total::from_micros(u128::from(count));
            tree.set(OutboxLeaf { destination, count, amount, root: Hash([step as u8; 32]) });
            assert_eq!(tree.leaf(destination).map(|leaf| leaf.count), Some(count));
        }
        assert_eq!(tree.path(CommitteeId::at(committees)), None);
    }
}
