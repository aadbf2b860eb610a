//! Refusals by reason. Every input that is not acted upon is counted under exactly one name; the names
//! and their order are fixed, telemetry and tests read them.

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident => $text:literal),* $(,)?) => {
        /// Why something a peer, client or signaler sent was not acted upon.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Refused { $($(#[$meta])* $name),* }

        const NAMES: &[&str] = &[$($text),*];
    };
}

reasons! {
    /// The sender stands in no plan we know, or is ourselves.
    UnknownSender => "unknown_sender",
    /// The sender asked or said too much in a short time.
    OverBudget => "over_budget",
    /// Of an epoch that is not served any more, or not yet.
    WrongEpoch => "wrong_epoch",
    /// A DAG block that does not decode or is not valid.
    BadBlock => "bad_block",
    /// A header vote for a height outside the window.
    VoteOutsideWindow => "vote_outside_window",
    /// A header vote that differs from what we executed.
    VoteConflicts => "vote_conflicts",
    /// A header or checkpoint vote seen before.
    VoteRepeated => "vote_repeated",
    /// A certificate for a height we have not executed.
    CertificateEarly => "certificate_early",
    /// A certificate that does not verify.
    BadCertificate => "bad_certificate",
    /// An answer to nothing we asked.
    Unasked => "unasked",
    /// A ledger block that could not be replayed.
    BadLedgerBlock => "bad_ledger_block",
    /// A leader list that does not match its header.
    BadLeaders => "bad_leaders",
    /// A checkpoint vote that differs from ours.
    CheckpointConflicts => "checkpoint_conflicts",
    /// A pack that does not start at the cursor, or says nothing new.
    PackNotAtCursor => "pack_not_at_cursor",
    /// A pack the ledger did not apply.
    BadPack => "bad_pack",
    /// A record of a source's epoch that we do not know yet.
    UnknownKeyset => "unknown_keyset",
    /// A closing record we know already, or that skips an epoch.
    ClosingOutOfOrder => "closing_out_of_order",
    /// A plan that may not follow the current one.
    BadPlan => "bad_plan",
    /// A second plan for an epoch number.
    SecondPlan => "second_plan",
    /// A plan proposed while headers of an earlier epoch lack their certificates here.
    PlanTooEarly => "plan_too_early",
    /// Approvals of a plan that are missing, doubled or do not verify.
    BadApprovals => "bad_approvals",
    /// Packs, closings and epoch changes that the ledger met in commits and did not apply.
    LedgerItem => "ledger_item",
    /// Sends given up because too many wait for the disk; they are sent again by their own timers.
    WithheldOverflow => "withheld_overflow",
    /// Submitted transactions refused at admission.
    Submission => "submission",
    /// Submitted transactions turned away for lack of room.
    Busy => "busy",
    /// Transactions given up to make room for executable ones.
    Evicted => "evicted",
}

/// One counter per reason.
#[derive(Debug, Clone)]
pub(crate) struct Counters([u64; NAMES.len()]);

impl Counters {
    pub(crate) const fn new() -> Self {
        Self([0; NAMES.len()])
    }

    pub(crate) fn count(&mut self, reason: Refused) {
        self.add(reason, 1);
    }

    pub(crate) fn add(&mut self, reason: Refused, n: usize) {
        let counter = &mut self.0[reason as usize];
        *counter = counter.saturating_add(n as u64);
    }

    /// (name, count), in the fixed order.
    pub(crate) fn snapshot(&self) -> Vec<(&'static str, u64)> {
        NAMES.iter().copied().zip(self.0).collect()
    }
}
