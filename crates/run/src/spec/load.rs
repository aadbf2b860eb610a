//! The load: rate, accounts, who pays whom.

use serde::{Deserialize, Serialize};

/// What is paid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// How many payments per second, over the whole system.
    pub rate: Rate,
    /// Accounts over all committees, funded before the load.
    pub accounts: usize,
    /// Who pays whom.
    pub distribution: Distribution,
    /// How many payments go to another committee.
    pub cross: Cross,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Loadgen processes that share the load.
    pub processes: usize,
    /// Most payments sent and not certified, over all processes; more are skipped and counted.
    pub max_in_flight: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rate: Rate::Poisson { per_second: 2_000.0 },
            accounts: 10_000,
            distribution: Distribution::Uniform,
            cross: Cross::Natural,
            seed: 1,
            processes: 1,
            max_in_flight: 50_000,
        }
    }
}

/// How many payments per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RateKeys", into = "RateKeys")]
pub enum Rate {
    /// At equal distances.
    Constant {
        /// Payments per second.
        per_second: f64,
    },
    /// At random distances.
    Poisson {
        /// Payments per second on average.
        per_second: f64,
    },
    /// From one rate to another, evenly over the duration, at equal distances.
    Ramp {
        /// At the start.
        from_per_second: f64,
        /// At the end.
        to_per_second: f64,
    },
    /// One rate after the other, each for an equal part of the duration.
    Steps {
        /// The rates.
        steps_per_second: Vec<f64>,
    },
    /// As many as are certified: a new one for each that is, so that so many are always in flight.
    Closed {
        /// Payments in flight, over all processes.
        in_flight: usize,
    },
    /// A share of what a closed loop reaches in a probe before the run; Poisson.
    Fraction {
        /// The share, above 0, at most 1.
        of_closed_loop: f64,
        /// Never below so many per second.
        at_least_per_second: f64,
        /// Seconds of the probe.
        probe_s: f64,
        /// Payments in flight in the probe, over all processes.
        probe_in_flight: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RateKind {
    Constant,
    Poisson,
    Ramp,
    Steps,
    Closed,
    Fraction,
}

/// The keys of `[load.rate]`. Flat, so that an error in one of them has its line.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateKeys {
    kind: Option<RateKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_per_second: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of_closed_loop: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_in_flight: Option<usize>,
}

/// Takes a key that the kind needs.
fn need<T>(value: &mut Option<T>, key: &'static str) -> Result<T, String> {
    value.take().ok_or_else(|| format!("this kind needs the key `{key}`"))
}

impl RateKeys {
    /// The first key that is left over.
    fn left(&self) -> Option<&'static str> {
        let keys = [
            (self.per_second.is_some(), "per_second"),
            (self.from_per_second.is_some(), "from_per_second"),
            (self.to_per_second.is_some(), "to_per_second"),
            (self.steps_per_second.is_some(), "steps_per_second"),
            (self.in_flight.is_some(), "in_flight"),
            (self.of_closed_loop.is_some(), "of_closed_loop"),
            (self.at_least_per_second.is_some(), "at_least_per_second"),
            (self.probe_s.is_some(), "probe_s"),
            (self.probe_in_flight.is_some(), "probe_in_flight"),
        ];
        keys.into_iter().find(|(there, _)| *there).map(|(_, key)| key)
    }
}

impl TryFrom<RateKeys> for Rate {
    type Error = String;

    fn try_from(mut keys: RateKeys) -> Result<Self, String> {
        let kind = keys.kind.ok_or(
            "the key `kind` is missing: constant, poisson, ramp, steps, closed or fraction (of the closed-loop rate)",
        )?;
        let rate = match kind {
            RateKind::Constant => Self::Constant { per_second: need(&mut keys.per_second, "per_second")? },
            RateKind::Poisson => Self::Poisson { per_second: need(&mut keys.per_second, "per_second")? },
            RateKind::Ramp => Self::Ramp {
                from_per_second: need(&mut keys.from_per_second, "from_per_second")?,
                to_per_second: need(&mut keys.to_per_second, "to_per_second")?,
            },
            RateKind::Steps => Self::Steps { steps_per_second: need(&mut keys.steps_per_second, "steps_per_second")? },
            RateKind::Closed => Self::Closed { in_flight: need(&mut keys.in_flight, "in_flight")? },
            RateKind::Fraction => Self::Fraction {
                of_closed_loop: need(&mut keys.of_closed_loop, "of_closed_loop")?,
                at_least_per_second: keys.at_least_per_second.take().unwrap_or(1.0),
                probe_s: keys.probe_s.take().unwrap_or(5.0),
                probe_in_flight: keys.probe_in_flight.take().unwrap_or(4_096),
            },
        };
        keys.left().map_or(Ok(rate), |key| Err(format!("the key `{key}` belongs to another kind of rate")))
    }
}

