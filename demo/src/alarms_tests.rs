//! Each alarm: not there while all is well, there once its cause is, gone when that is over.

use super::*;
use crate::lines::Batch;
use crate::store::{Limits, Store};

const START_S: i64 = 1_700_000_000;

/// Four nodes of committee 0 and four of committee 1, a second after the other.
struct World {
    store: Store,
    alarms: Alarms,
    losses: Losses,
    second: i64,
}

/// What one node says: height, mempool, messages sent to and consumed from the other committee, coins too many.
#[derive(Clone, Copy)]
struct Says {
    height: i64,
    mempool: i64,
    sent: i64,
    consumed: i64,
    odd_coins: i64,
    dropped: i64,
    clock_s: i64,
}

impl World {
    fn new() -> Self {
        let store = Store::new(Limits::default());
        Self { store, alarms: Alarms::default(), losses: Losses::default(), second: START_S }
    }

    fn now_us(&self) -> i64 {
        self.second * 1_000_000 + 300_000
    }

    /// A second passes in which all nodes but the silent ones say what `says` makes of them.
    fn second(&mut self, silent: &[&str], says: impl Fn(i64, i64, &mut Says)) {
        self.second += 1;
        let t = self.second - START_S;
        for (committee, member) in (0..2).flat_map(|committee| (0..4).map(move |member| (committee, member))) {
            let name = format!("{committee}-{member}");
            if silent.contains(&&*name) {
                continue;
            }
            let all = Says { height: t, mempool: 9, sent: t, consumed: t, odd_coins: 0, dropped: 0, clock_s: 0 };
            let mut node = all;
            says(committee, member, &mut node);
            let tags = format!("kind=node,server={name},committee={committee},member={member}");
            let at = self.now_us() + node.clock_s * 1_000_000;
            let other = 1 - committee;
            let lines = format!(
                "counters,{tags} events_dropped={}i {at}\n\
                 gauges,{tags} height_executed={}i,mempool={}i,supply_balances={}i,supply_minted=100i,supply_burned=0i,\
                 supply_sent=0i,supply_received=0i,supply_suspense=0i {at}\n\
                 labelled,{tags},metric=messages_sent,label={other} count={}i {at}\n\
                 labelled,{tags},metric=messages_consumed,label={other} count={}i {at}\n",
                node.dropped,
                node.height,
                node.mempool,
                100 + node.odd_coins,
                node.sent,
                node.consumed
            );
            let now = self.now_us();
            self.store.apply(&Batch::parse(lines.as_bytes()), 1_000, Some(now));
        }
    }

    /// Alarms half a second later.
    fn alarms(&mut self) -> Vec<Alarm> {
        let now = self.now_us() + 500_000;
        let view = View { store: &self.store, slot: self.store.slot(now), now_us: Some(now) };
        self.alarms.update(view, &view.frame(), self.losses)
    }

    fn kinds(&mut self) -> Vec<&'static str> {
        self.alarms().into_iter().map(|alarm| alarm.kind).collect()
    }

    fn calm(seconds: usize) -> Self {
        let mut world = Self::new();
        for _ in 0..seconds {
            world.second(&[], |_, _, _| {});
            assert_eq!(world.kinds(), [""; 0]);
        }
        world
    }
}

#[test]
fn a_node_that_is_silent_for_three_seconds_is_down_and_comes_back() {
    let mut world = World::calm(5);
    world.second(&["0-2"], |_, _, _| {});
    assert_eq!(world.kinds(), [""; 0], "1.5 seconds of silence are nothing");
    world.second(&["0-2"], |_, _, _| {});
    let alarms = world.alarms();
    assert_eq!((alarms.len(), alarms[0].kind), (1, "silent"));
    assert!(alarms[0].text.contains("Node 0-2 is down"), "{}", alarms[0].text);
    world.second(&["0-2"], |_, _, _| {});
    assert_eq!(world.alarms()[0].since, alarms[0].since, "it tells since when");
    world.second(&[], |_, _, _| {});
    assert_eq!(world.kinds(), [""; 0]);
}

#[test]
fn a_committee_below_its_quorum() {
    let mut world = World::calm(5);
    for _ in 0..4 {
        world.second(&["1-0", "1-3"], |_, _, _| {});
    }
    let alarms = world.alarms();
    assert_eq!(alarms[0].kind, "quorum");
    assert!(alarms[0].text.contains("Committee 1 is below its quorum: 2 of its nodes are up, 3"), "{}", alarms[0].text);
}

