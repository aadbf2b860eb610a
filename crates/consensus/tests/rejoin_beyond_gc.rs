//! A member that was away for more than the gc depth: the ledger catches up by certified blocks, and the
//! DAG goes on above the anchor it is given.

mod common;

use common::{Builder, Net, Observer, Options, member, round};
use shardpay_consensus::{Input, Output, Recovered, Start};
use shardpay_types::BlockRef;

/// A committee of four in which member 3 was away for some 200 rounds.
fn away() -> Net {
    let mut net = Net::new(Options::new(4));
    net.submit(0, 1);
    assert!(net.run_until(1_000, |net| net.all_have(1)));
    net.filter = Some(Box::new(|from, to, _| from != 3 && to != 3));
    let mut tag = 1;
    while net.status(0).highest_accepted.get() < 200 {
        tag += 1;
        net.submit(0, tag);
        net.run(20);
    }
    net.filter = None;
    net
}

fn rejoin(net: &mut Net, node: usize) {
    let last = net.nodes[0].commits.last().expect("there are commits").clone();
    net.nodes[node].commits = vec![last.clone()];
    net.nodes[node].rejoined = true;
    net.input(node, Input::Rejoin { anchor: last.anchor, leaders: last.leaders.clone() });
}

#[test]
fn it_goes_on_above_the_anchor() {
    let mut net = away();
    net.submit(1, 9_000);
    net.run(1_500);
    assert!(net.nodes[3].notices.iter().any(|notice| matches!(notice, Output::FarBehind { .. })));
    assert!(!net.has(3, 9_000), "the DAG alone does not get it there");
    net.submit(1, 9_001);
    net.run(30);
    rejoin(&mut net, 3);
    net.submit(2, 9_002);
    assert!(net.run_until(3_000, |net| net.has(3, 9_002) && net.has(0, 9_002)));
    net.submit(3, 9_003);
    assert!(net.run_until(3_000, |net| net.all_have(9_003)), "it proposes again");
    net.check();
    net.run(2_000);
    net.assert_quiet(3_000);
}

#[test]
fn it_may_crash_while_it_fetches() {
    for pause in [0, 3, 6, 10, 20, 40] {
        let mut net = away();
        net.run(600);
        rejoin(&mut net, 3);
        net.submit(1, 9_000);
        net.run(pause);
        net.crash(3);
        if net.nodes[3].commits.is_empty() {
            rejoin_after_crash(&mut net);
            continue;
        }
        net.restart(3);
        net.submit(2, 9_001);
        assert!(net.run_until(5_000, |net| net.has(3, 9_001) && net.has(0, 9_001)), "pause {pause}");
        net.check();
    }
}

/// The ledger's replay was durable, so the restarted instance starts from it.
fn rejoin_after_crash(net: &mut Net) {
    let last = net.nodes[0].commits.last().expect("there are commits").clone();
    net.nodes[3].commits = vec![last];
    net.restart(3);
    net.submit(2, 9_001);
    assert!(net.run_until(5_000, |net| net.has(3, 9_001) && net.has(0, 9_001)));
    net.check();
}

#[test]
fn commits_go_on_exactly_where_the_list_ends() {
    let mut builder = Builder::new(4);
    builder.full(1..=150);
    let mut whole = Observer::new(&builder, 0);
    whole.push_all(&builder);
    let at = &whole.commits[99];
    assert_eq!(at.anchor.round.get(), 100);
    let mut observer = Observer::new(&builder, 3);
    observer.input(Input::Rejoin { anchor: at.anchor, leaders: at.leaders.clone() });
    assert!(observer.requested().contains(&at.anchor), "the leaders are fetched");
    observer.pass(20);
    for block in builder.blocks.iter().filter(|block| block.reference().round > round(40)) {
        observer.receive(block, true);
    }
    assert_eq!(observer.commits, whole.commits[100..]);
    assert_eq!(observer.status().missing, 0);
    assert!(observer.proposals.iter().all(|(round, _)| *round > 100), "rounds up to the anchor need no own block");
}

#[test]
fn a_restart_with_leaders_missing_fetches_them() {
    let mut builder = Builder::new(4);
    builder.full(1..=150);
    let mut whole = Observer::new(&builder, 0);
    whole.push_all(&builder);
    let at = &whole.commits[99];
    let blocks = builder.blocks.iter().filter(|block| block.reference().round.get() > 90).cloned().collect();
    let recovered = Recovered { last_output: at.anchor.round, leaders: at.leaders.clone(), blocks };
    let mut observer = Observer::start(builder.config(2), Start::Restart(recovered));
    assert!(observer.commits.is_empty());
    observer.pass(20);
    assert!(!observer.requested().is_empty());
    for block in builder.blocks.iter().filter(|block| (41..=90).contains(&block.reference().round.get())) {
        observer.receive(block, true);
    }
    assert_eq!(observer.commits, whole.commits[100..]);
}

#[test]
fn a_rejoin_that_is_not_ahead_is_ignored() {
    let mut builder = Builder::new(4);
    builder.full(1..=50);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    let status = observer.status();
    let (anchor, leaders) = (builder.at(30, 2), vec![builder.at(30, 2)]);
    observer.input(Input::Rejoin { anchor, leaders });
    assert_eq!(observer.status(), status);
}

#[test]
fn commits_ordered_and_not_handed_out_go_with_a_rejoin() {
    let mut builder = Builder::new(4);
    builder.full(1..=50);
    let mut observer = Observer::new(&builder, 0);
    observer.hold = true;
    observer.push_all(&builder);
    assert_eq!(observer.committed(), (1..=16).collect::<Vec<_>>(), "execution stands still");
    let leaders: Vec<BlockRef> = (1..=40).map(|number| builder.at(number, (number % 4) as usize)).collect();
    observer.input(Input::Rejoin { anchor: leaders[39], leaders });
    assert_eq!(observer.committed()[16..], (41..=48).collect::<Vec<_>>());
    assert_eq!(observer.dag.own(), member(0));
}
