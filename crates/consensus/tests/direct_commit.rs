//! A leader with certificates by a quorum is committed at once, in order.

mod common;

use common::{Builder, Net, Observer, Options, faults_and_quorum};
use shardpay_consensus::Output;

#[test]
fn the_third_round_commits_the_first_leader() {
    for members in [4, 5, 6, 7, 10, 16, 33, 64] {
        let mut builder = Builder::new(members);
        builder.full(1..=3);
        let (_, quorum) = faults_and_quorum(members);
        let mut observer = Observer::new(&builder, 0);
        let enough = 2 * members + quorum;
        for (index, block) in builder.blocks.iter().enumerate() {
            observer.push(block);
            assert_eq!(observer.commits.len(), usize::from(index + 1 >= enough), "{members} members, block {index}");
        }
        let commit = &observer.commits[0];
        assert_eq!(commit.anchor, builder.at(1, 1 % members));
        assert_eq!(commit.blocks.iter().map(|b| b.reference()).collect::<Vec<_>>(), [commit.anchor]);
        // Its parents are virtual: its own timestamp.
        assert_eq!(commit.median_time, builder.get(&commit.anchor).unwrap().block().timestamp);
        assert_eq!(observer.status().direct_commits, 1);
    }
}

#[test]
fn each_round_commits_one_leader_with_its_history() {
    let mut builder = Builder::new(4);
    builder.full(1..=10);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    assert_eq!(observer.committed(), (1..=8).collect::<Vec<_>>());
    let second = &observer.commits[1];
    assert_eq!(second.anchor, builder.at(2, 2));
    // Round 1 but the leader committed before, then the leader.
    let expected = [builder.at(1, 0), builder.at(1, 2), builder.at(1, 3), builder.at(2, 2)];
    assert_eq!(second.blocks.iter().map(|b| b.reference()).collect::<Vec<_>>(), expected);
    // Lower median of four parents: the second.
    assert_eq!(second.median_time, builder.get(&builder.at(1, 1)).unwrap().block().timestamp);
    assert_eq!(second.leaders, [builder.at(1, 1), builder.at(2, 2)]);
    assert!(observer.others.iter().all(|output| !matches!(output, Output::Halt(_))));
}

#[test]
fn a_network_commits_a_payment_everywhere_and_falls_silent() {
    for members in [1, 4, 7, 10] {
        let mut net = Net::new(Options::new(members));
        net.assert_quiet(3_000);
        net.submit(members / 2, 1);
        assert!(net.run_until(1_000, |net| net.all_have(1)), "{members} members");
        net.run(1_000);
        net.assert_quiet(3_000);
        net.check();
        assert_eq!(net.status(0).leader_timeouts, 0);
        assert_eq!(net.status(0).own_round, net.status(members - 1).own_round);
    }
}
