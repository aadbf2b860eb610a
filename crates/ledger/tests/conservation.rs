//! Properties over random traffic between several committees: nothing is lost, made or paid twice.
//!
//! The model is independent: it keeps balances in its own map and knows which payments were accepted.

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use shardpay_types::*;

const COMMITTEES: usize = 3;
const ACCOUNTS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Mint { deposit: u64, to: usize, amount: u64 },
    Pay { from: usize, to: usize, amount: u64, skip: u64 },
    Redeem { from: usize, amount: u64 },
    Replay { nth: usize },
    Relay { source: usize, destination: usize },
    Duplicate { source: usize, destination: usize },
    Acknowledge { source: usize, destination: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let account = 0..ACCOUNTS;
    prop_oneof![
        2 => (0u64..12, account.clone(), 1u64..5_000).prop_map(|(deposit, to, amount)| Step::Mint { deposit, to, amount }),
        8 => (account.clone(), account.clone(), 1u64..2_000, 0u64..8).prop_map(|(from, to, amount, skip)| {
            Step::Pay { from, to, amount, skip: skip.saturating_sub(5) }
        }),
        1 => (account, 1u64..2_000).prop_map(|(from, amount)| Step::Redeem { from, amount }),
        1 => (0usize..50).prop_map(|nth| Step::Replay { nth }),
        3 => (0..COMMITTEES, 0..COMMITTEES).prop_map(|(source, destination)| Step::Relay { source, destination }),
        1 => (0..COMMITTEES, 0..COMMITTEES).prop_map(|(source, destination)| Step::Duplicate { source, destination }),
        1 => (0..COMMITTEES, 0..COMMITTEES).prop_map(|(source, destination)| Step::Acknowledge { source, destination }),
    ]
}

/// What the accounts must hold once everything has arrived.
#[derive(Default)]
struct Model {
    owed: BTreeMap<usize, i128>,
    minted: i128,
    burned: i128,
}

struct Run {
    world: World,
    accounts: Vec<Key>,
    model: Model,
    given: Vec<(usize, Transaction)>,
    last_packs: BTreeMap<(usize, usize), Pack>,
}

impl Run {
    fn home(account: usize) -> usize {
        account % COMMITTEES
    }