impl From<Rate> for RateKeys {
    fn from(rate: Rate) -> Self {
        let keys = |kind| Self { kind: Some(kind), ..Self::default() };
        match rate {
            Rate::Constant { per_second } => Self { per_second: Some(per_second), ..keys(RateKind::Constant) },
            Rate::Poisson { per_second } => Self { per_second: Some(per_second), ..keys(RateKind::Poisson) },
            Rate::Ramp { from_per_second, to_per_second } => Self {
                from_per_second: Some(from_per_second),
                to_per_second: Some(to_per_second),
                ..keys(RateKind::Ramp)
            },
            Rate::Steps { steps_per_second } => {
                Self { steps_per_second: Some(steps_per_second), ..keys(RateKind::Steps) }
            }
            Rate::Closed { in_flight } => Self { in_flight: Some(in_flight), ..keys(RateKind::Closed) },
            Rate::Fraction { of_closed_loop, at_least_per_second, probe_s, probe_in_flight } => Self {
                of_closed_loop: Some(of_closed_loop),
                at_least_per_second: Some(at_least_per_second),
                probe_s: Some(probe_s),
                probe_in_flight: Some(probe_in_flight),
                ..keys(RateKind::Fraction)
            },
        }
    }
}

/// Who pays whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DistributionKeys", into = "DistributionKeys")]
pub enum Distribution {
    /// All accounts alike.
    Uniform,
    /// The i-th account pays and is paid in proportion to i^−exponent.
    Zipf {
        /// Above 0.
        exponent: f64,
    },
    /// A few vendors are paid more than others; payers are uniform.
    Hot {
        /// Number of vendors.
        vendors: usize,
        /// Share of all payments that go to them.
        share: f64,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DistributionKind {
    Uniform,
    Zipf,
    Hot,
}

/// The keys of `[load.distribution]`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DistributionKeys {
    kind: Option<DistributionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exponent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendors: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

impl TryFrom<DistributionKeys> for Distribution {
    type Error = String;

    fn try_from(mut keys: DistributionKeys) -> Result<Self, String> {
        let distribution = match keys.kind.ok_or("the key `kind` is missing: uniform, zipf or hot")? {
            DistributionKind::Uniform => Self::Uniform,
            DistributionKind::Zipf => Self::Zipf { exponent: need(&mut keys.exponent, "exponent")? },
            DistributionKind::Hot => {
                Self::Hot { vendors: need(&mut keys.vendors, "vendors")?, share: need(&mut keys.share, "share")? }
            }
        };
        let left = [
            (keys.exponent.is_some(), "exponent"),
            (keys.vendors.is_some(), "vendors"),
            (keys.share.is_some(), "share"),
        ];
        match left.into_iter().find(|(there, _)| *there) {
            Some((_, key)) => Err(format!("the key `{key}` belongs to another kind of distribution")),
            None => Ok(distribution),
        }
    }
}

impl From<Distribution> for DistributionKeys {
    fn from(distribution: Distribution) -> Self {
        let keys = |kind| Self { kind: Some(kind), ..Self::default() };
        match distribution {
            Distribution::Uniform => keys(DistributionKind::Uniform),
            Distribution::Zipf { exponent } => Self { exponent: Some(exponent), ..keys(DistributionKind::Zipf) },
            Distribution::Hot { vendors, share } => {
                Self { vendors: Some(vendors), share: Some(share), ..keys(DistributionKind::Hot) }
            }
        }
    }
}

/// How many payments go to another committee: `"natural"` or a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cross {
    /// As the payees fall: 1 − 1/k of them for uniform accounts.
    Natural,
    /// This share.
    Ratio(f64),
}

impl Serialize for Cross {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Natural => serializer.serialize_str("natural"),
            Self::Ratio(ratio) => serializer.serialize_f64(*ratio),
        }
    }
}

impl<'de> Deserialize<'de> for Cross {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CrossVisitor)
    }
}

struct CrossVisitor;

impl serde::de::Visitor<'_> for CrossVisitor {
    type Value = Cross;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"natural\" or a share from 0 to 1")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cross, E> {
        if text == "natural" {
            Ok(Cross::Natural)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    fn visit_f64<E>(self, ratio: f64) -> Result<Cross, E> {
        Ok(Cross::Ratio(ratio))
    }

    fn visit_i64<E>(self, ratio: i64) -> Result<Cross, E> {
        Ok(Cross::Ratio(ratio as f64))
    }
}
