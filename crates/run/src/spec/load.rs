//! The load: rate, accounts, who pays whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is paid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// How many payments per second, over the whole system.
    pub rate: Rate,
    /// Bytes of an opaque payload; 0: payments. Payloads have no accounts and no signatures, and the ledger orders them
    /// only because its genesis plan is made for it.
    pub payload: usize,
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
    /// Rates and accounts are those of one committee: all of them are multiplied when the spec is read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_committee: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rate: Rate::Poisson { per_second: 2_000.0 },
            payload: 0,
            accounts: 10_000,
            distribution: Distribution::Uniform,
            cross: Cross::Natural,
            seed: 1,
            processes: 1,
            max_in_flight: 50_000,
            per_committee: false,
        }
    }
}

impl Load {
    /// The load of so many committees, when it is that of one.
    pub(super) fn spread(&mut self, committees: usize) {
        if !std::mem::take(&mut self.per_committee) {
            return;
        }
        self.accounts = self.accounts.saturating_mul(committees);
        let times = |rate: &mut f64| *rate *= committees as f64;
        match &mut self.rate {
            Rate::Constant { per_second } | Rate::Poisson { per_second } | Rate::Daily { per_second, .. } => {
                times(per_second);
            }
            Rate::Ramp { from_per_second, to_per_second } => {
                times(from_per_second);
                times(to_per_second);
            }
            Rate::Steps { steps_per_second } => steps_per_second.iter_mut().for_each(times),
            Rate::Closed { in_flight } => *in_flight = in_flight.saturating_mul(committees),
            Rate::Fraction { at_least_per_second, probe_in_flight, .. } => {
                times(at_least_per_second);
                *probe_in_flight = probe_in_flight.saturating_mul(committees);
            }
            Rate::Trace { .. } => {}
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
    /// At random distances, with a rate that rises and falls with the time of day; the load's duration holds whole days.
    Daily {
        /// Payments per second on average.
        per_second: f64,
        /// How far the rate swings around the mean, as a share of it.
        swing: f64,
        /// Days that pass in the load; each begins at the quietest moment.
        days: usize,
    },
    /// As a file of payments says, which also says who pays whom how much.
    Trace {
        /// CSV with time, payer, payee, amount; a relative path counts from the current directory.
        file: PathBuf,
        /// How many seconds of the trace pass in one.
        speed: f64,
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
    Daily,
    Trace,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    swing: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
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
            (self.swing.is_some(), "swing"),
            (self.days.is_some(), "days"),
            (self.file.is_some(), "file"),
            (self.speed.is_some(), "speed"),
        ];
        keys.into_iter().find(|(there, _)| *there).map(|(_, key)| key)
    }
}

impl TryFrom<RateKeys> for Rate {
    type Error = String;

    fn try_from(mut keys: RateKeys) -> Result<Self, String> {
        let kind = keys.kind.ok_or(
            "the key `kind` is missing: constant, poisson, daily, ramp, steps, trace, closed or fraction (of the \
             closed-loop rate)",
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
            RateKind::Daily => Self::Daily {
                per_second: need(&mut keys.per_second, "per_second")?,
                swing: keys.swing.take().unwrap_or(0.8),
                days: keys.days.take().unwrap_or(1),
            },
            RateKind::Trace => {
                Self::Trace { file: need(&mut keys.file, "file")?, speed: keys.speed.take().unwrap_or(1.0) }
            }
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
            Rate::Daily { per_second, swing, days } => {
                Self { per_second: Some(per_second), swing: Some(swing), days: Some(days), ..keys(RateKind::Daily) }
            }
            Rate::Trace { file, speed } => Self { file: Some(file), speed: Some(speed), ..keys(RateKind::Trace) },
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
    /// Customers pay vendors, whose popularity is as Zipf's, amounts that are log-normal (docs/LOADGEN.md has the sources).
    Retail {
        /// Number of vendors, the first accounts; the others are customers.
        vendors: usize,
        /// Of the vendors' popularity: above 0.
        exponent: f64,
        /// Half of the payments are smaller, in coins.
        amount_median: f64,
        /// Standard deviation of the amounts' natural logarithm.
        amount_sigma: f64,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DistributionKind {
    Uniform,
    Zipf,
    Hot,
    Retail,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_sigma: Option<f64>,
}

impl TryFrom<DistributionKeys> for Distribution {
    type Error = String;

    fn try_from(mut keys: DistributionKeys) -> Result<Self, String> {
        let distribution = match keys.kind.ok_or("the key `kind` is missing: uniform, zipf, hot or retail")? {
            DistributionKind::Uniform => Self::Uniform,
            DistributionKind::Zipf => Self::Zipf { exponent: need(&mut keys.exponent, "exponent")? },
            DistributionKind::Hot => {
                Self::Hot { vendors: need(&mut keys.vendors, "vendors")?, share: need(&mut keys.share, "share")? }
            }
            DistributionKind::Retail => Self::Retail {
                vendors: need(&mut keys.vendors, "vendors")?,
                exponent: keys.exponent.take().unwrap_or(1.0),
                amount_median: keys.amount_median.take().unwrap_or(20.0),
                amount_sigma: keys.amount_sigma.take().unwrap_or(1.2),
            },
        };
        let left = [
            (keys.exponent.is_some(), "exponent"),
            (keys.vendors.is_some(), "vendors"),
            (keys.share.is_some(), "share"),
            (keys.amount_median.is_some(), "amount_median"),
            (keys.amount_sigma.is_some(), "amount_sigma"),
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
            Distribution::Retail { vendors, exponent, amount_median, amount_sigma } => Self {
                vendors: Some(vendors),
                exponent: Some(exponent),
                amount_median: Some(amount_median),
                amount_sigma: Some(amount_sigma),
                ..keys(DistributionKind::Retail)
            },
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

impl Cross {
    /// The share of payments between so many committees.
    pub fn share(self, committees: usize) -> f64 {
        match self {
            Self::Natural => 1.0 - 1.0 / committees as f64,
            Self::Ratio(ratio) => ratio,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(load: &str) -> Result<Load, String> {
        toml::from_str(load).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        let loads = [
            "[rate]\nkind = 'daily'\nper_second = 500\nswing = 0.5\ndays = 3",
            "[rate]\nkind = 'trace'\nfile = 'a/b.csv'\nspeed = 60",
            "[rate]\nkind = 'fraction'\nof_closed_loop = 0.5",
            "[distribution]\nkind = 'retail'\nvendors = 20\namount_sigma = 1.5",
            "[distribution]\nkind = 'hot'\nvendors = 5\nshare = 0.5",
        ];
        for text in loads {
            let load = read(text).unwrap();
            assert_eq!(read(&toml::to_string(&load).unwrap()), Ok(load), "{text}");
        }
        let daily = read("[rate]\nkind = 'daily'\nper_second = 500").unwrap().rate;
        assert_eq!(daily, Rate::Daily { per_second: 500.0, swing: 0.8, days: 1 });
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        for (text, key) in [
            ("[rate]\nkind = 'trace'\nfile = 'x'\nper_second = 5", "per_second"),
            ("[rate]\nkind = 'poisson'\nper_second = 5\nswing = 0.5", "swing"),
            ("[rate]\nkind = 'trace'", "file"),
            ("[distribution]\nkind = 'hot'\nvendors = 5\nshare = 0.5\namount_median = 3.0", "amount_median"),
            ("[distribution]\nkind = 'retail'", "vendors"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(&format!("`{key}`")), "{text}: {error}");
        }
    }
}
