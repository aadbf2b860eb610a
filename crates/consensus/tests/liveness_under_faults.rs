//! Random losses and crashes of up to f members: whatever was given to a member that kept it is committed
//! everywhere once the faults end, and the committee falls silent afterwards.

mod common;

use common::{Chance, Net, Options};

fn run(members: usize, seed: u64) {
    let mut chance = Chance(seed);
    let mut options = Options::new(members);
    options.seed = seed;
    options.latency_ms = 1..=(2 + chance.below(60) as u64);
    options.loss_percent = [0, 2, 10, 30][chance.below(4)];
    options.execution_ms = [1, 30, 200][chance.below(3)];
    let mut net = Net::new(options);
    let (faults, _) = common::faults_and_quorum(members);
    let mut tag = 0;
    for _ in 0..12 {
        for _ in 0..chance.below(6) {
            tag += 1;
            net.submit(chance.below(members - faults), tag);
        }
        // Only the last f members crash, so that the others keep what they were given.
        let victim = members - 1 - chance.below(faults.max(1));
        if faults > 0 && chance.percent(50) {
            if net.nodes[victim].dag.is_some() { net.crash(victim) } else { net.restart(victim) }
        }
        net.run(chance.next() % 400);
        net.check();
    }
    for node in 0..members {
        if net.nodes[node].dag.is_none() {
            net.restart(node);
        }
    }
    net.options.loss_percent = 0;
    let healed = net.run_until(20_000, |net| (1..=tag).all(|tag| net.all_have(tag)));
    let state = |node: usize| (node, &net.nodes[node].queue, net.status(node));
    assert!(healed, "seed {seed}, {members} members: stuck {:?}", (0..members).map(state).collect::<Vec<_>>());
    net.check();
    net.run(4_000);
    net.assert_quiet(3_000);
}

#[test]
fn four_members() {
    (0..150).for_each(|seed| run(4, seed));
}

#[test]
fn seven_members() {
    (0..40).for_each(|seed| run(7, 1_000 + seed));
}

#[test]
fn ten_members() {
    (0..15).for_each(|seed| run(10, 2_000 + seed));
}
