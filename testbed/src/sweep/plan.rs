//! What a sweep does in which order, how long that takes, and what fits its budget. Without I/O.

use shardpay_run::{OverBudget, Rate, Spec, SweepOptions};

/// Payments/s that a closed loop is guessed to reach, per committee, before anything is known.
const CLOSED_GUESS: f64 = 8_000.0;
/// Starting, connecting and stopping: of any cluster, and of each node.
const CLUSTER_S: f64 = 5.0;
const NODE_S: f64 = 0.3;
/// Accounts funded per second.
const FUNDED_PER_S: f64 = 8_000.0;
/// Payments signed per second and core.
const SIGNED_PER_S: f64 = 25_000.0;
/// Payments checked per second by the audit, each once per node that holds it.
const AUDITED_PER_S: f64 = 150_000.0;

/// Seconds that a run takes, before any was made: see `docs/EXPERIMENTS.md` for how far off it was.
pub fn estimate_s(spec: &Spec, cores: usize) -> f64 {
    let guess = CLOSED_GUESS * spec.committees as f64;
    let (rate, probe_s) = match &spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } | Rate::Daily { per_second, .. } => {
            (*per_second, 0.0)
        }
        Rate::Ramp { from_per_second, to_per_second } => ((from_per_second + to_per_second) / 2.0, 0.0),
        Rate::Steps { steps_per_second } => {
            (steps_per_second.iter().sum::<f64>() / steps_per_second.len().max(1) as f64, 0.0)
        }
        Rate::Fraction { probe_s, of_closed_loop, .. } => (guess * of_closed_loop, *probe_s),
        _ => (guess, 0.0),
    };
    let nodes = (spec.committees * spec.nodes_per_committee) as f64;
    let payments = rate * spec.duration_s + guess * probe_s;
    CLUSTER_S
        + NODE_S * nodes
        + spec.load.accounts as f64 / FUNDED_PER_S
        + payments / (SIGNED_PER_S * cores.max(1) as f64)
        + probe_s
        + spec.duration_s
        + payments * spec.nodes_per_committee as f64 / AUDITED_PER_S
}

/// Numbers from a seed (SplitMix64): the order of a sweep needs no better ones.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}

/// Points (by index) and repeats (from 1): every point once per repeat, each time in another order, so that what
/// drifts over the sweep does not fall on one point.
pub fn order(points: usize, repeats: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut draw = Draw(seed);
    let mut all = Vec::with_capacity(points * repeats);
    for repeat in 1..=repeats {
        let mut turn: Vec<usize> = (0..points).collect();
        for last in (1..turn.len()).rev() {
            turn.swap(last, draw.below(last + 1));
        }
        all.extend(turn.into_iter().map(|point| (point, repeat)));
    }
    all
}

/// What is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Repeats of each point.
    pub repeats: usize,
    /// Seconds for all of them.
    pub estimated_s: f64,
    /// How it was made to fit.
    pub trimmed: Option<String>,
}

/// Fits repeats of points, of which each takes so many seconds, into the budget. An error says what would fit.
pub fn fit(point_s: &[f64], options: &SweepOptions) -> Result<Fitted, String> {
    let once: f64 = point_s.iter().sum();
    let (asked, budget) = (options.repeats, options.budget_s);
    let estimated_s = once * asked as f64;
    if budget == 0.0 || estimated_s <= budget {
        return Ok(Fitted { repeats: asked, estimated_s, trimmed: None });
    }
    let fits = (budget / once).floor() as usize;
    let points = point_s.len();
    let too_long = format!(
        "{points} points × {asked} repeats take about {}, the budget (sweep.budget_s) is {}",
        duration(estimated_s),
        duration(budget)
    );
    if fits == 0 {
        return Err(format!("{too_long}; even one repeat takes {}: leave points out, or shorten them", duration(once)));
    }
    match options.over_budget {
        OverBudget::Refuse => Err(format!(
            "{too_long}; {fits} repeats would fit: --set sweep.repeats={fits}, or sweep.over_budget = \"fewer-repeats\""
        )),
        OverBudget::FewerRepeats => {
            let trimmed = format!("{fits} repeats instead of {asked}: {too_long}");
            Ok(Fitted { repeats: fits, estimated_s: once * fits as f64, trimmed: Some(trimmed) })
        }
    }
}

