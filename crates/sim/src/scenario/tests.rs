use std::collections::BTreeSet;

use super::*;

#[test]
fn every_default_seed_is_long_busy_and_faulty_enough() {
    let mut sizes = BTreeSet::new();
    let mut committees = BTreeSet::new();
    let mut real = 0;
    let seeds = 600;
    for seed in 0..seeds {
        let scenario = Scenario::draw(seed, &Overrides::default());
        assert!(scenario.heal_at >= Instant::from_millis(11_000));
        assert!(scenario.payments >= 200);
        assert!(scenario.fault_count() >= 10);
        assert!(scenario.faults.iter().all(|fault| fault.at < fault.until));
        for committee in 0..scenario.topology.committees() {
            let faulty = scenario.topology.members(committee).filter(|node| {
                scenario.byzantine.contains_key(node)
                    || scenario.faults.iter().any(|planned| planned.fault == Fault::StoreLost { node: *node })
            });
            assert!(faulty.count() <= scenario.topology.faults_max(committee));
        }
        sizes.extend(scenario.topology.sizes().iter().copied());
        committees.insert(scenario.topology.committees());
        real += usize::from(scenario.scheme == SchemeKind::Real);
    }
    assert_eq!(sizes, BTreeSet::from([1, 4, 5, 6, 7, 8, 9, 10]));
    assert_eq!(committees, (1..=8).collect());
    assert!((seeds as usize / 40..seeds as usize / 10).contains(&real), "real signatures in {real} of {seeds}");
}

#[test]
fn overrides_leave_other_draws_alone() {
    let drawn = Scenario::draw(7, &Overrides::default());
    let smaller = Scenario::draw(7, &Overrides { payments: Some(10), ..Overrides::default() });
    assert_eq!(smaller.payments, 10);
    assert_eq!(drawn.faults, smaller.faults);
    assert_eq!(drawn.topology, smaller.topology);
}
