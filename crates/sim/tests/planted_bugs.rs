//! The simulator finds what it must be able to find: each bug planted on purpose shows within 200
//! default seeds, in a run that is clean without it.

use shardpay_sim::{Overrides, Sweep, SweepSummary, Variant};

fn sweep(seeds: std::ops::Range<u64>, variant: Option<Variant>) -> SweepSummary {
    let overrides = Overrides { variant, ..Overrides::default() };
    Sweep { seeds, jobs: 2, overrides, time_max: None, stop_at_first: true }.run(&|_, _| {})
}

fn finds(variant: Variant) {
    let found = sweep(0..200, Some(variant));
    let first = found.violations.first().unwrap_or_else(|| panic!("{} was not found in 200 seeds", variant.name()));
    println!("{}: seed {}, {}: {}", variant.name(), first.seed, first.violation.rule, first.violation.what);
    let sound = sweep(first.seed..first.seed + 1, None);
    assert!(sound.violations.is_empty(), "seed {} fails without the planted bug, too", first.seed);
}

#[test]
fn a_quorum_of_2f() {
    finds(Variant::Quorum2f);
}

#[test]
fn a_cursor_that_does_not_move_with_its_effects() {
    finds(Variant::CursorNotMoved);
}

#[test]
fn a_forgotten_persist() {
    finds(Variant::ForgottenPersist);
}

#[test]
fn the_highest_instead_of_the_lowest_anchor() {
    finds(Variant::HighestAnchor);
}

#[test]
fn a_verification_cache_keyed_by_txid() {
    finds(Variant::TxidCache);
}
