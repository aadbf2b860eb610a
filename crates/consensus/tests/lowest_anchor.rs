//! The anchor is the lowest slot that is not skipped, not any later one. A certificate that only a higher
//! leader reaches must not count: nodes that saw that leader later have skipped the slot already.

mod common;

use common::{Builder, Observer};
use shardpay_consensus::{AnchorRule, Start};

/// The only certificate for slot 1 is author 3's block of round 3. The leader of round 4 does not reach
/// it, the leader of round 5 does.
fn certificate_for_the_higher_leader_only() -> Builder {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    let all: Vec<_> = (0..4).map(|author| builder.at(1, author)).collect();
    let without: Vec<_> = [0, 2, 3].map(|author| builder.at(1, author)).to_vec();
    (0..3).for_each(|author| {
        builder.block(author, 2, &all);
    });
    builder.block(3, 2, &without);
    builder.layer(3, &[0], &[0, 1, 3]);
    builder.layer(3, &[1], &[0, 1, 3]);
    builder.layer(3, &[2], &[0, 2, 3]);
    builder.layer(3, &[3], &[0, 1, 2, 3]);
    builder.layer(4, &[0, 1, 2], &[0, 1, 2]);
    builder.layer(4, &[3], &[0, 1, 3]);
    // Slot 4 gets three votes, and certificates by authors 0, 1 and 3.
    builder.layer(5, &[0, 1, 2], &[0, 1, 2, 3]);
    builder.layer(5, &[3], &[1, 2, 3]);
    builder.layer(6, &[0, 1, 3], &[0, 1, 2, 3]);
    builder.layer(6, &[2], &[1, 2, 3]);
    // Slot 5 is committed without author 3.
    builder.layer(7, &[0, 1, 2], &[0, 1, 2]);
    builder
}

/// The blocks in order, but author 3's certificate for slot 4 (block 6/3) last.
fn certificate_last(builder: &Builder) -> Vec<usize> {
    let last = builder.at(6, 3);
    let (late, early): (Vec<usize>, Vec<usize>) =
        (0..builder.blocks.len()).partition(|index| builder.blocks[*index].reference() == last);
    early.into_iter().chain(late).collect()
}

fn leaders_by(rule: AnchorRule, order: impl Fn(&Builder) -> Vec<usize>) -> Vec<u64> {
    let builder = certificate_for_the_higher_leader_only();
    let mut config = builder.config(0);
    config.rules.anchor = rule;
    let mut observer = Observer::start(config, Start::NewEpoch);
    observer.feed_in(&builder, &order(&builder));
    observer.committed()
}

fn in_order(builder: &Builder) -> Vec<usize> {
    (0..builder.blocks.len()).collect()
}

#[test]
fn the_lowest_anchor_decides_in_every_order_of_arrival() {
    let expected = leaders_by(AnchorRule::Lowest, in_order);
    assert!(!expected.contains(&1), "slot 4 decides, and it does not reach the certificate");
    assert!(expected.contains(&4) && expected.contains(&5));
    assert_eq!(leaders_by(AnchorRule::Lowest, certificate_last), expected);
}

#[test]
fn the_lowest_anchor_is_waited_for() {
    let mut builder = certificate_for_the_higher_leader_only();
    let late = builder.at(6, 3);
    builder.blocks.retain(|block| block.reference() != late);
    let mut observer = Observer::new(&builder, 0);
    observer.feed(&builder);
    assert_eq!(observer.status().direct_commits, 1, "slot 5");
    assert_eq!(observer.committed(), [0u64; 0], "slot 4 is undecided, so slot 1 is");
}

#[test]
fn the_planted_highest_anchor_splits_two_nodes() {
    let one = leaders_by(AnchorRule::Highest, in_order);
    let other = leaders_by(AnchorRule::Highest, certificate_last);
    assert!(!one.contains(&1) && other.contains(&1), "{one:?} {other:?}");
}
