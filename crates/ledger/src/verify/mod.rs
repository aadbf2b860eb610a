//! The verifier of everything a committee hands out: what a client runs, trusting its genesis plan only.
//!
//! Guarantees: what is accepted was signed by Q distinct members (f + 1 for balances) of the right
//! committee in the right epoch, and everything the returned facts say was covered by those signatures.
//! Every refusal is a typed [`ProofError`]; hostile proofs end in one, never in a panic.
//!
//! Shares no code with execution: thresholds, leaves, shard ownership and the epoch rule are worked out
//! here again from DESIGN §5, so that a mistake on one side shows up as a refusal on the other. Below both
//! stand only the codec, the hash and signature primitives and RFC 9162 path checks.
//!
//! What cannot be known from a proof: whether the committee has closed a newer epoch than the
//! [`EpochChain`] shows. Whoever holds an old chain accepts headers of the epoch it ends with.

mod evidence;
mod receipt;

use std::collections::BTreeSet;
use std::sync::Arc;

use shardpay_crypto::{
    SignatureScheme, chain_id, header_hash, header_message, leaf_hash, plan_hash, sha256, verify_inclusion,
};
use shardpay_types::{
    Certificate, CertifiedHeader, ChainId, CommitteeId, DepositRef, Epoch, EpochChain, HeaderHash, HeaderSeal, Height,
    LedgerHeader, Plan, PublicKey,
};

pub use evidence::{BalanceQuery, verify_balance, verify_checkpoint, verify_equivocation, verify_fork_proof};
pub use receipt::{CreditFacts, ReceiptFacts, verify_credit_receipt, verify_receipt};

/// Why a proof is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The anchor is not a well-formed genesis plan.
    #[error("not a genesis plan")]
    NotGenesis,
    /// Made for another ledger.
    #[error("another ledger")]
    WrongChain,
    /// Made by another committee than the one asked about.
    #[error("another committee")]
    WrongCommittee,
    /// The committee does not decide this transaction, or does not hold this account.
    #[error("another committee owns the shard")]
    WrongShard,
    /// The epoch chain does not reach that epoch.
    #[error("epoch {0} is not known")]
    UnknownEpoch(Epoch),
    /// A closing record that does not stand where the chain needs it.
    #[error("closing record of epoch {found}, expected {expected}")]
    WrongClosing {
        /// The epoch whose closing comes next.
        expected: Epoch,
        /// The epoch of the record.
        found: Epoch,
    },
    /// The closing header names no plan, or another one.
    #[error("the plan is not the one the closing header names")]
    WrongPlan,
    /// A plan that may not follow the one before.
    #[error("the plan does not follow the one before")]
    NotASuccessor,
    /// A header of a closed epoch without a path from the closing or a later header.
    #[error("the header's epoch has closed")]
    RetiredEpoch,
    /// Too few valid signatures of distinct members.
    #[error("{valid} valid signatures, {needed} needed")]
    TooFewSignatures {
        /// Distinct members whose signature verifies.
        valid: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The leaf does not stand under the header.
    #[error("the leaf is not under the header")]
    BadPath,
    /// The header does not stand in the later header's history.
    #[error("the header is not in the later header's history")]
    BadHistory,
    /// Parts that no honest execution combines.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The answer is to another question.
    #[error("answers another question")]
    WrongQuestion,
    /// The two halves of the evidence do not contradict each other.
    #[error("no contradiction")]
    NoContradiction,
}

/// What a client pins: the genesis plan, and how it checks signatures.
#[derive(Clone)]
pub struct TrustAnchor {
    /// The plan of epoch 0; its hash is the chain id.
    pub genesis: Plan,
    /// Checks signatures.
    pub scheme: Arc<dyn SignatureScheme>,
}

/// One committee's members, epoch by epoch, as proven by its closing records.
#[derive(Clone)]
pub struct EpochKeys {
    scheme: Arc<dyn SignatureScheme>,
    chain: ChainId,
    committee: CommitteeId,
    /// First shard of each committee, ascending; the same in every epoch.
    shard_starts: Vec<usize>,
    /// By epoch; the last one runs as far as the chain knows.
    epochs: Vec<KnownEpoch>,
}

#[derive(Clone)]
struct KnownEpoch {
    members: Vec<PublicKey>,
    /// The closing header, in all epochs but the last.
    closing: Option<HeaderHash>,
}

/// Checks a committee's closing records from genesis on and learns its members in each epoch.
pub fn verify_epoch_chain(
    anchor: &TrustAnchor,
    committee: CommitteeId,
    chain: &EpochChain,
) -> Result<EpochKeys, ProofError> {
    let genesis = &anchor.genesis;
    if genesis.epoch != Epoch::ZERO || genesis.check().is_err() {
        return Err(ProofError::NotGenesis);
    }
    let mut keys = EpochKeys {
        scheme: anchor.scheme.clone(),
        chain: chain_id(genesis),
        committee,
        shard_starts: genesis.committees.iter().map(|c| usize::from(c.shard_first)).collect(),
        epochs: Vec::new(),
    };
    let mut plan = genesis;
    let mut height = Height::ZERO;
    for record in &chain.closings {
        keys.epochs.push(KnownEpoch { members: members_of(plan, committee)?, closing: None });
        let header = &record.certified.header;
        if header.epoch != plan.epoch {
            return Err(ProofError::WrongClosing { expected: plan.epoch, found: header.epoch });
        }
        keys.same_origin(header)?;
        if header.next_plan != Some(plan_hash(&record.plan)) {
            return Err(ProofError::WrongPlan);
        }
        if !follows(plan, &record.plan) {
            return Err(ProofError::NotASuccessor);
        }
        if header.height <= height {
            return Err(ProofError::Malformed("heights of closing headers ascend"));
        }
        keys.quorum_signed(&record.certified)?;
        if let Some(last) = keys.epochs.last_mut() {
            last.closing = Some(header_hash(header));
        }
        (plan, height) = (&record.plan, header.height);
    }
    keys.epochs.push(KnownEpoch { members: members_of(plan, committee)?, closing: None });
    Ok(keys)
}

