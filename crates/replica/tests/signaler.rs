//! A signaler that equivocates, or proposes what may not be.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::keys::FakeKey;
use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_crypto::plan_hash;
use shardpay_replica::Input;
use shardpay_types::{Epoch, List, Plan, PlanHash, quorum};

/// The successor of genesis with member 3 of committee 0 replaced.
fn other_plan(net: &Net) -> Plan {
    let mut plan = Net::successor(&net.genesis);
    let mut committees = plan.committees.into_vec();
    let mut members = committees[0].members.clone().into_vec();
    members[3] = FakeKey::numbered(7, 7).0;
    committees[0].members = List::bounded(members);
    plan.committees = List::bounded(committees);
    plan
}

/// Approvals per plan and committee.
fn approvals(net: &Net) -> BTreeMap<PlanHash, Vec<usize>> {
    let mut counts: BTreeMap<PlanHash, Vec<usize>> = BTreeMap::new();
    for (id, node) in &net.nodes {
        let mut plans: Vec<PlanHash> = node.approvals.iter().map(|approval| approval.plan).collect();
        plans.sort();
        plans.dedup();
        assert!(plans.len() <= 1, "{id:?} approved two plans");
        for plan in plans {
            counts.entry(plan).or_insert_with(|| vec![0; 2])[id.committee.index()] += 1;
        }
    }
    counts
}

fn accepted(counts: &BTreeMap<PlanHash, Vec<usize>>) -> usize {
    counts.values().filter(|committees| committees.iter().all(|count| *count >= quorum(4))).count()
}

#[test]
fn of_two_plans_at_most_one_collects_a_quorum() {
    // bit i: node i hears of plan A first
    for first in 0..256u32 {
        if first % 16 != first / 16 && first % 5 != 0 {
            continue;
        }
        let mut net = Net::new(Setup { committees: 2, members: 4, seed: 101 });
        let plans = [Arc::new(Net::successor(&net.genesis)), Arc::new(other_plan(&net))];
        for round in 0..2 {
            for (index, id) in net.ids().into_iter().enumerate() {
                let choice = (first >> index & 1) as usize ^ round;
                net.input(id, Input::PlanProposed(plans[choice].clone()));
            }
        }
        net.run_ms(20);
        let counts = approvals(&net);
        assert!(accepted(&counts) <= 1, "first {first:08b}: {counts:?}");
        let unanimous = first == 0 || first == 255;
        assert!(!unanimous || accepted(&counts) == 1);
        let second: u64 = net.ids().iter().map(|id| net.node(*id).refused("second_plan")).sum();
        assert_eq!(second, 8, "each node refused the other plan");
    }
}

#[test]
fn an_approval_outlives_a_restart_and_is_given_again() {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed: 102 });
    let (a, b) = (Arc::new(Net::successor(&net.genesis)), Arc::new(other_plan(&net)));
    let id = node_id(0, 0);
    net.input(id, Input::PlanProposed(a.clone()));
    net.run_ms(20);
    assert_eq!(net.node(id).approvals.len(), 1);
    net.crash(id);
    net.start(id);
    net.input(id, Input::PlanProposed(b));
    net.input(id, Input::PlanProposed(a.clone()));
    net.run_ms(20);
    let plans: Vec<_> = net.node(id).approvals.iter().map(|approval| approval.plan).collect();
    assert_eq!(plans, [plan_hash(&a), plan_hash(&a)]);
}

#[test]
fn an_approval_that_was_not_durable_did_not_leave() {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed: 103 });
    let id = node_id(0, 0);
    net.stall_disk(id, true);
    net.input(id, Input::PlanProposed(Arc::new(Net::successor(&net.genesis))));
    net.run_ms(500);
    assert!(net.node(id).approvals.is_empty());
    net.stall_disk(id, false);
    net.run_ms(20);
    assert_eq!(net.node(id).approvals.len(), 1);
}

#[test]
fn plans_that_may_not_follow_and_changes_without_quorums_are_refused() {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed: 104 });
    let id = node_id(0, 0);
    let good = Net::successor(&net.genesis);
    let bad = [
        Plan { previous: PlanHash([1; 32]), ..good.clone() },
        Plan { epoch: Epoch::new(2), ..good.clone() },
        Plan { salt: [4; 32], ..good.clone() },
        (*net.genesis).clone(),
    ];
    for plan in bad {
        net.input(id, Input::PlanProposed(Arc::new(plan)));
    }
    assert_eq!(net.node(id).refused("bad_plan"), 4);
    let good = Arc::new(good);
    net.approve(&good);
    let whole = net.change(&good);
    assert_eq!(whole.approvals.len(), 8);
    let mut few = whole.clone();
    few.approvals = List::bounded(whole.approvals[..6].to_vec());
    let mut doubled = whole.clone();
    doubled.approvals = List::bounded([&whole.approvals[..5], &whole.approvals[4..5], &whole.approvals[4..5]].concat());
    let mut forged = whole.clone();
    let mut signatures = whole.approvals.clone().into_vec();
    signatures[6].signature.0[0] ^= 1;
    signatures[7].signature.0[0] ^= 1;
    forged.approvals = List::bounded(signatures);
    for change in [few, doubled, forged] {
        net.input(id, Input::EpochChangeProposed(Arc::new(change)));
    }
    assert_eq!(net.node(id).refused("bad_approvals"), 3);
    net.run_ms(3_000);
    assert_eq!(net.node(id).replica().status().epoch, Epoch::ZERO);
    // payments go on without any signaler, and the good change still works
    let alice = Wallet::of(&net.genesis, 0, 1);
    net.fund(&alice, 5);
    net.input(id, Input::EpochChangeProposed(Arc::new(whole)));
    net.run_until("committee 0 is in the next epoch", |net| {
        net.members(0).iter().all(|id| net.node(*id).replica().status().epoch == Epoch::new(1))
    });
}
