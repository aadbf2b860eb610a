//! Floor 5: the node's threads and channels around replica and ledger.