/// Seconds that are left: estimates of what is to come, corrected by how far off those of what is done were.
pub fn left_s(done: &[(f64, f64)], to_come: &[f64]) -> f64 {
    let (estimated, took) = done.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let factor = if estimated > 0.0 { took / estimated } else { 1.0 };
    to_come.iter().sum::<f64>() * factor
}

/// `1 h 05 min`, `4 min 10 s`, `37 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repeat_has_every_point_once_in_an_order_of_its_own() {
        let all = order(20, 3, 7);
        assert_eq!(all, order(20, 3, 7));
        assert_ne!(all, order(20, 3, 8));
        let turns: Vec<Vec<usize>> =
            all.chunks(20).map(|turn| turn.iter().map(|(point, _)| *point).collect()).collect();
        for (index, turn) in turns.iter().enumerate() {
            assert!(all[index * 20..][..20].iter().all(|(_, repeat)| *repeat == index + 1));
            let mut sorted = turn.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
        assert!(turns[0] != turns[1] && turns[1] != turns[2]);
    }

    #[test]
    fn every_place_is_drawn_about_alike() {
        // 600 shuffles of 6: each point stands first about 100 times
        let mut first = [0; 6];
        order(6, 600, 1).chunks(6).for_each(|turn| first[turn[0].0] += 1);
        assert!(first.iter().all(|count| (70..=130).contains(count)), "{first:?}");
    }

    #[test]
    fn a_budget_refuses_or_trims_and_says_how() {
        let options = |budget_s, over_budget| SweepOptions { repeats: 5, budget_s, over_budget, ..Default::default() };
        let points = [20.0, 40.0];
        let whole = Fitted { repeats: 5, estimated_s: 300.0, trimmed: None };
        assert_eq!(fit(&points, &options(0.0, OverBudget::Refuse)), Ok(whole.clone()));
        assert_eq!(fit(&points, &options(300.0, OverBudget::Refuse)), Ok(whole));
        let refused = fit(&points, &options(200.0, OverBudget::Refuse)).unwrap_err();
        let begins = "2 points × 5 repeats take about 5 min 00 s, the budget (sweep.budget_s) is 3 min 20 s; 3 repeats";
        assert!(refused.starts_with(begins), "{refused}");
        let trimmed = fit(&points, &options(200.0, OverBudget::FewerRepeats)).unwrap();
        assert_eq!((trimmed.repeats, trimmed.estimated_s), (3, 180.0));
        assert!(trimmed.trimmed.unwrap().starts_with("3 repeats instead of 5"));
        let hopeless = fit(&points, &options(59.0, OverBudget::FewerRepeats)).unwrap_err();
        assert!(hopeless.contains("even one repeat takes 1 min 00 s"), "{hopeless}");
    }

    #[test]
    fn what_is_left_follows_what_was_learnt() {
        assert_eq!(left_s(&[], &[10.0, 20.0]), 30.0);
        assert_eq!(left_s(&[(10.0, 15.0), (30.0, 45.0)], &[10.0]), 15.0);
        assert_eq!([0.4, 61.0, 3_900.0].map(duration), ["0 s", "1 min 01 s", "1 h 05 min"]);
    }

    #[test]
    fn longer_runs_of_more_nodes_take_longer() {
        let of = |more: &str| {
            let text = format!("name = 'x'\nduration_s = 20\ncommittees = 1\n{more}");
            estimate_s(&Spec::parse("x", &text, &[]).unwrap(), 2)
        };
        let small = of("nodes_per_committee = 1");
        assert!(small > 20.0 && small < 60.0, "{small}");
        assert!(of("nodes_per_committee = 4") > small);
        let probed = "nodes_per_committee = 1\n[load.rate]\nkind = 'fraction'\nof_closed_loop = 0.5\nprobe_s = 9";
        assert!(of(probed) > small + 9.0);
    }
}
