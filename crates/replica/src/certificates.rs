//! Ledger-block certificates: signing headers, collecting Q signatures, handing results on (DESIGN §5).
//!
//! Guarantees: at most one header is signed per height, also across restarts (a signature leaves, and
//! counts here, only after its record is durable); none above an epoch's closing header is signed in
//! that epoch; certified heights are reported ascending and without gaps.
//!
//! Assumes execution to be deterministic: a certified header that differs from ours means more than f
//! faulty members, or that we are broken. Either way the answer is to stop, with the proof.
//!
//! Where certificates stand still, members that lack blocks are what is missing. They get blocks with the
//! votes held here: f + 1 of them prove that an honest member executed the block. Whoever replays it signs it.
//!
//! Bounded: votes for heights not executed yet are held in a window per member; execution pauses when too
//! much is uncertified (the machine asks [`Certificates::uncertified`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shardpay_crypto::{Verified, header_hash, header_message};
use shardpay_ledger::MadeBlock;
use shardpay_types::{
    Certificate, CertifiedBlock, CertifiedHeader, Codec, Epoch, ForkProof, HeaderHash, HeaderVote, Height, LedgerBlock,
    MemberIndex, MemberSet, MemberSignature, NodeId, PeerMessage, Signature, Timestamp,
};

use crate::api::{Event, LedgerOrder, Output, PersistId, Record, Service};
use crate::core::{Backoff, Core, Membership};
use crate::counters::Refused;
use crate::perform::BLOCK_BYTES_MAX;

/// Heights above the last executed one for which votes are held.
pub(crate) const EARLY_WINDOW: u64 = 64;
/// Certified headers remembered, to find forks and members that lack them.
const RECENT_MAX: usize = 64;
/// Most blocks in one answer; see `LedgerResponse`.
const RESPONSE_BLOCKS_MAX: usize = 64;
/// Own votes sent again in one go.
const RESEND_MAX: usize = 16;

/// An executed ledger block that is not certified.
struct Open {
    block: Arc<LedgerBlock>,
    hash: HeaderHash,
    /// Q of the epoch whose members sign.
    quorum: usize,
    /// f of that epoch.
    faults_max: usize,
    votes: BTreeMap<MemberIndex, Signature>,
    own: Option<HeaderVote>,
    certificate: Option<Certificate>,
}

/// An own signature.
#[derive(Debug, Clone, Copy)]
struct Signed {
    header: HeaderHash,
    durable_at: PersistId,
}

/// A certified header, and the members whose votes came after it was certified.
struct Past {
    certified: Arc<CertifiedHeader>,
    late: MemberSet,
}

/// What the machine must do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on.
    Fine,
    /// Two headers at one height: halt.
    Halt,
}

/// The part.
pub(crate) struct Certificates {
    executed: Height,
    certified: Height,
    open: BTreeMap<Height, Open>,
    early: BTreeMap<Height, BTreeMap<MemberIndex, HeaderVote>>,
    signed: BTreeMap<Height, Signed>,
    /// Own signatures whose record is on its way to the disk, in that order.
    pending: VecDeque<(PersistId, MemberIndex, HeaderVote)>,
    recent: BTreeMap<Height, Past>,
    /// Height and epoch of the last closing header executed.
    closing: Option<(Epoch, Height)>,
    /// Certified since the last call of [`Self::take_newly_certified`].
    fresh: Vec<Arc<CertifiedHeader>>,
    resend_at: Option<Timestamp>,
    backoff: Backoff,
    muted: bool,
}

impl Certificates {
    pub(crate) fn new(executed: Height, certified: Height, votes: Vec<(Height, HeaderHash)>) -> Self {
        let durable_at = PersistId::default();
        let signed = votes
            .into_iter()
            .filter(|(height, _)| *height > certified)
            .map(|(height, header)| (height, Signed { header, durable_at }))
            .collect();
        Self {
            executed,
            certified,
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            signed,
            pending: VecDeque::new(),
            recent: BTreeMap::new(),
            closing: None,
            fresh: Vec::new(),
            resend_at: None,
            backoff: Backoff::START,
            muted: false,
        }
    }