#[test]
fn no_commit_for_five_seconds_is_an_alarm_only_with_work() {
    let mut idle = World::calm(5);
    let mut stuck = World::calm(5);
    for second in 0..7 {
        idle.second(&[], |_, _, node| (node.height, node.mempool) = (5, 0));
        assert_eq!(idle.kinds(), [""; 0]);
        stuck.second(&[], |committee, _, node| node.height = if committee == 1 { 5 } else { node.height });
        assert_eq!(stuck.kinds().contains(&"stalled"), second >= 4, "second {second}");
    }
    assert!(stuck.alarms()[0].text.starts_with("Committee 1 has payments"));
    stuck.second(&[], |_, _, _| {});
    assert_eq!(stuck.kinds(), [""; 0]);
}

#[test]
fn messages_that_wait_for_more_than_ten_seconds() {
    let mut world = World::calm(5);
    for second in 1..=13 {
        world.second(&[], |committee, _, node| node.consumed = if committee == 1 { 5 } else { node.consumed });
        assert_eq!(world.kinds().contains(&"inbox"), second > 11, "second {second}");
    }
    assert!(world.alarms()[0].text.contains("wait for committee 1"), "{}", world.alarms()[0].text);
}

#[test]
fn books_that_do_not_add_up() {
    let mut world = World::calm(5);
    world.second(&[], |committee, member, node| node.odd_coins = i64::from((committee, member) == (0, 3)));
    let alarms = world.alarms();
    assert_eq!((alarms.len(), alarms[0].kind), (1, "books"));
    assert!(alarms[0].text.contains("node 0-3"), "{}", alarms[0].text);
}

#[test]
fn points_that_are_dropped_here_or_there() {
    let mut world = World::calm(5);
    world.second(&[], |committee, member, node| node.dropped = if (committee, member) == (1, 1) { 7 } else { 0 });
    let alarms = world.alarms();
    assert_eq!((alarms.len(), alarms[0].kind), (1, "dropped"));
    assert!(alarms[0].text.starts_with("1-1 drops 7 points"), "{}", alarms[0].text);
    let mut world = World::calm(5);
    world.losses.not_kept = 12;
    assert!(world.alarms()[0].text.starts_with("The demo app: 12 values"));
    for _ in 0..11 {
        world.second(&[], |_, _, _| {});
    }
    assert_eq!(world.kinds(), [""; 0], "what was lost long ago is no alarm");
}

#[test]
fn a_clock_that_is_off_by_more_than_five_seconds() {
    let mut world = World::calm(5);
    for clock_s in [4, -4, 4] {
        let mut near = World::calm(5);
        (0..6).for_each(|_| near.second(&[], |_, member, node| node.clock_s = clock_s * i64::from(member == 0)));
        assert!(!near.kinds().contains(&"clock"));
    }
    (0..6).for_each(|_| world.second(&[], |c, member, node| node.clock_s = -60 * i64::from((c, member) == (0, 0))));
    let alarms = world.alarms();
    assert!(alarms.iter().any(|alarm| alarm.kind == "clock" && alarm.text == "The clock of 0-0 is 60 s behind"));
}

#[test]
fn no_room_for_a_metric_is_no_zero_and_no_false_alarm() {
    let mut world = World::new();
    // room for some metrics, not for all: what is missing must not be taken for coins that are missing
    world.store.limits.bytes_max = 20_000;
    for _ in 0..5 {
        world.second(&[], |_, _, _| {});
    }
    assert!(world.store.intake().not_kept > 0);
    assert!(!world.kinds().contains(&"books"));
}

#[test]
fn many_alarms_of_a_kind_are_counted_and_hide_no_other_kind() {
    let many = (0..15).map(|id| alarm("quorum", id, String::new()));
    let shown = few_of_each(many.chain([alarm("clock", "0-1", String::new())]).collect());
    let kinds: Vec<_> = shown.iter().map(|alarm| alarm.kind).collect();
    assert_eq!((kinds.len(), kinds[11], kinds[12], kinds[13]), (14, "quorum", "clock", "more"));
    assert_eq!(shown[13].text, "3 more committees are below their quorum");
}
