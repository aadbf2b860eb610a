//! A long backlog between two committees, with the destination away while it grows: it drains exactly
//! once and in order (the books check every message), within a bounded virtual time.

use shardpay_sim::{Overrides, Scenario, World};

#[test]
fn a_hundred_thousand_messages_drain() {
    let scenario = Scenario::backlog(1, 100_000);
    let outcome = World::run(scenario, None);
    println!("{:?}", outcome.figures);
    assert_eq!(outcome.violation, None);
    assert!(outcome.coverage.count("fault: committee away") > 0);
    assert!(outcome.coverage.count("relay: message sent") >= 100_000);
    assert!(outcome.most_in_flight >= 100_000, "{} messages were under way at most", outcome.most_in_flight);
}

#[test]
fn source_and_destination_away_in_turn() {
    for seed in 0..4 {
        let overrides = Overrides { committees: Some(2), nodes: Some(4), ..Overrides::default() };
        let mut scenario = Scenario::draw(seed, &overrides);
        scenario.only_away();
        let outcome = World::run(scenario, None);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}
