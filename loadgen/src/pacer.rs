//! Decides at each moment how many payments to send: never more than are due, never a burst to catch up.
//!
//! Open loop: what is due within [`LATE_MAX`] is sent with its intended time; what is later than that (this
//! process was held up) or finds too many in flight is skipped and counted. Closed loop: a new payment for
//! each that ended.

use std::time::{Duration, Instant};

use crate::held::NoPayment;
use crate::schedule::Schedule;

/// How late a payment may be sent; later ones are skipped.
pub const LATE_MAX: Duration = Duration::from_millis(50);

/// Open or closed loop.
pub enum Pace {
    /// By intended times.
    Open(Schedule),
    /// So many in flight.
    Closed(usize),
}

/// What became of the intended times so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaceCounts {
    /// Times that came.
    pub offered: u64,
    /// Skipped because too many were in flight.
    pub skipped_full: u64,
    /// Skipped because this process was late.
    pub skipped_late: u64,
    /// No payment was signed: skipped times of an open loop, looks of a closed one.
    pub unsigned: u64,
    /// No payer had room: skipped times of an open loop, looks of a closed one.
    pub payers_full: u64,
}

/// The pace of one phase.
pub struct Pacer {
    pace: Pace,
    start: Instant,
    end: Instant,
    in_flight_max: usize,
    /// Counts so far.
    pub counts: PaceCounts,
}

impl Pacer {
    /// A phase from `start` on.
    pub fn new(pace: Pace, start: Instant, duration: Duration, in_flight_max: usize) -> Self {
        Self { pace, start, end: start + duration, in_flight_max, counts: PaceCounts::default() }
    }

    /// Whether the phase is over: its time is up, and every payment that was due in it was given out or counted as
    /// skipped, the ones since the last look, too.
    pub fn over(&self, now: Instant) -> bool {
        let left = matches!(&self.pace, Pace::Open(schedule) if schedule.peek().is_some());
        now >= self.end && !left
    }

    /// When to look again: the next intended time, but not before `least` has passed.
    pub fn wake_at(&self, now: Instant, least: Duration) -> Instant {
        let next = match &self.pace {
            Pace::Open(schedule) => schedule.peek().map_or(self.end, |time| self.start + time),
            Pace::Closed(_) => self.end,
        };
        next.max(now + least).min(self.end.max(now + least))
    }

    /// `count` of those due found no payment that may be sent, for that reason: skipped, or in a closed loop not
    /// asked for.
    pub fn unsent(&mut self, count: u64, why: NoPayment) {
        let times = match self.pace {
            Pace::Open(_) => count,
            Pace::Closed(_) => {
                self.counts.offered -= count;
                u64::from(count > 0)
            }
        };
        match why {
            NoPayment::Unsigned => self.counts.unsigned += times,
            NoPayment::PayersFull => self.counts.payers_full += times,
        }
    }

    /// Offered and not sent, for whatever reason.
    pub fn skipped(&self) -> u64 {
        let counts = &self.counts;
        match self.pace {
            Pace::Open(_) => counts.skipped_full + counts.skipped_late + counts.unsigned + counts.payers_full,
            Pace::Closed(_) => 0,
        }
    }

