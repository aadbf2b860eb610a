//! Random losses and crashes of up to f members: whatever was given to a member that kept it is committed
//! everywhere once the faults end, and the committee falls silent afterwards.

mod common;

use common::net::Message;
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
    (0..120).for_each(|seed| run(4, seed));
}

#[test]
fn seven_members() {
    (0..30).for_each(|seed| run(7, 1_000 + seed));
}

#[test]
fn ten_members() {
    (0..10).for_each(|seed| run(10, 2_000 + seed));
}

/// Load without pause while the last member is cut off again and again, sometimes for more than the gc
/// depth, and sometimes crashes: the ledger's replay and the DAG together bring it back.
fn long_absences(members: usize, seed: u64) {
    let mut chance = Chance(seed);
    let mut options = Options::new(members);
    options.seed = seed;
    options.loss_percent = [0, 5][chance.below(2)];
    let mut net = Net::new(options);
    net.replays = true;
    let absent = members - 1;
    let mut tag = 0;
    for _ in 0..4 {
        let mut load = |net: &mut Net, for_ms: usize| {
            for _ in 0..for_ms / 20 {
                tag += 1;
                net.submit((tag % (members as u64 - 1)) as usize, tag);
                net.run(20);
            }
        };
        load(&mut net, 400);
        if chance.percent(50) {
            net.filter = Some(Box::new(move |from, to, _| from != absent && to != absent));
        } else {
            net.crash(absent);
        }
        load(&mut net, chance.below(3_000));
        net.filter = None;
        if net.nodes[absent].dag.is_none() {
            net.restart(absent);
        }
        load(&mut net, chance.below(1_500));
        net.check();
    }
    net.options.loss_percent = 0;
    net.submit(absent, 1_000_000);
    let healed = net.run_until(20_000, |net| (1..=tag).all(|tag| net.all_have(tag)) && net.all_have(1_000_000));
    let state = |node: usize| (node, &net.nodes[node].queue, net.status(node));
    assert!(healed, "seed {seed}, {members} members: stuck {:?}", (0..members).map(state).collect::<Vec<_>>());
    net.check();
    net.run(4_000);
    net.assert_quiet(3_000);
}

#[test]
fn absences_beyond_the_gc_depth() {
    (0..40).for_each(|seed| long_absences(4, seed));
    (0..8).for_each(|seed| long_absences(7, 100 + seed));
}

/// The last f members send their blocks to a subset only, and history to nobody: what is withheld waits until
/// somebody shows it or its round falls to the gc round, and the committee goes on all the while.
fn withheld(members: usize, seed: u64) {
    let mut chance = Chance(seed);
    let (faults, _) = common::faults_and_quorum(members);
    let faulty = members - faults;
    let mut options = Options::new(members);
    options.seed = seed;
    options.latency_ms = 1..=(2 + chance.below(30) as u64);
    let mut net = Net::new(options);
    net.replays = true;
    let share = [5, 30, 60][chance.below(3)];
    net.filter = Some(Box::new(move |from, _, message| match message {
        Message::Blocks { requested, .. } if from >= faulty => !requested && chance.percent(share),
        Message::Blocks { .. } | Message::Request(_) | Message::Status(_) => true,
    }));
    for tag in 1..=300 {
        net.submit((tag % faulty as u64) as usize, tag);
        net.run(20);
    }
    let done = |net: &Net| (0..faulty).all(|node| (1..=300).all(|tag| net.has(node, tag)));
    let healed = net.run_until(10_000, done);
    let state = |node: usize| (node, &net.nodes[node].queue, net.status(node));
    assert!(healed, "seed {seed}, {members} members: stuck {:?}", (0..members).map(state).collect::<Vec<_>>());
    net.check();
    for node in 0..faulty {
        let status = net.status(node);
        assert!(status.waiting_blocks <= 64 * faults && status.missing < 64 * members, "{status:?}");
    }
}

#[test]
fn history_withheld() {
    (0..25).for_each(|seed| withheld(4, seed));
    (0..6).for_each(|seed| withheld(7, 100 + seed));
    (0..3).for_each(|seed| withheld(10, 200 + seed));
}
