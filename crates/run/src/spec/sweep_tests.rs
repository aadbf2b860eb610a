//! Grids: which points a file has, in which order, and what is said about a wrong one.

use proptest::prelude::*;

use super::*;
use crate::spec::{Cross, Durability, OverBudget, Rate};

const BASE: &str = "name = 'x'\nduration_s = 10\nnodes_per_committee = 4\n";

fn read(more: &str, overrides: &[&str]) -> Result<SweepSpec, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    SweepSpec::parse("x.toml", &format!("{BASE}{more}"), &overrides).map_err(|error| error.to_string())
}

fn labels(sweep: &SweepSpec) -> Vec<&str> {
    sweep.points.iter().map(|point| point.label.as_str()).collect()
}

const GRID: &str = "[grid]\ncommittees = [1, 2]\n\"load.cross\" = [0.0, 0.5]\n\
    [sweep]\nrepeats = 3\nleave_out = [{ committees = 1, load.cross = 0.5 }]\n";

#[test]
fn a_plain_spec_is_a_sweep_of_one_point() {
    let sweep = read("committees = 2", &[]).expect("a good file");
    assert_eq!((labels(&sweep), sweep.is_sweep()), (vec!["the spec as it stands"], false));
    assert_eq!(sweep.points[0].spec, Spec::parse("x", &format!("{BASE}committees = 2"), &[]).expect("a good spec"));
}

#[test]
fn points_are_the_product_without_what_is_left_out() {
    let sweep = read(GRID, &[]).expect("a good file");
    let expected =
        ["committees = 1, load.cross = 0.0", "committees = 2, load.cross = 0.0", "committees = 2, load.cross = 0.5"];
    assert_eq!(labels(&sweep), expected);
    let ids: Vec<&str> = sweep.points.iter().map(|point| point.id.as_str()).collect();
    assert_eq!(ids, ["p00", "p01", "p02"]);
    let last = &sweep.points[2];
    assert_eq!((last.spec.committees, last.spec.load.cross), (2, Cross::Ratio(0.5)));
    assert_eq!((last.repeat(1).load.seed, last.repeat(3).load.seed), (1, 3));
    assert_eq!((sweep.options.repeats, sweep.options.over_budget), (3, OverBudget::Refuse));
    // what is kept in the directory gives the same points
    let again = SweepSpec::parse("sweep.toml", &sweep.resolved, &[]).expect("reads");
    assert_eq!(again.points, sweep.points);
}

#[test]
fn workloads_replace_whole_kinds_and_merge_tables() {
    let more = "committees = 2\n[load]\naccounts = 500\nrate = { kind = 'poisson', per_second = 100 }\n\
        [[workloads]]\nname = 'shops'\nload.distribution = { kind = 'hot', vendors = 3, share = 0.5 }\n\
        [[workloads]]\nname = 'full'\nload.rate = { kind = 'closed', in_flight = 9 }\n[grid]\ndurability = ['fsync', 'os']\n";
    let sweep = read(more, &[]).expect("a good file");
    assert_eq!(labels(&sweep)[1..3], ["shops, durability = \"os\"", "full, durability = \"fsync\""]);
    let full = &sweep.points[3].spec;
    assert_eq!((&full.load.rate, full.load.accounts), (&Rate::Closed { in_flight: 9 }, 500));
    assert_eq!((full.durability, sweep.workloads.len()), (Durability::Os, 2));
}

#[test]
fn a_set_fixes_a_key_of_the_grid_or_changes_its_values() {
    let fixed = read(GRID, &["load.cross=0.25", "committees=2"]).expect("a good file");
    assert_eq!((fixed.points.len(), fixed.points[0].spec.load.cross), (1, Cross::Ratio(0.25)));
    let changed = read(GRID, &["grid.load.cross=[0.0]", "sweep.repeats=1"]).expect("a good file");
    assert_eq!(labels(&changed), ["committees = 1, load.cross = 0.0", "committees = 2, load.cross = 0.0"]);
    assert_eq!(changed.options.repeats, 1);
    let lost = "committees = 1\n[grid]\n\"load.rate\" = [{ kind = 'closed', in_flight = 1 }]\n";
    let said = read(lost, &["load.rate.in_flight=2"]).expect_err("would be lost");
    assert!(said.starts_with("--set load.rate.in_flight=2: load.rate.in_flight: the grid sets load.rate"), "{said}");
}

