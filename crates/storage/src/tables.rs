//! The tables (column families) of a store.

/// A table. Names are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Everything small and single; see [`crate::keys::meta`].
    Meta,
    /// Account → balance and next sequence, as of the flushed height.
    Accounts,
    /// Deposit references consumed, as of the flushed height; no values.
    Deposits,
    /// (destination, index of the first message) → consecutive messages.
    Outbox,
    /// Height → ledger block.
    Blocks,
    /// Height → certificate.
    Certificates,
    /// (level, position) → node of the history log.
    History,
    /// (epoch, round, author, digest) → DAG block.
    Dag,
    /// Height → hash of the header signed.
    Votes,
}

impl Table {
    /// All tables.
    pub(crate) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Accounts,
        Self::Deposits,
        Self::Outbox,
        Self::Blocks,
        Self::Certificates,
        Self::History,
        Self::Dag,
        Self::Votes,
    ];

    /// The column family's name. RocksDB insists on a `default` one.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Accounts => "accounts",
            Self::Deposits => "deposits",
            Self::Outbox => "outbox",
            Self::Blocks => "blocks",
            Self::Certificates => "certificates",
            Self::History => "history",
            Self::Dag => "dag",
            Self::Votes => "votes",
        }
    }

    /// Whether most of what is written goes there.
    pub(crate) const fn is_large(self) -> bool {
        matches!(self, Self::Accounts | Self::Outbox | Self::Blocks | Self::Dag)
    }
}