fn members_of(plan: &Plan, committee: CommitteeId) -> Result<Vec<PublicKey>, ProofError> {
    let found = plan.committees.get(committee.index()).ok_or(ProofError::WrongCommittee)?;
    Ok(found.members.to_vec())
}

/// Next epoch of the same ledger, naming its predecessor; shards and constants stay.
fn follows(plan: &Plan, next: &Plan) -> bool {
    let shards = |plan: &Plan| plan.committees.iter().map(|c| (c.shard_first, c.shard_count)).collect::<Vec<_>>();
    next.check().is_ok()
        && next.epoch.get() == plan.epoch.get() + 1
        && next.previous == plan_hash(plan)
        && (next.salt, next.issuer, next.constants) == (plan.salt, plan.issuer, plan.constants)
        && shards(plan) == shards(next)
}

/// n − f with f the largest number below n/3.
fn quorum_of(members: usize) -> usize {
    let faulty = (0..=members).rev().find(|f| 3 * f < members).unwrap_or(0);
    members - faulty
}

impl EpochKeys {
    /// The ledger.
    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The committee.
    pub fn committee(&self) -> CommitteeId {
        self.committee
    }

    /// The newest epoch known.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.epochs.len() as u64 - 1)
    }

    /// Checks a certified header by itself: right ledger and committee, Q members, and of the newest
    /// epoch or the closing header of its own.
    pub fn verify_header(&self, certified: &CertifiedHeader) -> Result<HeaderHash, ProofError> {
        let hash = self.quorum_signed(certified)?;
        let header = &certified.header;
        let known = self.known(header.epoch)?;
        match known.closing {
            None => Ok(hash),
            Some(closing) if closing == hash => Ok(hash),
            Some(_) => Err(ProofError::RetiredEpoch),
        }
    }

    /// Checks why a header is to be believed.
    fn sealed(&self, header: &LedgerHeader, seal: &HeaderSeal) -> Result<HeaderHash, ProofError> {
        match seal {
            HeaderSeal::Certified(certificate) => {
                self.verify_header(&CertifiedHeader { header: header.clone(), certificate: certificate.clone() })
            }
            HeaderSeal::History(history) => {
                self.same_origin(header)?;
                let later = &history.later.header;
                self.verify_header(&history.later)?;
                if header.height == Height::ZERO || header.height >= later.height || header.epoch > later.epoch {
                    return Err(ProofError::BadHistory);
                }
                let hash = header_hash(header);
                let place = (header.height.get() - 1, later.height.get() - 1);
                let leaf = leaf_hash(hash.as_bytes());
                if (history.path.index, history.path.count) != place
                    || !verify_inclusion(&later.history, &leaf, &history.path)
                {
                    return Err(ProofError::BadHistory);
                }
                Ok(hash)
            }
        }
    }

    fn same_origin(&self, header: &LedgerHeader) -> Result<(), ProofError> {
        if header.chain != self.chain {
            return Err(ProofError::WrongChain);
        }
        if header.committee != self.committee {
            return Err(ProofError::WrongCommittee);
        }
        Ok(())
    }

    fn known(&self, epoch: Epoch) -> Result<&KnownEpoch, ProofError> {
        let index = usize::try_from(epoch.get()).map_err(|_| ProofError::UnknownEpoch(epoch))?;
        self.epochs.get(index).ok_or(ProofError::UnknownEpoch(epoch))
    }

    /// Whether Q members of the header's epoch signed it, whatever has closed since.
    fn quorum_signed(&self, certified: &CertifiedHeader) -> Result<HeaderHash, ProofError> {
        let header = &certified.header;
        self.same_origin(header)?;
        let needed = quorum_of(self.known(header.epoch)?.members.len());
        let hash = header_hash(header);
        self.signed_by(needed, header.epoch, &header_message(&self.chain, &hash), &certified.certificate)?;
        Ok(hash)
    }

    /// Whether so many distinct members of `epoch` signed `message`.
    fn signed_by(
        &self,
        needed: usize,
        epoch: Epoch,
        message: &[u8],
        certificate: &Certificate,
    ) -> Result<(), ProofError> {
        let members = &self.known(epoch)?.members;
        let mut signers = BTreeSet::new();
        for signed in certificate.signatures() {
            if let Some(key) = members.get(signed.member.index())
                && self.scheme.verify(key, message, &signed.signature)
            {
                signers.insert(*key);
            }
        }
        let valid = signers.len();
        if valid >= needed { Ok(()) } else { Err(ProofError::TooFewSignatures { valid, needed }) }
    }

    /// The committee that holds an account.
    fn holder(&self, key: &PublicKey) -> CommitteeId {
        self.owner_of(&key.0)
    }

    /// The committee that remembers a deposit.
    fn rememberer(&self, deposit: &DepositRef) -> CommitteeId {
        self.owner_of(&deposit.0)
    }

    /// The owner of the shard that the first 12 bits of SHA-256 name.
    fn owner_of(&self, bytes: &[u8]) -> CommitteeId {
        let hash = sha256(&[bytes]);
        let shard = usize::from(u16::from_be_bytes([hash[0], hash[1]]) >> 4);
        let owner = self.shard_starts.iter().rposition(|first| *first <= shard);
        CommitteeId::at(owner.expect("a plan's first committee starts at shard 0"))
    }
}
