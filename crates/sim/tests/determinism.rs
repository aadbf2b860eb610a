//! One seed, one run: the same trace twice, another trace for other seeds, whatever else is drawn.

use std::collections::BTreeSet;

use shardpay_sim::{Overrides, Scenario, World};

fn digest(seed: u64, overrides: &Overrides) -> [u8; 32] {
    World::run(Scenario::draw(seed, overrides), None).digest.0
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let small = Overrides { seconds: Some(6), ..Overrides::default() };
    for seed in [1, 2, 3, 17] {
        assert_eq!(digest(seed, &small), digest(seed, &small), "seed {seed}");
    }
    let real = Overrides { committees: Some(1), nodes: Some(4), seconds: Some(4), real_signatures: true, ..small };
    assert_eq!(digest(5, &real), digest(5, &real));
}

#[test]
fn other_seeds_give_other_traces() {
    let small = Overrides { committees: Some(2), nodes: Some(4), seconds: Some(4), ..Overrides::default() };
    let digests: BTreeSet<_> = (0..12).map(|seed| digest(seed, &small)).collect();
    assert_eq!(digests.len(), 12);
}

#[test]
fn writing_a_trace_changes_nothing() {
    let small = Overrides { committees: Some(1), nodes: Some(4), seconds: Some(4), ..Overrides::default() };
    let sink = Box::new(std::io::sink());
    let written = World::run(Scenario::draw(8, &small), Some(sink)).digest.0;
    assert_eq!(written, digest(8, &small));
}