    /// The epoch of the lowest executed block that is not certified.
    pub(crate) fn first_uncertified_epoch(&self) -> Option<Epoch> {
        self.open.first_key_value().map(|(_, open)| open.block.header.epoch)
    }

    pub(crate) fn certified(&self) -> Height {
        self.certified
    }

    pub(crate) fn executed(&self) -> Height {
        self.executed
    }

    /// Blocks executed and not certified.
    pub(crate) fn uncertified(&self) -> usize {
        self.open.len()
    }

    /// Votes held for heights not executed yet.
    pub(crate) fn early_votes(&self) -> usize {
        self.early.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.resend_at
    }

    /// Signs nothing any more, and keeps back what has not left yet.
    pub(crate) fn mute(&mut self) {
        self.muted = true;
        self.pending.clear();
        self.resend_at = None;
    }

    /// Headers certified since the last call, ascending.
    pub(crate) fn take_newly_certified(&mut self) -> Vec<Arc<CertifiedHeader>> {
        std::mem::take(&mut self.fresh)
    }

    /// What was certified before this process started.
    pub(crate) fn recall(&mut self, certified: CertifiedHeader) {
        let past = Past { certified: Arc::new(certified), late: MemberSet::EMPTY };
        self.recent.insert(past.certified.header.height, past);
    }

    /// A ledger block was made here: sign it. `members`: of its epoch.
    pub(crate) fn made(&mut self, core: &mut Core, members: &Membership, made: &MadeBlock) -> Step {
        let header = &made.block.header;
        let height = header.height;
        if height <= self.executed && (height <= self.certified || self.open.contains_key(&height)) {
            return Step::Fine;
        }
        let closed = self.closing.filter(|(epoch, _)| *epoch == header.epoch);
        assert!(closed.is_none(), "the ledger makes no block of an epoch after its closing header: {closed:?}");
        self.executed = self.executed.max(height);
        if header.is_closing() {
            self.closing = Some((header.epoch, height));
        }
        self.open.insert(height, Open::new(members, made, None));
        let step = self.sign(core, members, height, made.hash);
        self.take_early(core, height);
        self.advance(core);
        step
    }

    /// A certified ledger block was replayed: there is nothing to sign.
    pub(crate) fn replayed(&mut self, core: &mut Core, members: &Membership, made: &MadeBlock, by: &Certificate) {
        let header = &made.block.header;
        self.executed = self.executed.max(header.height);
        if header.is_closing() {
            self.closing = Some((header.epoch, header.height));
        }
        self.open.entry(header.height).or_insert_with(|| Open::new(members, made, Some(by.clone())));
        self.early = self.early.split_off(&header.height.next());
        self.advance(core);
    }

    /// A ledger block was replayed that f + 1 members had signed, but not Q: it is signed like one made here.
    pub(crate) fn attested(
        &mut self,
        core: &mut Core,
        members: &Membership,
        made: &MadeBlock,
        by: &Certificate,
    ) -> Step {
        let step = self.made(core, members, made);
        let (epoch, height) = (members.epoch(), made.block.header.height);
        for signed in by.signatures() {
            let vote = HeaderVote { epoch, height, header: made.hash, signature: signed.signature };
            self.count(core, signed.member, vote);
        }
        self.advance(core);
        step
    }

    /// Executed blocks from `from` on, without gaps, that f + 1 members signed, when certificates stand still
    /// there: as many as fit one answer.
    pub(crate) fn attestations(&self, from: Height) -> Vec<CertifiedBlock> {
        let mut blocks: Vec<CertifiedBlock> = Vec::new();
        let mut bytes = 0;
        let mut height = from;
        while self.backoff.is_long() && blocks.len() < RESPONSE_BLOCKS_MAX {
            let Some(block) = self.open.get(&height).and_then(Open::attested) else { break };
            bytes += block.to_bytes().len();
            if bytes > BLOCK_BYTES_MAX && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
            height = height.next();
        }
        blocks
    }

