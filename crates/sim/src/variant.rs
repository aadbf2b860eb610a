//! Planted bugs: what the simulator must be able to find. Test-only; production has no such switch.

use clap::ValueEnum;
use serde::Serialize;

/// A bug put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// A quorum is 2f members instead of n − f.
    #[value(name = "quorum-2f")]
    #[serde(rename = "quorum-2f")]
    Quorum2f,
    /// A crash can leave the accounts of a batch durable without the cursors that belong to them.
    CursorNotMoved,
    /// Some records are reported durable that were never stored.
    ForgottenPersist,
    /// An undecided slot is decided by the highest anchor instead of the lowest.
    HighestAnchor,
    /// The cache of verified transactions is keyed by txid instead of all bytes.
    TxidCache,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Quorum2f, Self::CursorNotMoved, Self::ForgottenPersist, Self::HighestAnchor, Self::TxidCache];

    /// As the command line names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum2f => "quorum-2f",
            Self::CursorNotMoved => "cursor-not-moved",
            Self::ForgottenPersist => "forgotten-persist",
            Self::HighestAnchor => "highest-anchor",
            Self::TxidCache => "txid-cache",
        }
    }
}
