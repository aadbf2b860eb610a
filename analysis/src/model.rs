//! What the scale model predicts: beside runs that were made here, for systems that a simulation can hold, and beyond.
//!
//! Guarantees: predictions use the costs of the calibration and the runs' specs, nothing of the runs' results (a fraction
//! load's probe rate is part of what was offered); the error of each stands on the page as it is.

mod page;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use shardpay_model::{Cores, Costs, Extrapolation, Links, Load, Prediction, Setup, World, extrapolate};
use shardpay_run::Rate;

use crate::runs::{Point, Run};
use crate::stats::median;

pub use page::write;

/// Cores of each node in systems that are not here.
const NODE_CORES: usize = 2;
/// Systems that are simulated: committees, members, payments that one simulated payment stands for.
const SIMULATED: [(usize, usize, usize); 10] = [
    (1, 4, 1),
    (2, 4, 1),
    (4, 4, 2),
    (8, 4, 4),
    (16, 4, 8),
    (32, 4, 16),
    (64, 4, 32),
    (1, 7, 1),
    (1, 16, 2),
    (1, 32, 4),
];
/// Sizes of the closed model.
const COMMITTEES: [usize; 6] = [1, 4, 16, 64, 256, 1_024];
const MEMBERS: [usize; 5] = [4, 7, 16, 32, 64];

/// A point of runs and what was predicted for it.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The runs.
    pub point: Point,
    /// The prediction.
    pub predicted: Prediction,
}

impl Compared {
    /// Median of the runs' rates.
    pub fn rate(&self) -> f64 {
        median(&self.point.figures(|summary| summary.total.all.per_second))
    }

    /// Median of the runs' median latencies.
    pub fn p50_ms(&self) -> f64 {
        median(&self.point.figures(|summary| summary.total.all.latency_ms.p50))
    }

    /// Median of the runs' 99th percentiles.
    pub fn p99_ms(&self) -> f64 {
        median(&self.point.figures(|summary| summary.total.all.latency_ms.p99))
    }

    /// Rate, median latency and processor time per payment, measured and predicted.
    fn in_words(&self) -> String {
        let of = &self.predicted;
        format!(
            "{}: {:.0}/s, predicted {:.0}; p50 {:.0} ms, {:.0}; {:.0} µs a payment, {:.0}",
            self.point.label,
            self.rate(),
            of.per_second,
            self.p50_ms(),
            of.p50_ms,
            self.cpu_us(),
            of.per_payment.total_us()
        )
    }

    /// Median of the runs' processor time per payment.
    pub fn cpu_us(&self) -> f64 {
        median(&self.point.figures(|summary| summary.cpu_us_per_payment))
    }
}

/// A system that was simulated, and what the closed model says of it.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The system, saturated.
    pub setup: Setup,
    /// The simulation at saturation.
    pub full: Prediction,
    /// The simulation at half of that.
    pub half: Prediction,
    /// The closed model of the same system.
    pub closed: Extrapolation,
}

/// A system that only the closed model knows.
#[derive(Debug, Clone)]
pub struct Beyond {
    /// The system.
    pub setup: Setup,
    /// What the closed model says.
    pub closed: Extrapolation,
}

/// Everything that stands on the page.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it rests on.
    pub costs: Costs,
    /// Runs made here.
    pub compared: Vec<Compared>,
    /// Points that are not predicted, and why.
    pub left_out: Vec<(String, &'static str)>,
    /// Simulations.
    pub simulated: Vec<Simulated>,
    /// Extrapolations.
    pub beyond: Vec<Beyond>,
}