    /// C: one header per height, recorded before it leaves.
    fn sign(&mut self, core: &mut Core, members: &Membership, height: Height, hash: HeaderHash) -> Step {
        let (Some(own), false) = (members.own, self.muted) else { return Step::Fine };
        let durable_at = match self.signed.get(&height) {
            Some(signed) if signed.header == hash => signed.durable_at,
            Some(signed) => {
                // The store remembers another header: execution diverged from itself.
                let remembered = signed.header;
                self.halt_on_own(core, height, remembered);
                return Step::Halt;
            }
            None => {
                let id = core.out.persist(Record::HeaderVote { height, header: hash });
                self.signed.insert(height, Signed { header: hash, durable_at: id });
                id
            }
        };
        let signature = core.signer.sign(&header_message(&core.config.chain, &hash));
        let vote = HeaderVote { epoch: members.epoch(), height, header: hash, signature };
        self.pending.push_back((durable_at, own, vote));
        self.release(core, members);
        Step::Fine
    }

    /// Counts and sends own signatures whose record is durable by now.
    pub(crate) fn release(&mut self, core: &mut Core, members: &Membership) {
        while let Some((_, own, vote)) = self.pending.front().filter(|(id, ..)| core.out.is_durable(*id)).copied() {
            self.pending.pop_front();
            let message = Arc::new(PeerMessage::HeaderVote(vote));
            for peer in members.peers() {
                core.out.send(peer, message.clone());
            }
            if let Some(open) = self.open.get_mut(&vote.height) {
                open.own = Some(vote);
            }
            self.count(core, own, vote);
            if self.resend_at.is_none() && !self.open.is_empty() {
                self.backoff = Backoff::START;
                self.resend_at = Some(core.now.after(self.backoff.next(core.config.resend)));
            }
        }
        self.advance(core);
    }

    /// A member's vote whose signature was checked.
    pub(crate) fn vote(&mut self, core: &mut Core, from: NodeId, vote: Verified<HeaderVote>) {
        let vote = vote.into_inner();
        if vote.height <= self.certified {
            return self.late_vote(core, from, vote);
        }
        if vote.height > self.executed {
            if vote.height > self.executed.plus(EARLY_WINDOW) {
                return core.refused.count(Refused::VoteOutsideWindow);
            }
            self.early.entry(vote.height).or_default().entry(from.member).or_insert(vote);
            return;
        }
        self.count(core, from.member, vote);
        self.advance(core);
    }

    /// A vote for a certified height: once is normal (the slowest members); twice means that the member
    /// resends because it lacks the certificate.
    fn late_vote(&mut self, core: &mut Core, from: NodeId, vote: HeaderVote) {
        let Some(past) = self.recent.get_mut(&vote.height) else {
            return core.refused.count(Refused::VoteRepeated);
        };
        if !past.late.insert(from.member) {
            serve_certificates(core, from, vote.height);
        }
    }

    fn take_early(&mut self, core: &mut Core, height: Height) {
        for (member, vote) in self.early.remove(&height).into_iter().flatten() {
            self.count(core, member, vote);
        }
        // heights that a replay passed by
        self.early = self.early.split_off(&self.certified.next());
    }

    fn count(&mut self, core: &mut Core, member: MemberIndex, vote: HeaderVote) {
        let Some(open) = self.open.get_mut(&vote.height) else { return };
        if vote.header != open.hash || vote.epoch != open.block.header.epoch {
            return core.refused.count(Refused::VoteConflicts);
        }
        if open.votes.insert(member, vote.signature).is_some() {
            core.refused.count(Refused::VoteRepeated);
        }
        // votes for a closing header go on being collected in the next epoch, by the old epoch's quorum
        if open.certificate.is_none() && open.votes.len() >= open.quorum {
            open.certificate = Some(open.votes());
        }
    }

