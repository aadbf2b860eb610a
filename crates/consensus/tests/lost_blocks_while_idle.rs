//! The last blocks before everything falls silent are lost: heartbeats find the difference and mend it.

mod common;

use common::net::Message;
use common::{Net, Options};

#[test]
fn a_member_that_missed_the_end_gets_it_from_heartbeats() {
    for victim in 0..4 {
        let mut net = Net::new(Options::new(4));
        net.submit(0, 1);
        assert!(net.run_until(1_000, |net| net.all_have(1)));
        net.run(2_000);
        net.submit(1, 2);
        net.run(60);
        // From here on no block or request reaches the victim.
        net.filter = Some(Box::new(move |_, to, message| to != victim || matches!(message, Message::Status(_))));
        net.run(1_000);
        net.filter = None;
        net.run(2 * net.options.heartbeat_ms + 1_000);
        assert!(net.all_have(2), "victim {victim}");
        let rounds: Vec<u64> = (0..4).map(|node| net.status(node).own_round.get()).collect();
        assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
        net.assert_quiet(3_000);
        net.check();
    }
}

#[test]
fn a_round_whose_blocks_were_all_lost_is_sent_again() {
    let mut net = Net::new(Options::new(4));
    net.options.heartbeat_ms = 1_000_000;
    net.run(600);
    net.filter = Some(Box::new(|_, _, message| matches!(message, Message::Status(_))));
    net.submit(2, 7);
    net.run(100);
    assert!(!net.has(2, 7));
    net.filter = None;
    assert!(net.run_until(3_000, |net| net.all_have(7)), "without a heartbeat");
    net.run(1_000);
    net.assert_quiet(3_000);
}