#[test]
fn errors_name_the_line_of_the_value_that_brought_them() {
    let cases = [
        ("[grid]\ncommittees = [1, 0]", "x.toml:5: committees: must be 1 to", "(point committees = 0)"),
        ("[grid]\ncommittees = [\n1,\n'two']", "x.toml:7: committees: invalid type", ""),
        ("[grid]\ncommittees = [1]\nload.cross = [0.5]", "x.toml:6: load.cross: must be 0 with one committee", ""),
        ("committees = 1\n[grid]\nload.speed = [1]", "x.toml:6: load", "unknown field"),
        ("committees = 1\n[grid]\nload.cross = 3", "x.toml:6: grid.load.cross: must be a list", ""),
        ("committees = 1\n[grid]\nname = ['a']", "grid.name: is not a key", ""),
        ("committees = 1\n[grid]\nsweep.repeats = [1]", "grid.sweep.repeats: is not a key", ""),
        ("[grid]\ncommittees = [1, 1]", "x.toml:5: grid.committees: 1 stands there twice", ""),
        ("committees = 1\n[sweep]\nrepeats = 0", "x.toml:6: sweep.repeats: must be 1", ""),
        ("committees = 1\n[sweep]\nrepeat = 2", "x.toml:6: sweep.repeat: unknown field", ""),
        ("committees = 1\n[sweep]\nleave_out = [{ nodes = 3 }]", "sweep.leave_out.0: the grid has no key nodes", ""),
        ("committees = 1\n[[workloads]]\nload.cross = 0", "x.toml:5: workloads.0: needs a `name`", ""),
        (
            "committees = 1\n[[workloads]]\nname = 'a'\nload.accounts = 1\n",
            "x.toml:7: load.accounts: must be at least 2",
            "(point a)",
        ),
        ("committees = 1\n[knee]\np99_ms_max = 0", "x.toml:6: knee.p99_ms_max: must be above 0", ""),
        ("committees = 1\n[knee]\np99_ms_max = 9\nneeded = 2", "x.toml:7: knee.needed: must be more than half", ""),
        ("[grid]\ncommittees = [1]\n[sweep]\nleave_out = [{ committees = 1 }]", "leave_out: leaves no point", ""),
    ];
    for (more, begins, holds) in cases {
        let said = read(more, &[]).expect_err(more);
        assert!(said.contains(begins) && said.contains(holds), "{more:?}\n says: {said}\n not: {begins} … {holds}");
    }
    let said = Spec::parse("x.toml", &format!("{BASE}committees = 1\n[grid]\nload.cross = [0]"), &[]);
    let said = said.expect_err("no single run").to_string();
    assert!(said.starts_with("x.toml:5: grid: belongs to more than one run: 'testbed sweep'"), "{said}");
}

proptest! {
    /// Every combination stands there once, and reads as the spec with its values set by hand.
    #[test]
    fn a_grid_is_its_product(
        rates in proptest::collection::btree_set(1u32..10_000, 1..5),
        delays in proptest::collection::btree_set(0u64..1_000, 1..4),
    ) {
        let list = |values: Vec<String>| format!("[{}]", values.join(", "));
        let more = format!(
            "committees = 2\n[load]\nrate = {{ kind = 'poisson', per_second = 1 }}\n[grid]\n\
             load.rate.per_second = {}\nnode.min_round_delay_ms = {}\n",
            list(rates.iter().map(ToString::to_string).collect()),
            list(delays.iter().map(ToString::to_string).collect()),
        );
        let sweep = read(&more, &[]).expect("a good file");
        let mut expected = Vec::new();
        for rate in &rates {
            for delay in &delays {
                let sets = [format!("load.rate.per_second={rate}"), format!("node.min_round_delay_ms={delay}")];
                let text = format!("{BASE}committees = 2\n[load]\nrate = {{ kind = 'poisson', per_second = 1 }}\n");
                expected.push(Spec::parse("x", &text, &sets).expect("a good spec"));
            }
        }
        let points: Vec<Spec> = sweep.points.into_iter().map(|point| point.spec).collect();
        prop_assert_eq!(points, expected);
    }
}
