//! How long members take to answer, and which of them has been silent for too long. No I/O, no clock.
//!
//! A member that executes answers about each ledger block, so it speaks several times within the time that one
//! answer takes, at saturation too. Silence is therefore measured from its *last* answer, not per transaction,
//! and against what answers are seen to take: a slow committee makes nobody impatient. While no other member
//! answers either it is the committee that stands still, and patience is longer.

use std::time::Duration;

use shardpay_types::TypicalTime;
use tokio::time::Instant;

/// No member is silent before that.
const SILENCE_MIN: Duration = Duration::from_millis(500);
/// Nor in doubt before that.
const DOUBT_MIN: Duration = Duration::from_millis(150);
/// Usual times to answer after which a member is silent.
const SILENCE_FACTOR: u32 = 3;
/// How much longer that is while no other member answers.
const ALONE_FACTOR: u32 = 3;
/// Usual times to answer after which an attempt has failed, however long that is.
const ATTEMPT_FACTOR: u32 = 2;
/// Doublings of patience at most, one for each silence in a row.
const STRIKES_MAX: u32 = 4;

/// What answers take.
#[derive(Debug)]
pub(super) struct Pace {
    answers: TypicalTime,
    longest: Duration,
}

impl Pace {
    /// Nothing is known yet; patience is not longer than `longest` unless answers usually take so long.
    pub(super) fn new(longest: Duration) -> Self {
        Self { answers: TypicalTime::default(), longest }
    }

    /// Takes note of how long an answer took.
    pub(super) fn sample(&mut self, took: Duration) {
        self.answers.note(took);
    }

    /// Longer than most answers take; `None` as long as nothing is known.
    fn usual(&self) -> Option<Duration> {
        self.answers.with_deviations(1)
    }

    fn patience(&self, strikes: u32, others_answer: bool) -> Duration {
        let Some(usual) = self.usual() else { return self.longest };
        let base = (usual * SILENCE_FACTOR).max(SILENCE_MIN) * (1 << strikes.min(STRIKES_MAX));
        (if others_answer { base } else { base * ALONE_FACTOR }).min(self.attempt())
    }

    /// How long a first attempt may take.
    pub(super) fn attempt(&self) -> Duration {
        self.usual().map_or(self.longest, |usual| self.longest.max(usual * ATTEMPT_FACTOR))
    }

    fn doubt(&self) -> Duration {
        self.usual().map_or(self.longest, |usual| (usual * 3 / 2).max(DOUBT_MIN))
    }
}

/// Whether one member answers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when an answer may be awaited: the first transaction sent, or the last answer.
    waits_since: Option<Instant>,
    heard: Option<Instant>,
    strikes: u32,
}

impl Watch {
    /// A new stream: nothing is awaited on it.
    pub(super) fn opened(&mut self) {
        self.waits_since = None;
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// It answered, whatever it was.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.waits_since, self.heard, self.strikes) = (Some(now), Some(now), 0);
    }

    /// The oldest transaction that is with it says that it waits only since then; none: it does not wait.
    pub(super) fn waits_from(&mut self, oldest: Option<Instant>) {
        self.waits_since = oldest.and_then(|oldest| self.waits_since.map(|since| since.max(oldest)));
    }

    /// It was silent once more.
    pub(super) fn strike(&mut self) {
        self.strikes += 1;
        self.waits_since = None;
    }

    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since
    }

    pub(super) fn heard_after(&self, time: Instant) -> bool {
        self.heard.is_some_and(|heard| heard > time)
    }

    /// When its silence has lasted too long.
    pub(super) fn silent_at(&self, pace: &Pace, others_answer: bool) -> Option<Instant> {
        self.waits_since.map(|since| since + pace.patience(self.strikes, others_answer))
    }

    /// Whether nothing new should go to it.
    pub(super) fn doubtful(&self, pace: &Pace, now: Instant) -> bool {
        self.waits_since.is_some_and(|since| now.saturating_duration_since(since) > pace.doubt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace_of(took: Duration) -> Pace {
        let mut pace = Pace::new(5_000 * MS);
        (0..50).for_each(|_| pace.sample(took));
        pace
    }

    #[test]
    fn patience_follows_what_answers_take() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert_eq!(watch.silent_at(&pace_of(40 * MS), true), None, "nothing is awaited");
        watch.sent(start);
        assert_eq!(watch.silent_at(&pace_of(40 * MS), true), Some(start + 500 * MS));
        assert_eq!(watch.silent_at(&Pace::new(5_000 * MS), true), Some(start + 5_000 * MS), "nothing is known yet");
        let slow = watch.silent_at(&pace_of(800 * MS), true).unwrap();
        assert!(slow > start + 2_300 * MS && slow < start + 2_700 * MS, "{:?}", slow - start);
        assert_eq!(watch.silent_at(&pace_of(40 * MS), false), Some(start + 1_500 * MS), "nobody answers");
    }

    #[test]
    fn silences_in_a_row_double_patience_and_an_answer_restores_it() {
        let (start, pace) = (Instant::now(), pace_of(40 * MS));
        let mut watch = Watch::default();
        watch.strike();
        watch.strike();
        watch.sent(start);
        assert_eq!(watch.silent_at(&pace, true), Some(start + 2_000 * MS));
        watch.heard(start + 10 * MS);
        assert_eq!(watch.silent_at(&pace, true), Some(start + 510 * MS));
        assert!(watch.heard_after(start) && !watch.heard_after(start + 10 * MS));
    }

    #[test]
    fn doubt_comes_before_silence() {
        let (start, pace) = (Instant::now(), pace_of(40 * MS));
        let mut watch = Watch::default();
        assert!(!watch.doubtful(&pace, start));
        watch.sent(start);
        assert!(!watch.doubtful(&pace, start + 100 * MS));
        assert!(watch.doubtful(&pace, start + 200 * MS));
        watch.waits_from(None);
        assert!(!watch.doubtful(&pace, start + 200 * MS), "nothing is with it");
    }
}