    /// A certificate that a peer pushed, signatures checked.
    pub(crate) fn certificate(&mut self, core: &mut Core, certified: Verified<CertifiedHeader>) -> Step {
        let certified = certified.into_inner();
        let (height, hash) = (certified.header.height, header_hash(&certified.header));
        if height > self.executed {
            core.refused.count(Refused::CertificateEarly);
            return Step::Fine;
        }
        if let Some(past) = self.recent.get(&height) {
            if header_hash(&past.certified.header) != hash {
                return self.halt_on_fork(core, (*past.certified).clone(), certified);
            }
            return Step::Fine;
        }
        let Some(open) = self.open.get_mut(&height) else { return Step::Fine };
        if open.hash != hash {
            // one side of a fork: our header with the votes that came so far
            let ours = CertifiedHeader { header: open.block.header.clone(), certificate: open.votes() };
            return self.halt_on_fork(core, ours, certified);
        }
        open.certificate.get_or_insert(certified.certificate);
        self.advance(core);
        Step::Fine
    }

    fn halt_on_fork(&mut self, core: &mut Core, first: CertifiedHeader, second: CertifiedHeader) -> Step {
        self.mute();
        core.out.push(Output::Event(Event::HaltedByHeaders(Box::new(ForkProof { first, second }))));
        Step::Halt
    }

    fn halt_on_own(&mut self, core: &mut Core, height: Height, remembered: HeaderHash) {
        self.mute();
        core.out.push(Output::Event(Event::SignedAnother { height, remembered }));
    }

    /// Reports what is certified without a gap.
    fn advance(&mut self, core: &mut Core) {
        while let Some(entry) = self.open.first_entry() {
            if entry.get().certificate.is_none() || *entry.key() != self.certified.next() {
                break;
            }
            let (height, open) = entry.remove_entry();
            let Some(certificate) = open.certificate else { return };
            let certified = Arc::new(CertifiedHeader { header: open.block.header.clone(), certificate });
            self.certified = height;
            core.out.push(Output::Ledger(LedgerOrder::Certify(Box::new((*certified).clone()))));
            core.out.push(Output::Certified { certified: certified.clone(), block: Some(open.block) });
            let late = MemberSet::EMPTY;
            self.recent.insert(height, Past { certified: certified.clone(), late });
            self.fresh.push(certified);
            self.backoff = Backoff::START;
        }
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
        self.signed = self.signed.split_off(&self.certified.next());
        if self.open.is_empty() {
            self.resend_at = None;
        }
    }

    /// Resends own votes to members that may lack them.
    pub(crate) fn tick(&mut self, core: &mut Core, members: &Membership, lacks: impl Fn(MemberIndex, Height) -> bool) {
        if self.resend_at.is_none_or(|at| at > core.now) {
            return;
        }
        for (height, open) in self.open.iter().take(RESEND_MAX) {
            let Some(own) = open.own else { continue };
            let message = Arc::new(PeerMessage::HeaderVote(own));
            for peer in members.peers().filter(|peer| lacks(peer.member, *height)) {
                core.out.send(peer, message.clone());
            }
        }
        let wait = self.backoff.next(core.config.resend);
        self.resend_at = Some(core.now.after(core.jittered(wait)));
    }
}

impl Open {
    /// `members`: of the block's epoch.
    fn new(members: &Membership, made: &MadeBlock, certificate: Option<Certificate>) -> Self {
        let (quorum, faults_max) = (members.members().quorum(), members.members().faults_max());
        let (block, hash, votes) = (made.block.clone(), made.hash, BTreeMap::new());
        Self { block, hash, quorum, faults_max, votes, own: None, certificate }
    }

    /// The votes that came so far.
    fn votes(&self) -> Certificate {
        let votes = self.votes.iter();
        let signatures = votes.map(|(member, signature)| MemberSignature { member: *member, signature: *signature });
        Certificate::new(signatures.collect()).unwrap_or_default()
    }

    /// The block with its certificate, or with f + 1 votes if there are so many.
    fn attested(&self) -> Option<CertifiedBlock> {
        let enough = self.votes.len() > self.faults_max;
        let certificate = self.certificate.clone().or_else(|| enough.then(|| self.votes()))?;
        Some(CertifiedBlock { block: LedgerBlock::clone(&self.block), certificate })
    }
}

/// Orders the certificates from `from` on for a member that lacks them.
pub(crate) fn serve_certificates(core: &mut Core, to: NodeId, from: Height) {
    core.out.push(Output::Ledger(LedgerOrder::Serve { to, what: Service::Certificates { from } }));
}
