//! Up to f members are gone: their slots are skipped, and after a few rounds nobody waits for them.

mod common;

use common::{Net, Options, faults_and_quorum};

#[test]
fn the_rest_commits_and_stops_waiting_for_crashed_leaders() {
    for members in [4, 7, 10, 16] {
        let (faults, _) = faults_and_quorum(members);
        let mut net = Net::new(Options::new(members));
        net.submit(0, 1);
        assert!(net.run_until(2_000, |net| net.all_have(1)));
        (0..faults).for_each(|index| net.crash(members - 1 - index));
        for tag in 2..40 {
            net.submit((tag % 3) as usize, tag);
            net.run(60);
        }
        assert!(net.run_until(3_000, |net| (2..40).all(|tag| net.all_have(tag))), "{members} members");
        let timeouts = net.status(0).leader_timeouts;
        assert!(timeouts <= 2 * faults as u64 + 2, "{members} members: {timeouts} timeouts");
        assert!(net.status(0).direct_skips + net.status(0).indirect_skips > 0);
        net.check();
        net.run(2_000);
        net.assert_quiet(3_000);
    }
}

#[test]
fn one_more_and_nothing_is_committed_until_it_is_back() {
    let mut net = Net::new(Options::new(4));
    net.submit(0, 1);
    assert!(net.run_until(2_000, |net| net.all_have(1)));
    net.run(2_000);
    net.crash(2);
    net.crash(3);
    net.submit(0, 2);
    net.run(20_000);
    assert!(!net.has(0, 2) && !net.has(1, 2));
    let traffic = net.traffic;
    net.run(60_000);
    assert!(net.traffic - traffic < 60, "waiting for a quorum is cheap: {}", net.traffic - traffic);
    net.restart(2);
    assert!(net.run_until(15_000, |net| net.all_have(2)));
    net.check();
}