/// Predicts everything. `said` is told what comes next and how far it is, by several threads.
pub fn report(points: Vec<Point>, costs: Costs, said: &(dyn Fn(&str) + Sync)) -> Report {
    let (mut compared, mut left_out) = (Vec::new(), Vec::new());
    let mut asked = Vec::new();
    for point in points {
        match setup_of(&point.runs[0]) {
            Ok(setup) => asked.push((point, setup)),
            Err(why) => left_out.push((point.label.clone(), why)),
        }
    }
    said(&format!("predicting {} points of runs", asked.len()));
    let predict = |(point, setup): (Point, Setup)| {
        let compared = Compared { predicted: World::run(&setup, &costs), point };
        said(&compared.in_words());
        compared
    };
    compared.par_extend(asked.into_par_iter().map(predict));
    let lan = SIMULATED.map(|(committees, members, grain)| Setup {
        grain,
        ..Setup::saturated(committees, members, Cores::Each(NODE_CORES))
    });
    let far =
        [Links::region(), Links::aws()].map(|links| Setup { links, ..Setup::saturated(4, 4, Cores::Each(NODE_CORES)) });
    let setups: Vec<Setup> = lan.into_iter().chain(far).collect();
    let largest = setups.iter().map(Setup::nodes).max().unwrap_or(0);
    said(&format!("predicting {} systems of up to {largest} nodes", setups.len()));
    // largest first: the last one is not what everybody waits for
    let mut order: Vec<usize> = (0..setups.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(setups[*at].nodes()));
    let done = AtomicUsize::new(0);
    let one = |at: usize| {
        let (setup, start) = (&setups[at], Instant::now());
        let simulated = simulate(setup.clone(), &costs);
        let (count, name) =
            (done.fetch_add(1, Ordering::Relaxed) + 1, format!("{} × {}", setup.committees, setup.members));
        said(&format!("[{count}/{}] {name}, {:.0} s", setups.len(), start.elapsed().as_secs_f64()));
        (at, simulated)
    };
    let mut simulated: Vec<(usize, Simulated)> = order.into_par_iter().with_max_len(1).map(one).collect();
    simulated.sort_by_key(|(at, _)| *at);
    let simulated = simulated.into_iter().map(|(_, simulated)| simulated).collect();
    Report { simulated, beyond: beyond(&costs), compared, left_out, costs }
}

fn simulate(setup: Setup, costs: &Costs) -> Simulated {
    let full = World::run(&setup, costs);
    let half = World::run(&Setup { load: Load::Open(full.per_second / 2.0), ..setup.clone() }, costs);
    Simulated { closed: extrapolate(&setup, costs), setup, full, half }
}

fn beyond(costs: &Costs) -> Vec<Beyond> {
    let links = [Links::lan(), Links::region(), Links::aws()];
    let sizes = MEMBERS.into_iter().flat_map(|members| COMMITTEES.map(|committees| (committees, members)));
    let systems = links.iter().flat_map(|links| sizes.clone().map(move |size| (links.clone(), size)));
    systems
        .map(|(links, (committees, members))| {
            let setup = Setup { links, ..Setup::saturated(committees, members, Cores::Each(NODE_CORES)) };
            Beyond { closed: extrapolate(&setup, costs), setup }
        })
        .collect()
}

/// The system of a run, as it shares its machine.
fn setup_of(run: &Run) -> Result<Setup, &'static str> {
    let spec = run.spec();
    if !spec.faults.is_empty() {
        return Err("something is broken in it");
    }
    if crate::report::environment::is_scale_model(run) {
        return Err("its nodes are limited containers");
    }
    let load = match spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => Load::Open(per_second),
        Rate::Closed { in_flight } => Load::Closed(in_flight),
        Rate::Fraction { of_closed_loop, at_least_per_second, .. } => {
            Load::Open((of_closed_loop * run.summary.probe_per_second).max(at_least_per_second))
        }
        _ => return Err("its rate changes"),
    };
    let cores = Cores::Shared(run.record.host.cores);
    let usual = Setup::saturated(spec.committees, spec.nodes_per_committee, cores);
    Ok(Setup {
        links: Links::loopback(),
        load,
        cross: spec.cross_ratio(),
        accounts: spec.load.accounts.min(20_000),
        lanes: spec.node.lanes,
        round_delay: Duration::from_millis(spec.node.min_round_delay_ms),
        warmup: Duration::from_secs(1),
        measured: Duration::from_secs(3),
        ..usual
    })
}
