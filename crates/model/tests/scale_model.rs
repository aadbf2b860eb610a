//! The simulation with costs: a function of its seed, and worse when things cost more.

use std::time::Duration;

use shardpay_model::{Cores, Costs, KINDS, Links, Load, Prediction, Setup, World, extrapolate};

fn setup(committees: usize) -> Setup {
    Setup {
        load: Load::Closed(1_000 * committees),
        accounts: 500 * committees,
        warmup: Duration::from_millis(200),
        measured: Duration::from_millis(400),
        ..Setup::saturated(committees, 4, Cores::Each(2))
    }
}

/// With enough in flight for the cores to be the limit, not the rounds: few payments come back in pulses, a round apart.
fn full() -> Setup {
    Setup { load: Load::Closed(12_000), accounts: 2_000, ..setup(1) }
}

fn run(setup: &Setup) -> Prediction {
    World::run(setup, &Costs::round_numbers())
}

#[test]
fn a_seed_gives_the_same_prediction_again_and_another_one_another() {
    let of = |seed| run(&Setup { seed, ..setup(2) });
    let first = of(1);
    assert_eq!(first, of(1));
    assert_ne!(first, of(2));
    assert!(first.per_second > 1_000.0, "{first:?}");
}

#[test]
fn a_closed_loop_runs_until_it_has_settled() {
    // a first window in which nothing has come back yet
    let cold = Setup { warmup: Duration::ZERO, measured: Duration::from_millis(150), windows_max: 1, ..full() };
    let first = run(&cold);
    assert!(!first.settled, "one window cannot show that it is like another");
    let last = run(&Setup { windows_max: 100, ..cold.clone() });
    assert!(last.settled && last.per_second > 2.0 * first.per_second, "{first:?} {last:?}");
    let longer = run(&Setup { warmup: Duration::from_secs(2), measured: Duration::from_secs(2), ..cold });
    assert!((last.per_second / longer.per_second - 1.0).abs() < 0.35, "{last:?} {longer:?}");
}

#[test]
fn what_is_offered_below_saturation_is_certified() {
    let open = run(&Setup { load: Load::Open(3_000.0), ..setup(1) });
    assert!((2_500.0..3_500.0).contains(&open.per_second), "{open:?}");
    assert!((20.0..200.0).contains(&open.p50_ms) && open.p99_ms >= open.p50_ms, "{open:?}");
    assert!(open.utilisation < 0.7 && open.busy + open.skipped == 0, "{open:?}");
    assert!(KINDS.iter().take(6).all(|(kind, _)| open.per_payment.us(*kind) > 0.0), "{open:?}");
}

#[test]
fn dearer_actions_and_fewer_cores_certify_less() {
    let base = run(&full());
    let mut costs = Costs::round_numbers();
    costs.verify.points.iter_mut().for_each(|(_, us)| *us *= 4.0);
    let dear = World::run(&full(), &costs);
    assert!(dear.per_second < base.per_second, "{dear:?} {base:?}");
    let shared = run(&Setup { cores: Cores::Shared(1), ..full() });
    assert!(shared.per_second < 0.6 * base.per_second, "{shared:?} {base:?}");
    assert!((0.9..=1.01).contains(&shared.utilisation), "{shared:?}");
}

#[test]
fn distance_and_another_committee_take_time() {
    let open = |of: Setup| run(&Setup { load: Load::Open(1_000.0), ..of });
    let near = open(Setup { cross: 0.0, ..setup(2) });
    let across = open(Setup { cross: 1.0, ..setup(2) });
    let far = open(Setup { cross: 0.0, links: Links::aws(), ..setup(2) });
    assert!(across.p50_ms > near.p50_ms + 20.0, "{across:?} {near:?}");
    assert!(far.p50_ms > near.p50_ms + 200.0, "{far:?} {near:?}");
}

#[test]
fn coarse_payments_cost_about_as_much_as_fine_ones() {
    let fine = run(&full());
    let coarse = run(&Setup { grain: 4, ..full() });
    let ratio = coarse.per_second / fine.per_second;
    assert!((0.75..1.33).contains(&ratio), "{coarse:?} {fine:?}");
}

#[test]
fn the_closed_model_grows_with_committees_to_the_far_end() {
    for members in [4, 64] {
        let of =
            |committees| extrapolate(&Setup::saturated(committees, members, Cores::Each(2)), &Costs::round_numbers());
        let rates = [1, 4, 16, 64, 256, 1_024].map(|committees| of(committees).per_second);
        assert!(rates.is_sorted_by(|a, b| a < b), "{members}: {rates:?}");
        let larger = of(64);
        assert!(larger.cpu_us > of(4).cpu_us && larger.half_ms.is_finite(), "{larger:?}");
    }
}
