use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use shardpay_run::{Durability, Figures, MachineUse, WarmUpCut, WarmupRule};

use super::*;

fn summary(scale: f64) -> Summary {
    let mut total = Figures::default();
    total.all.certified = 100_000;
    total.all.per_second = 5_000.0 / scale;
    let latency = &mut total.all.latency_ms;
    (latency.p50, latency.p99, latency.p999) = (50.0 * scale, 120.0 * scale, 200.0 * scale);
    Summary {
        version: Summary::VERSION,
        name: "planted".to_owned(),
        verdict_passed: true,
        committees: 1,
        nodes_per_committee: 4,
        durability: Durability::Fsync,
        measured_s: 20.0,
        warmup: WarmUpCut { rule: WarmupRule::Fixed, cut_s: 5.0, steady: true },
        offered_per_second: 5_000.0,
        kept_rate: 1.0,
        probe_per_second: 0.0,
        total,
        per_committee: Vec::new(),
        refusals: Default::default(),
        skipped: 0,
        unresolved: 0,
        cpu_us_per_payment: 60.0 * scale,
        machine: MachineUse { store_bytes: 20_000_000, node_memory_bytes_max: 80_000_000, ..MachineUse::default() },
        faults: None,
        shortfalls: Vec::new(),
    }
}

/// Six repeats with a noise of about 1 % in every metric of its own.
fn repeats(chance: &mut ChaCha8Rng, slower: f64) -> Vec<Summary> {
    let mut noise = || {
        let uniform = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        // the sum of twelve uniforms less their mean is close to a standard normal
        1.0 + 0.01 * (0..12).map(|_| uniform(chance.next_u64())).sum::<f64>()
    };
    let mut repeat = || {
        let mut one = summary(slower);
        let latency = &mut one.total.all.latency_ms;
        for figure in [&mut latency.p50, &mut latency.p99, &mut latency.p999] {
            *figure *= noise();
        }
        one.total.all.per_second *= noise();
        one.cpu_us_per_payment *= noise();
        one.machine.store_bytes = (one.machine.store_bytes as f64 * noise()) as u64;
        one.machine.node_memory_bytes_max = (one.machine.node_memory_bytes_max as f64 * noise()) as u64;
        one
    };
    (0..6).map(|_| repeat()).collect()
}

fn verdict(chance: &mut ChaCha8Rng, slower: f64) -> Comparison {
    let (first, second) = (repeats(chance, 1.0), repeats(chance, slower));
    compare(&first.iter().collect::<Vec<_>>(), &second.iter().collect::<Vec<_>>(), 0.03)
}

#[test]
fn a_planted_regression_of_5_percent_is_found_19_times_in_20() {
    let mut chance = ChaCha8Rng::seed_from_u64(5);
    let found = (0..100).filter(|_| verdict(&mut chance, 1.05).regressed()).count();
    assert!(found >= 95, "{found} of 100");
}

#[test]
fn no_change_raises_no_alarm_19_times_in_20() {
    let mut chance = ChaCha8Rng::seed_from_u64(6);
    let mut count = |effect_min: f64| {
        let trial = |_: &i32| {
            let (first, second) = (repeats(&mut chance, 1.0), repeats(&mut chance, 1.0));
            compare(&first.iter().collect::<Vec<_>>(), &second.iter().collect::<Vec<_>>(), effect_min).regressed()
        };
        (0..100).filter(trial).count()
    };
    let (with_effect, without) = (count(0.03), count(0.0));
    assert!(with_effect <= 5, "{with_effect} of 100");
    assert!(without <= 5, "{without} of 100 by the test on ranks alone");
}

#[test]
fn an_improvement_is_no_regression() {
    let improved = verdict(&mut ChaCha8Rng::seed_from_u64(7), 0.9);
    assert!(!improved.regressed());
    let of = |name: &str| improved.rows.iter().find(|row| row.metric == name).unwrap();
    assert_eq!((of("certified").change, of("CPU").change), (Change::Better, Change::Better));
    assert_eq!(of("disk").change, Change::Unclear);
    let table = improved.table();
    assert!(table.contains("certified") && table.contains("better") && table.contains("medians of 6 and 6"), "{table}");
}

#[test]
fn a_figure_that_is_missing_is_left_out() {
    let mut chance = ChaCha8Rng::seed_from_u64(8);
    let (first, mut second) = (repeats(&mut chance, 1.0), repeats(&mut chance, 1.0));
    second[3].machine.store_bytes = 0;
    let compared = compare(&first.iter().collect::<Vec<_>>(), &second.iter().collect::<Vec<_>>(), 0.03);
    assert_eq!(compared.rows.len(), PRIMARY.len() - 1);
    assert!(compared.rows.iter().all(|row| row.metric != "disk"));
}
