use super::*;

const NOW: i64 = 1_700_000_000_000_000;

fn apply(store: &mut Store, text: &str, now_us: i64) {
    store.apply(&Batch::parse(text.as_bytes()), 1_000, Some(now_us));
}

fn counters(at_us: i64, value: i64) -> String {
    format!("counters,kind=node,server=0-1,committee=0,member=1 payments_executed={value}i {at_us}\n")
}

#[test]
fn counters_become_rates_and_a_restart_none() {
    let mut store = Store::new(Limits::default());
    for (second, value) in [(0, 100), (1, 150), (2, 400), (3, 10), (4, 30)] {
        let at = NOW + second * 1_000_000;
        apply(&mut store, &counters(at, value), at);
    }
    let slot = store.slot(NOW);
    let rates: Vec<_> = (0..5).map(|second| store.value_at(0, "payments_executed", slot + second)).collect();
    assert_eq!(rates, [None, Some(50.0), Some(250.0), None, Some(20.0)]);
    assert_eq!(store.value(0, "payments_executed", slot + 3), Some(250.0));
}

#[test]
fn exact_metrics_keep_their_value() {
    let mut store = Store::new(Limits::default());
    let text = format!(
        "gauges,kind=node,server=0-1,committee=0,member=1 supply_sent=9007199254740993i {NOW}\n\
         labelled,kind=node,server=0-1,committee=0,member=1,metric=messages_sent,label=3 count=9i {NOW}\n"
    );
    apply(&mut store, &text, NOW);
    let slot = store.slot(NOW);
    assert_eq!(store.exact(0, "supply_sent", slot), Some(9_007_199_254_740_993));
    assert_eq!(store.exact(0, "messages_sent/3", slot + 2), Some(9));
}

#[test]
fn a_clock_that_is_a_minute_off_is_corrected_and_told() {
    let mut store = Store::new(Limits::default());
    for second in 0..8 {
        let now = NOW + second * 1_000_000;
        apply(&mut store, &counters(now + 60_000_000, second * 10), now);
    }
    assert_eq!(store.servers[0].offset_us(), -60_000_000);
    let slot = store.slot(NOW + 7_000_000);
    assert_eq!(store.value_at(0, "payments_executed", slot), Some(10.0));
    assert_eq!(store.value_at(0, "payments_executed", slot + 60), None);
}

#[test]
fn lines_that_were_held_up_are_no_wrong_clock() {
    let mut store = Store::new(Limits::default());
    for second in 0..8 {
        apply(&mut store, &counters(NOW + second * 1_000_000, second * 10), NOW + 30_000_000);
    }
    apply(&mut store, &counters(NOW + 30_000_000, 100), NOW + 30_000_000);
    assert_eq!(store.servers[0].offset_us(), 0);
}

#[test]
fn two_processes_of_one_name_are_found_and_a_restart_is_not() {
    let mut store = Store::new(Limits::default());
    let line = |started: i64, at: i64| {
        format!("gauges,kind=node,server=0-1,committee=0,member=1 started_ms={started}i {at}\n")
    };
    apply(&mut store, &line(100, NOW), NOW);
    apply(&mut store, &line(200, NOW + 1_000_000), NOW + 1_000_000);
    assert!(store.servers[0].twin_us < 0);
    apply(&mut store, &line(100, NOW + 2_000_000), NOW + 2_000_000);
    assert_eq!(store.servers[0].twin_us, NOW + 2_000_000);
}

#[test]
fn room_is_bounded_and_comes_back() {
    let limits = Limits { slots: 100, bytes_max: 100 * 4 * 3, ..Limits::default() };
    let mut store = Store::new(limits);
    let fields: Vec<String> = (0..10).map(|n| format!("f{n}={n}i")).collect();
    let line = |server: &str, at: i64| format!("gauges,kind=node,server={server} {} {at}\n", fields.join(","));
    apply(&mut store, &line("a", NOW), NOW);
    let intake = store.intake();
    // f0 is zero and needs no room
    assert_eq!((intake.columns, intake.bytes, intake.not_kept), (3, 1_200, 6));
    let later = NOW + 101_000_000;
    apply(&mut store, &line("b", later), later);
    assert_eq!(store.intake().columns, 3);
    store.forget_silent(later);
    apply(&mut store, &line("b", later + 1_000_000), later + 1_000_000);
    assert_eq!((store.intake().columns, store.intake().bytes), (3, 1_200));
    assert!(store.value(store.find("b").expect("known"), "f1", store.slot(later + 1_000_000)).is_some());
    assert_eq!(store.value(store.find("a").expect("known"), "f1", store.slot(NOW)), None);
}
