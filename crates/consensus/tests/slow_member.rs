//! A member that sees everything late, since it has too little processor time, is not sent everything again and again.

mod common;

use common::{Net, Options};

#[test]
fn a_slow_member_gets_few_blocks_twice() {
    for late_ms in [150, 700, 1_500] {
        let mut options = Options::new(4);
        options.slow = Some((3, late_ms));
        let mut net = Net::new(options);
        // what its answers take is learnt first
        load(&mut net, 0..200);
        let (sent, made) = (net.blocks_to[3], made_by_others(&net));
        load(&mut net, 200..1_000);
        let (sent, made) = (net.blocks_to[3] - sent, made_by_others(&net) - made);
        assert!(made > 500, "{made}");
        assert!(sent * 4 < made * 5, "{late_ms} ms late: {sent} blocks sent of {made}");
        assert!(net.run_until(20_000, |net| net.all_have(999)));
        net.check();
    }
}

/// A payload every 20 ms.
fn load(net: &mut Net, tags: std::ops::Range<u64>) {
    for tag in tags {
        net.submit(tag as usize % 3, tag);
        net.run(20);
    }
}

fn made_by_others(net: &Net) -> u64 {
    (0..3).map(|node| net.status(node).own_round.get()).sum()
}
