//! What refusals mean for a transaction in flight.

use shardpay_types::RejectReason;

/// Attempts after which a short balance is final: a credit may be under way.
const SHORT_BALANCE_ATTEMPTS_MAX: u32 = 5;

/// What a refusal means for a transaction sent so many times.
pub(super) enum Standing {
    /// Another attempt, later or elsewhere, may go through.
    Passing,
    /// It may be an earlier attempt that is in the way.
    PerhapsOurs,
    Final,
}

pub(super) fn standing(reason: RejectReason, attempts: u32) -> Standing {
    match reason {
        RejectReason::SequenceGap
        | RejectReason::TooFarAhead
        | RejectReason::NotProposing
        | RejectReason::EpochClosed
        | RejectReason::DestinationBusy => Standing::Passing,
        RejectReason::ShortBalance if attempts < SHORT_BALANCE_ATTEMPTS_MAX => Standing::Passing,
        RejectReason::SequenceUsed | RejectReason::SequencePending | RejectReason::DepositUsed if attempts > 1 => {
            Standing::PerhapsOurs
        }
        _ => Standing::Final,
    }
}