    fn give(&mut self, committee: usize, transaction: Transaction) -> bool {
        self.given.push((committee, transaction));
        outcomes(&self.world.run(committee, vec![transaction])) == [Outcome::Applied]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Mint { deposit, to, amount } => {
                let committee = (deposit as usize) % COMMITTEES;
                let mint = self.world.mint(self.world.deposit(committee, deposit), self.accounts[to], amount);
                if self.give(committee, mint) {
                    *self.model.owed.entry(to).or_default() += i128::from(amount);
                    self.model.minted += i128::from(amount);
                }
            }
            Step::Pay { from, to, amount, skip } => {
                let (sender, home) = (self.accounts[from], Self::home(from));
                let sequence = self.world.sequence(home, sender) + skip;
                let payment = self.world.pay(sender, self.accounts[to], amount, sequence);
                if self.give(home, payment) {
                    *self.model.owed.entry(from).or_default() -= i128::from(amount);
                    *self.model.owed.entry(to).or_default() += i128::from(amount);
                }
            }
            Step::Redeem { from, amount } => {
                let (sender, home) = (self.accounts[from], Self::home(from));
                let redeem = self.world.redeem(sender, amount, self.world.sequence(home, sender));
                if self.give(home, redeem) {
                    *self.model.owed.entry(from).or_default() -= i128::from(amount);
                    self.model.burned += i128::from(amount);
                }
            }
            // Old transactions again, anywhere: never a second effect.
            Step::Replay { nth } => {
                if let Some((_, transaction)) = self.given.get(nth).copied() {
                    for committee in 0..COMMITTEES {
                        let executed = self.world.run(committee, vec![transaction]);
                        let again = outcomes(&executed);
                        // Only a transaction that never left a leaf may still do something.
                        if again == [Outcome::Applied] {
                            self.apply_late(nth);
                        }
                    }
                }
            }
            Step::Relay { source, destination } if source != destination => {
                if let Some(pack) = self.world.pack(source, destination) {
                    self.last_packs.insert((source, destination), pack.clone());
                    let executed = self.world.run_payloads(destination, vec![with_pack(pack.clone()), with_pack(pack)]);
                    assert_eq!(executed.refused.len(), 1, "the second copy");
                }
            }
            Step::Duplicate { source, destination } => {
                if let Some(pack) = self.last_packs.get(&(source, destination)).cloned() {
                    let executed = self.world.run_payloads(destination, vec![with_pack(pack)]);
                    assert_eq!((executed.refused.len(), executed.blocks.len()), (1, 0));
                }
            }
            Step::Acknowledge { source, destination } if source != destination => {
                let proof = self.world.nodes[destination].ledger.cursor_proof(CommitteeId::at(source));
                if let Some(proof) = proof {
                    let _ = self.world.nodes[source].ledger.acknowledge(&proof).expect("memory");
                }
            }
            Step::Relay { .. } | Step::Acknowledge { .. } => {}
        }
    }

    /// A transaction whose turn came only when it was given again.
    fn apply_late(&mut self, nth: usize) {
        let find = |key: PublicKey| self.accounts.iter().position(|account| account.0 == key).expect("ours");
        let amount = i128::from(self.given[nth].1.amount().micros());
        match self.given[nth].1 {
            Transaction::Payment(tx) => {
                let (from, to) = (find(tx.body.sender), find(tx.body.recipient));
                *self.model.owed.entry(from).or_default() -= amount;
                *self.model.owed.entry(to).or_default() += amount;
            }
            Transaction::Redeem(tx) => {
                let from = find(tx.body.sender);
                *self.model.owed.entry(from).or_default() -= amount;
                self.model.burned += amount;
            }
            Transaction::Mint(tx) => {
                let to = find(tx.body.recipient);
                *self.model.owed.entry(to).or_default() += amount;
                self.model.minted += amount;
            }
        }
    }

    /// Σ balances + Σ (sent − received) + suspense = minted − burned, at every moment.
    fn check(&self) {
        let sum = |part: fn(&Totals) -> Total| -> i128 {
            (0..COMMITTEES).map(|c| part(&self.world.totals(c)).micros() as i128).sum()
        };
        let in_flight = sum(|t| t.sent) - sum(|t| t.received);
        assert!(in_flight >= 0);
        assert_eq!(sum(|t| t.balances) + in_flight + sum(|t| t.suspense), sum(|t| t.minted) - sum(|t| t.burned));
        assert_eq!((sum(|t| t.minted), sum(|t| t.burned)), (self.model.minted, self.model.burned));
        for (source, destination) in self.world.pairs() {
            let sent = self.world.nodes[source].ledger.view().outboxes[destination].1;
            assert!(self.world.cursor(destination, source).count <= sent, "received ≤ sent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn coins_are_conserved_and_arrive_exactly_once(steps in prop::collection::vec(step(), 1..120)) {
        let world = World::of(COMMITTEES);
        let accounts = (0..ACCOUNTS).map(|n| world.account(Run::home(n), n as u64)).collect();
        let (given, last_packs) = (Vec::new(), BTreeMap::new());
        let mut run = Run { world, accounts, model: Model::default(), given, last_packs };
        for step in steps {
            run.step(step);
            run.check();
        }
        run.world.settle();
        run.check();
        for (n, account) in run.accounts.iter().enumerate() {
            let balance = i128::from(run.world.balance(Run::home(n), *account));
            prop_assert_eq!(balance, run.model.owed.get(&n).copied().unwrap_or(0));
        }
        // Every ledger can be built again from its blocks, and no txid left two leaves anywhere.
        let mut seen = std::collections::BTreeSet::new();
        for node in &run.world.nodes {
            let mut replica = shardpay_ledger::Ledger::open(
                config(&run.world.genesis, node.committee.index()),
                shardpay_ledger::MemStore::new(),
            ).expect("fresh");
            for block in chain_of(&node.ledger) {
                replica.replay(&block).expect("an honest block");
                for item in &block.block.items {
                    if let LedgerItem::Transaction(executed) = item {
                        prop_assert!(seen.insert(run.world.txid(&executed.transaction)));
                    }
                }
            }
            assert_same(&replica, &node.ledger);
        }
    }
}
