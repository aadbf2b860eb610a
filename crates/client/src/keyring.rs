//! The keysets of one committee, learnt from its closing records.
//!
//! Guarantees: a key stands here only if the chain of closing records from the pinned genesis plan proves it.
//! Blocks of a closed epoch are checked against the members of *that* epoch; that they belong to the chain
//! is shown when the closing header, known from the records, is met ([`Keyring::closing`]).

use shardpay_crypto::header_hash;
use shardpay_ledger::verify::{EpochKeys, ProofError, TrustAnchor, verify_epoch_chain};
use shardpay_types::{ClosingRecord, CommitteeId, Epoch, EpochChain, HeaderHash, List};

/// One committee's members, epoch by epoch.
#[derive(Clone)]
pub(crate) struct Keyring {
    anchor: TrustAnchor,
    committee: CommitteeId,
    closings: Vec<ClosingRecord>,
    newest: EpochKeys,
    /// The keys as they were known in an earlier epoch, while its blocks are read.
    earlier: Option<EpochKeys>,
}

impl Keyring {
    /// What the genesis plan says.
    pub(crate) fn new(anchor: TrustAnchor, committee: CommitteeId) -> Result<Self, ProofError> {
        let newest = verify_epoch_chain(&anchor, committee, &EpochChain::default())?;
        Ok(Self { anchor, committee, closings: Vec::new(), newest, earlier: None })
    }

    /// The newest epoch known.
    pub(crate) fn epoch(&self) -> Epoch {
        self.newest.epoch()
    }

    /// The keys that prove something today.
    pub(crate) fn newest(&self) -> &EpochKeys {
        &self.newest
    }

    /// The closing records known.
    pub(crate) fn chain(&self) -> EpochChain {
        EpochChain { closings: List::bounded(self.closings.clone()) }
    }

    /// Adds closing records that follow the known ones; records already known are passed over. True when one
    /// was new.
    pub(crate) fn extend(&mut self, records: &[ClosingRecord]) -> Result<bool, ProofError> {
        let known = self.epoch();
        let new = records.iter().filter(|record| record.certified.header.epoch >= known);
        let mut closings = self.closings.clone();
        closings.extend(new.cloned());
        if closings.len() == self.closings.len() {
            return Ok(false);
        }
        self.newest = self.chain_of(&closings)?;
        self.closings = closings;
        Ok(true)
    }

    /// The keys for reading blocks of `epoch`: those that were the newest while it ran.
    pub(crate) fn of(&mut self, epoch: Epoch) -> Result<&EpochKeys, ProofError> {
        if epoch > self.epoch() {
            return Err(ProofError::UnknownEpoch(epoch));
        }
        if epoch == self.epoch() {
            return Ok(&self.newest);
        }
        if self.earlier.as_ref().is_none_or(|keys| keys.epoch() != epoch) {
            let count = usize::try_from(epoch.get()).expect("below a known epoch");
            self.earlier = Some(self.chain_of(&self.closings[..count])?);
        }
        Ok(self.earlier.as_ref().expect("just set"))
    }

    /// The hash of the header that closed `epoch`, when it has closed.
    pub(crate) fn closing(&self, epoch: Epoch) -> Option<HeaderHash> {
        let index = usize::try_from(epoch.get()).ok()?;
        self.closings.get(index).map(|record| header_hash(&record.certified.header))
    }

    fn chain_of(&self, closings: &[ClosingRecord]) -> Result<EpochKeys, ProofError> {
        let closings = List::new(closings.to_vec()).ok_or(ProofError::Malformed("too many epochs"))?;
        verify_epoch_chain(&self.anchor, self.committee, &EpochChain { closings })
    }
}