    /// The intended times to send at now, with so many in flight.
    pub fn due(&mut self, now: Instant, in_flight: usize) -> Vec<Instant> {
        match &mut self.pace {
            Pace::Closed(wanted) => {
                let count = if now < self.end { wanted.saturating_sub(in_flight) } else { 0 };
                self.counts.offered += count as u64;
                vec![now; count]
            }
            Pace::Open(schedule) => {
                let mut due = Vec::new();
                while let Some(time) = schedule.peek().filter(|time| self.start + *time <= now) {
                    schedule.pop();
                    let intended = self.start + time;
                    self.counts.offered += 1;
                    if now.duration_since(intended) > LATE_MAX {
                        self.counts.skipped_late += 1;
                    } else if in_flight + due.len() >= self.in_flight_max {
                        self.counts.skipped_full += 1;
                    } else {
                        due.push(intended);
                    }
                }
                due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shardpay_run::Rate;

    use super::*;
    use crate::random::Chance;

    fn pacer(per_second: f64, start: Instant) -> Pacer {
        let duration = Duration::from_secs(10);
        let schedule = Schedule::new(&Rate::Constant { per_second }, duration, (0, 1), Chance::new(1, "test", 0));
        Pacer::new(Pace::Open(schedule.unwrap()), start, duration, 1_000)
    }

    #[test]
    fn sends_what_is_due_with_its_intended_time() {
        let start = Instant::now();
        let mut pacer = pacer(1_000.0, start);
        let due = pacer.due(start + Duration::from_micros(9_500), 0);
        assert_eq!(due.len(), 10);
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(due[0], start);
        assert!(pacer.due(start + Duration::from_micros(9_600), 0).is_empty());
    }

    #[test]
    fn a_stall_is_no_reason_for_a_burst() {
        let start = Instant::now();
        let mut pacer = pacer(1_000.0, start);
        let due = pacer.due(start + Duration::from_millis(2_000), 0);
        assert!(due.len() <= LATE_MAX.as_millis() as usize + 1, "{}", due.len());
        assert_eq!(pacer.counts.offered, 2_001);
        assert_eq!(pacer.counts.skipped_late + due.len() as u64, 2_001);
    }

    #[test]
    fn a_full_pipe_skips_and_counts() {
        let start = Instant::now();
        let mut pacer = pacer(1_000.0, start);
        assert_eq!(pacer.due(start + Duration::from_millis(40), 990).len(), 10);
        assert_eq!(pacer.counts.skipped_full, 31);
    }

    #[test]
    fn what_was_due_since_the_last_look_is_not_lost_at_the_end() {
        let start = Instant::now();
        let mut pacer = pacer(1_000.0, start);
        assert_eq!(pacer.due(start + Duration::from_millis(50), 0).len(), 51);
        let end = start + Duration::from_secs(10) + Duration::from_millis(1);
        assert!(!pacer.over(end), "9,949 payments were due");
        let sent = pacer.due(end, 0).len() as u64;
        assert!(pacer.over(end));
        assert_eq!((pacer.counts.offered, 51 + sent + pacer.skipped()), (10_000, 10_000));
        let closed = Pacer::new(Pace::Closed(64), start, Duration::from_secs(1), 64);
        assert!(!closed.over(start) && closed.over(start + Duration::from_secs(1)));
    }

    #[test]
    fn what_found_no_payment_is_skipped_in_an_open_loop_and_not_asked_for_in_a_closed_one() {
        let start = Instant::now();
        let mut open = pacer(1_000.0, start);
        assert_eq!(open.due(start + Duration::from_micros(9_500), 0).len(), 10);
        open.unsent(3, NoPayment::Unsigned);
        open.unsent(2, NoPayment::PayersFull);
        assert_eq!((open.skipped(), open.counts.offered), (5, 10));
        assert_eq!((open.counts.unsigned, open.counts.payers_full, open.counts.skipped_full), (3, 2, 0));
        let mut closed = Pacer::new(Pace::Closed(64), start, Duration::from_secs(1), 64);
        assert_eq!(closed.due(start, 0).len(), 64);
        closed.unsent(60, NoPayment::Unsigned);
        closed.unsent(0, NoPayment::PayersFull);
        assert_eq!((closed.skipped(), closed.counts.offered), (0, 4));
        assert_eq!((closed.counts.unsigned, closed.counts.payers_full), (1, 0));
    }

    #[test]
    fn a_closed_loop_fills_up_and_ends() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Closed(64), start, Duration::from_secs(1), 64);
        assert_eq!(pacer.due(start, 0).len(), 64);
        assert_eq!(pacer.due(start, 60).len(), 4);
        assert!(pacer.due(start + Duration::from_secs(1), 0).is_empty());
    }
}
