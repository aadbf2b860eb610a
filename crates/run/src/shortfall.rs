//! Why a load fell short of what was asked: typed, so that programs can tell the causes apart and every
//! sentence says what was measured and no more.
//!
//! A cause is named when it concerns more than one in [`SHORTFALL_SHARE`] of the offered payments (lateness: when
//! 1 % of those sent were later than [`SEND_LAG_P99_MAX_MS`], too). Several can hold at once. Who was the limit
//! follows from the cause: only [`Shortfall::LoadgenLate`] and [`Shortfall::Unsigned`] lie with loadgen itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One in so many offered payments makes a cause.
pub const SHORTFALL_SHARE: u64 = 200;
/// Lateness of the sent payments' 99th percentile that makes a cause.
pub const SEND_LAG_P99_MAX_MS: f64 = 20.0;
/// Share of all the machine's cores in use, over the load, from which the machine counts as full.
pub const MACHINE_FULL: f64 = 0.9;

/// A cause.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Shortfall {
    /// Loadgen came late to its own schedule while the machine had cores to spare.
    LoadgenLate(Lateness),
    /// Loadgen came late because the machine's cores were all in use.
    MachineFull(Lateness),
    /// Payments whose time had come (in a closed loop: that were due) were not signed yet.
    Unsigned {
        /// How often none was there.
        times: u64,
    },
    /// The bound on payments in flight was met: certificates came later than payments were due.
    InFlightFull {
        /// Payments skipped.
        skipped: u64,
        /// The bound, over all processes.
        max_in_flight: usize,
    },
    /// All payers that were drawn had as many payments without a certified debit as loadgen lets an account have.
    PayersFull {
        /// How often no payment could be sent.
        times: u64,
    },
}

/// How late loadgen was, and what it had to work with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Payments skipped because their time was long past.
    pub skipped: u64,
    /// 99th percentile of how late the others were sent.
    pub lag_p99_ms: f64,
    /// Cores that loadgen used on average.
    pub loadgen_cores: f64,
    /// Share of all the machine's cores in use on average; 1 is all of them.
    pub machine_busy: f64,
}

impl Lateness {
    /// The cause it is.
    pub fn cause(self) -> Shortfall {
        if self.machine_busy >= MACHINE_FULL { Shortfall::MachineFull(self) } else { Shortfall::LoadgenLate(self) }
    }

    fn add(&mut self, other: &Self) {
        self.skipped += other.skipped;
        self.lag_p99_ms = self.lag_p99_ms.max(other.lag_p99_ms);
        self.loadgen_cores += other.loadgen_cores;
        self.machine_busy = self.machine_busy.max(other.machine_busy);
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { skipped, lag_p99_ms, loadgen_cores, machine_busy } = self;
        write!(
            f,
            "{skipped} payments were skipped as too late, 1 % of those sent were more than {lag_p99_ms:.1} ms late; \
             loadgen used {loadgen_cores:.2} cores, {:.0} % of the machine was in use",
            machine_busy * 100.0
        )
    }
}

/// One sentence, true as it stands.
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadgenLate(late) => write!(f, "loadgen was the limit, it did not keep its schedule: {late}"),
            Self::MachineFull(late) => write!(f, "the machine was full, loadgen got no core in time: {late}"),
            Self::Unsigned { times } => {
                write!(f, "loadgen was the limit: {times} times a payment was due and none was signed")
            }
            Self::InFlightFull { skipped, max_in_flight } => write!(
                f,
                "certificates came later than payments were due: {skipped} payments were skipped, as {max_in_flight} \
                 were in flight (load.max_in_flight)"
            ),
            Self::PayersFull { times } => write!(
                f,
                "payers were used up: {times} times no payment could be sent, as all who were to pay had their share \
                 of payments without a certified debit"
            ),
        }
    }
}

impl Shortfall {
    /// Whether loadgen itself was the limit, not the machine, the ledger or the spec.
    pub const fn is_loadgens(&self) -> bool {
        matches!(self, Self::LoadgenLate(_) | Self::Unsigned { .. })
    }

    /// Adds another process's cause to this one when it is the same; says whether it was.
    fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::LoadgenLate(own), Self::LoadgenLate(late)) | (Self::MachineFull(own), Self::MachineFull(late)) => {
                own.add(late);
            }
            (Self::Unsigned { times: own }, Self::Unsigned { times })
            | (Self::PayersFull { times: own }, Self::PayersFull { times }) => *own += times,
            (Self::InFlightFull { skipped: own, .. }, Self::InFlightFull { skipped, .. }) => *own += skipped,
            _ => return false,
        }
        true
    }

    /// Adds the causes of another process to those of this one.
    pub(crate) fn merge(all: &mut Vec<Self>, others: &[Self]) {
        for other in others {
            if !all.iter_mut().any(|own| own.absorb(other)) {
                all.push(*other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Lateness = Lateness { skipped: 30, lag_p99_ms: 41.25, loadgen_cores: 0.5, machine_busy: 0.99 };

    #[test]
    fn who_was_the_limit_follows_from_the_machine() {
        let idle = Lateness { machine_busy: 0.5, ..LATE };
        assert_eq!((LATE.cause(), idle.cause()), (Shortfall::MachineFull(LATE), Shortfall::LoadgenLate(idle)));
        let full = Shortfall::InFlightFull { skipped: 7, max_in_flight: 100 };
        let all =
            [LATE.cause(), idle.cause(), Shortfall::Unsigned { times: 1 }, full, Shortfall::PayersFull { times: 2 }];
        assert_eq!(all.map(|cause| cause.is_loadgens()), [false, true, true, false, false]);
        // the words "loadgen was the limit" stand in exactly these sentences
        assert_eq!(
            all.map(|cause| cause.to_string().contains("loadgen was the limit")),
            [false, true, true, false, false]
        );
    }

    #[test]
    fn causes_have_the_documented_form() {
        let text = |cause: Shortfall| serde_json::to_string(&cause).expect("a JSON form");
        assert_eq!(
            text(LATE.cause()),
            r#"{"cause":"machine-full","skipped":30,"lag_p99_ms":41.25,"loadgen_cores":0.5,"machine_busy":0.99}"#
        );
        assert_eq!(text(Shortfall::Unsigned { times: 3 }), r#"{"cause":"unsigned","times":3}"#);
        let full = Shortfall::InFlightFull { skipped: 7, max_in_flight: 100 };
        assert_eq!(text(full), r#"{"cause":"in-flight-full","skipped":7,"max_in_flight":100}"#);
        assert_eq!(serde_json::from_str::<Shortfall>(&text(full)).expect("read"), full);
    }

    #[test]
    fn processes_add_up_by_cause() {
        let full = |skipped| Shortfall::InFlightFull { skipped, max_in_flight: 100 };
        let mut all = vec![full(1)];
        Shortfall::merge(&mut all, &[full(2), LATE.cause()]);
        Shortfall::merge(&mut all, &[LATE.cause()]);
        let late = Lateness { skipped: 60, loadgen_cores: 1.0, ..LATE };
        assert_eq!(all, [full(3), Shortfall::MachineFull(late)]);
    }
}
