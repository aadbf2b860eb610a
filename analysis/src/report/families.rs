//! Points that differ in one thing: what a curve is drawn through.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shardpay_run::{Rate, Spec};

use super::labels;
use super::series::{self, NodeFigures};
use crate::runs::{Point, Run, points, without_chance};

/// Families of one kind that get a figure each, largest first; more are left to the CSV files.
const FAMILIES_MAX: usize = 4;

/// All that may be drawn, and the void runs, which are only named.
pub(crate) struct Input {
    /// Points of good runs.
    pub(crate) points: Vec<Point>,
    /// Runs that are no result.
    pub(crate) void: Vec<Run>,
    /// What the nodes of each good run counted, by its directory.
    series: BTreeMap<PathBuf, Vec<NodeFigures>>,
}

impl Input {
    /// Sorts runs, and reads what the nodes of the good ones counted.
    pub(crate) fn read(runs: &[Run]) -> anyhow::Result<Self> {
        let (good, void): (Vec<Run>, Vec<Run>) = runs.iter().cloned().partition(|run| run.void_because().is_none());
        let read = |run: &Run| Ok((run.dir.clone(), series::read(run)?));
        let series = good.iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { points: points(good), void, series })
    }

    /// What the nodes of a good run counted.
    pub(super) fn series(&self, run: &Run) -> &[NodeFigures] {
        self.series.get(&run.dir).map_or(&[], Vec::as_slice)
    }

    /// All good runs.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.points.iter().flat_map(|point| &point.runs)
    }
}

/// Points that differ in one thing only, ascending in it.
pub(crate) struct Family<'a> {
    /// At least two.
    pub(crate) points: Vec<&'a Point>,
    /// Void runs that would belong to it.
    pub(crate) void: Vec<&'a Run>,
    /// `-2`, `-3` … behind the figure's name; nothing for the first.
    pub(crate) suffix: String,
    /// What tells it from the other families; empty for a single one.
    pub(crate) name: String,
}

/// What a kind of figure varies.
pub(crate) struct Variation {
    /// Which points can be in it.
    pub(crate) fits: fn(&Spec) -> bool,
    /// Makes members of a family equal.
    pub(crate) blank: fn(&mut Spec),
    /// What it varies.
    pub(crate) key: fn(&Spec) -> f64,
}

impl Variation {
    fn shared(&self, spec: &Spec) -> Spec {
        let mut spec = without_chance(spec);
        (self.blank)(&mut spec);
        spec
    }

    /// All families of two different values or more.
    pub(crate) fn families<'a>(&self, input: &'a Input) -> Vec<Family<'a>> {
        let mut families: Vec<(Spec, Vec<&Point>)> = Vec::new();
        for point in input.points.iter().filter(|point| (self.fits)(point.spec())) {
            let shared = self.shared(point.spec());
            match families.iter_mut().find(|(spec, _)| *spec == shared) {
                Some((_, points)) => points.push(point),
                None => families.push((shared, vec![point])),
            }
        }
        for (_, points) in &mut families {
            points.sort_by(|a, b| (self.key)(a.spec()).total_cmp(&(self.key)(b.spec())));
        }
        families.retain(|(_, points)| {
            let ends = points.first().zip(points.last());
            ends.is_some_and(|(first, last)| (self.key)(first.spec()) < (self.key)(last.spec()))
        });
        families.sort_by_key(|(_, points)| std::cmp::Reverse(points.len()));
        families.truncate(FAMILIES_MAX);
        let several = families.len() > 1;
        let names = if several {
            labels::short(&families.iter().map(|(spec, _)| spec).collect::<Vec<_>>())
        } else {
            Vec::new()
        };
        let family = |(index, (shared, points)): (usize, (Spec, Vec<&'a Point>))| Family {
            void: input.void.iter().filter(|run| self.shared(run.spec()) == shared).collect(),
            suffix: if index == 0 { String::new() } else { format!("-{}", index + 1) },
            name: names.get(index).cloned().unwrap_or_default(),
            points,
        };
        families.into_iter().enumerate().map(family).collect()
    }
}

impl Family<'_> {
    /// A title that tells the figure from those of other families.
    pub(crate) fn title(&self, title: &str) -> String {
        if self.name.is_empty() { title.to_owned() } else { format!("{title} ({})", self.name) }
    }
}

/// Takes the rate out.
pub(crate) fn without_rate(spec: &mut Spec) {
    spec.load.rate = Rate::Closed { in_flight: 1 };
}

/// The rate that was asked for, when it was the same all the time.
pub(crate) fn open_rate(spec: &Spec) -> Option<f64> {
    match spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => Some(per_second),
        _ => None,
    }
}

/// Whether as much was sent as could be certified.
pub(crate) const fn is_closed(spec: &Spec) -> bool {
    matches!(spec.load.rate, Rate::Closed { .. })
}

/// Open or closed loop, in words.
pub(crate) const fn pace(spec: &Spec) -> &'static str {
    if is_closed(spec) { "closed-loop" } else { "open-loop" }
}
