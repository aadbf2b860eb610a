//! How often a committee's blocks come, and after what time the one who delivers them is silent. No clock.

use std::time::Duration;

/// A member is not silent before that, however often blocks come.
const SILENCE_MIN: Duration = Duration::from_millis(500);
/// Usual times from block to block after which a member is silent.
const SILENCE_FACTOR: u32 = 4;
/// Doublings of that at most, one for each silence since the last block.
const SILENCES_MAX: u32 = 4;

/// How often blocks come.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// Smoothed time from block to block.
    usual: Option<Duration>,
    /// Silences since the last block.
    silences: u32,
    silence_max: Duration,
}

impl Rhythm {
    /// Nothing is known yet; no wait is longer than `silence_max`.
    pub(super) const fn new(silence_max: Duration) -> Self {
        Self { usual: None, silences: 0, silence_max }
    }

    /// No block came within [`Rhythm::silence`].
    pub(super) const fn silent(&mut self) {
        self.silences += 1;
    }

    /// A block came so long after the one before.
    pub(super) fn block(&mut self, gap: Duration) {
        self.silences = 0;
        self.usual = Some(self.usual.map_or(gap, |usual| usual * 7 / 8 + gap / 8));
    }

    /// How long to wait for the next one.
    pub(super) fn silence(&self) -> Duration {
        let Some(usual) = self.usual else { return self.silence_max };
        let doubled = (usual * SILENCE_FACTOR).max(SILENCE_MIN) * (1 << self.silences.min(SILENCES_MAX));
        doubled.min(self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rhythm_of(gap: Duration) -> Rhythm {
        let mut rhythm = Rhythm::new(2_000 * MS);
        (0..100).for_each(|_| rhythm.block(gap));
        rhythm
    }

    #[test]
    fn a_wait_follows_the_blocks_within_bounds() {
        assert_eq!(Rhythm::new(2_000 * MS).silence(), 2_000 * MS, "nothing is known yet");
        assert_eq!(rhythm_of(30 * MS).silence(), SILENCE_MIN);
        let slow = rhythm_of(200 * MS).silence();
        assert!(slow > 780 * MS && slow <= 800 * MS, "{slow:?}");
        assert_eq!(rhythm_of(900 * MS).silence(), 2_000 * MS);
    }

    #[test]
    fn silences_in_a_row_double_the_wait_until_a_block_comes() {
        let mut rhythm = rhythm_of(30 * MS);
        rhythm.silent();
        assert_eq!(rhythm.silence(), 1_000 * MS);
        (0..40).for_each(|_| rhythm.silent());
        assert_eq!(rhythm.silence(), 2_000 * MS);
        rhythm.block(30 * MS);
        assert_eq!(rhythm.silence(), SILENCE_MIN);
    }
}
