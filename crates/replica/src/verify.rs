//! What a message must pass before the replica sees it: signatures and structure, on any thread.
//!
//! Guarantees: a pure function of the message and a [`VerifyContext`] snapshot; hostile bytes give a
//! [`MessageReject`], never a panic. What passes carries its claim in its type ([`Verified`]).
//!
//! A snapshot may be older than the replica. So a record of an epoch the snapshot does not know is
//! either passed on as [`CheckedMessage::UnknownKeyset`] or refused as `UnknownEpoch`; whoever sent it
//! has a timer and sends it again. Packs, closings and cursors are judged once more by execution.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use shardpay_consensus::{BlockReject, Context, Fingerprint, Rules, Verifier, validate, verify_transactions};
use shardpay_crypto::{
    IdentifiedOpaque, IdentifiedTransaction, SealedBlock, SignatureScheme, SignedItem, Verified, VerifiedCache,
    checkpoint_message, domain, header_hash, header_message, leaf_hash, plan_hash, verify_inclusion,
};
use shardpay_types::{
    BlockRequest, Blocks, CertifiedHeader, ChainId, CheckpointVote, ClosingRecord, ClosingsRequest, Codec, CommitteeId,
    CommitteePlan, CursorProof, Epoch, HeaderVote, Heartbeat, Leaders, LeadersRequest, LedgerRequest, LedgerResponse,
    MemberSignature, NodeId, Opaque, Pack, PackRequest, PeerMessage, Plan, PublicKey, RelayNotice, Transaction, TxId,
};

/// A message whose signatures were checked as far as they can be without the replica's state.
#[derive(Debug, Clone)]
pub enum CheckedMessage {
    /// DAG blocks; bad ones are left out.
    Blocks {
        /// The epoch whose DAG they belong to.
        epoch: Epoch,
        /// Whether they are said to answer a request.
        requested: bool,
        /// The valid ones, in the order in which they came.
        blocks: Vec<Verified<Arc<SealedBlock>>>,
        /// Why others were left out.
        rejected: Vec<BlockReject>,
    },
    /// A request for DAG blocks.
    BlockRequest(BlockRequest),
    /// A heartbeat.
    Heartbeat(Heartbeat),
    /// A header vote, signed by its sender.
    HeaderVote(Verified<HeaderVote>),
    /// A checkpoint vote, signed by its sender.
    CheckpointVote(Verified<Box<CheckpointVote>>),
    /// Certified headers of the own committee; bad ones are left out.
    Certificates {
        /// The valid ones.
        headers: Vec<Verified<CertifiedHeader>>,
        /// How many were left out.
        rejected: usize,
    },
    /// A request for ledger blocks.
    LedgerRequest(LedgerRequest),
    /// Ledger blocks. Not checked here: their keysets may be taught by the blocks before them.
    LedgerResponse(Box<LedgerResponse>),
    /// A request for a leader list.
    LeadersRequest(LeadersRequest),
    /// A leader list; checked against a header by the replica.
    Leaders(Leaders),
    /// Messages wait at a source.
    RelayNotice(RelayNotice),
    /// A request for a pack.
    PackRequest(PackRequest),
    /// A pack of the sender's committee whose header is certified.
    Pack(Verified<Arc<Pack>>),
    /// The sender's committee's cursor into ours, under a certified header.
    Cursor(Verified<Box<CursorProof>>),
    /// A request for closing records.
    ClosingsRequest(ClosingsRequest),
    /// Closing records of the sender's committee, each certified by the keyset that the one before
    /// taught, from the known epoch on.
    Closings(Verified<Vec<ClosingRecord>>),
    /// A pack or cursor of an epoch of the sender's committee that is not known: learn its closings.
    UnknownKeyset {
        /// The epoch of its header.
        epoch: Epoch,
    },
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum MessageReject {
    /// The sender stands in no plan.
    #[error("sender is no member")]
    UnknownSender,
    /// Of a kind that travels inside a committee only, or between committees only.
    #[error("kind not allowed from this committee")]
    WrongCommittee,
    /// Of an epoch that is not known, or not served any more; it comes again.
    #[error("unknown epoch")]
    UnknownEpoch,
    /// A signature or certificate does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// Its parts contradict each other.
    #[error("malformed")]
    Malformed,
    /// A pack or cursor proven by a header of a retired epoch.
    #[error("header of a retired epoch")]
    RetiredEpoch,
    /// A kind that no node acts upon.
    #[error("unexpected kind")]
    Unexpected,
}

/// Why a client's transaction is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TransactionReject {
    /// Its signature or one of its keys is bad.
    #[error("signature or key does not verify")]
    BadSignature,
}

/// The keysets and rules of one moment; a new one comes with [`crate::Output::VerifyContextChanged`].
#[derive(Clone)]
pub struct VerifyContext {
    chain: ChainId,
    own: NodeId,
    plan: Arc<Plan>,
    /// The own committee's epochs whose blocks and votes are taken, the running one first.
    contexts: Vec<Arc<Context>>,
    rules: fn(usize) -> Rules,
    /// Other committees' plans as recorded in our ledger.
    keysets: BTreeMap<CommitteeId, Arc<Plan>>,
    scheme: Arc<dyn SignatureScheme>,
    cache: Arc<RwLock<VerifiedCache>>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for VerifyContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epochs: Vec<Epoch> = self.contexts.iter().map(|context| context.epoch).collect();
        write!(f, "VerifyContext({:?}, epochs {epochs:?})", self.own)
    }
}

/// What a snapshot is made of.
pub(crate) struct VerifyParts {
    pub(crate) chain: ChainId,
    pub(crate) own: NodeId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) contexts: Vec<Arc<Context>>,
    pub(crate) rules: fn(usize) -> Rules,
    pub(crate) keysets: BTreeMap<CommitteeId, Arc<Plan>>,
    pub(crate) scheme: Arc<dyn SignatureScheme>,
    pub(crate) cache: Arc<RwLock<VerifiedCache>>,
    pub(crate) fingerprint: Fingerprint,
}

impl VerifyContext {
    pub(crate) fn new(parts: VerifyParts) -> Self {
        let VerifyParts { chain, own, plan, contexts, rules, keysets, scheme, cache, fingerprint } = parts;
        Self { chain, own, plan, contexts, rules, keysets, scheme, cache, fingerprint }
    }

    /// The ledger.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The running epoch.
    pub fn epoch(&self) -> Epoch {
        self.plan.epoch
    }

    /// The plan of the running epoch.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn context(&self, epoch: Epoch) -> Result<&Arc<Context>, MessageReject> {
        self.contexts.iter().find(|context| context.epoch == epoch).ok_or(MessageReject::UnknownEpoch)
    }

    fn member_key(&self, epoch: Epoch, from: NodeId) -> Result<PublicKey, MessageReject> {
        self.context(epoch)?.members.key(from.member).copied().ok_or(MessageReject::UnknownSender)
    }

    fn is_member(&self, node: NodeId) -> bool {
        let plans = [Some(&self.plan), self.keysets.get(&node.committee)];
        plans
            .into_iter()
            .flatten()
            .any(|plan| plan.committee(node.committee).is_some_and(|c| c.key(node.member).is_some()))
    }

    fn verify<T>(&self, members: usize, check: impl FnOnce(&Verifier<'_>) -> T) -> T {
        // a panicking lane poisons nothing that matters: the cache holds only what was verified
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        check(&Verifier {
            scheme: &*self.scheme,
            cache: Some(&cache),
            fingerprint: self.fingerprint,
            quorum: (self.rules)(members).quorum,
        })
    }

    fn remember(&self, transactions: &[Transaction]) {
        if transactions.is_empty() {
            return;
        }
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        for transaction in transactions {
            cache.insert((self.fingerprint)(&self.chain, transaction));
        }
    }
}

/// Checks what a client submitted: signature and keys. Its id is computed on the way.
pub fn check_transaction(
    context: &VerifyContext,
    transaction: Transaction,
) -> Result<Verified<IdentifiedTransaction>, TransactionReject> {
    check_transactions(context, &[transaction]).pop().unwrap_or(Err(TransactionReject::BadSignature))
}

/// Checks a batch of clients' transactions; one verdict each, in order.
pub fn check_transactions(
    context: &VerifyContext,
    transactions: &[Transaction],
) -> Vec<Result<Verified<IdentifiedTransaction>, TransactionReject>> {
    let check = |range: &[Transaction]| {
        let issuer = &context.plan.issuer;
        context.verify(1, |verifier| verify_transactions(&context.chain, issuer, verifier, range))
    };
    let mut verdicts = Vec::with_capacity(transactions.len());
    // one pass when all are good; each bad one costs a pass over what follows it
    while verdicts.len() < transactions.len() {
        let rest = &transactions[verdicts.len()..];
        let good = match check(rest) {
            Ok(()) => rest.len(),
            Err(index) => index.min(rest.len()),
        };
        context.remember(&rest[..good]);
        let identified = |transaction: &Transaction| IdentifiedTransaction::new(&context.chain, *transaction);
        verdicts.extend(rest[..good].iter().map(|transaction| Ok(Verified::trust(identified(transaction)))));
        if good < rest.len() {
            verdicts.push(Err(TransactionReject::BadSignature));
        }
    }
    verdicts
}

/// Checks a client's opaque payloads against the genesis plan; the error is the id of one that the ledger does not order.
/// Ids are computed on the way.
pub fn check_opaque(
    context: &VerifyContext,
    payloads: Vec<Opaque>,
) -> impl Iterator<Item = Result<Verified<IdentifiedOpaque>, TxId>> {
    let (chain, max) = (context.chain, context.plan.constants.opaque_bytes_max);
    payloads.into_iter().map(move |payload| {
        let fits = payload.fits(max);
        let identified = IdentifiedOpaque::new(&chain, payload);
        if fits { Ok(Verified::trust(identified)) } else { Err(identified.txid) }
    })
}

/// Checks a message that came from `from`, as the connection tells.
pub fn check_message(
    context: &VerifyContext,
    from: NodeId,
    message: PeerMessage,
) -> Result<CheckedMessage, MessageReject> {
    if !context.is_member(from) || from == context.own {
        return Err(MessageReject::UnknownSender);
    }
    let inside = matches!(
        message,
        PeerMessage::Blocks(_)
            | PeerMessage::BlockRequest(_)
            | PeerMessage::Heartbeat(_)
            | PeerMessage::HeaderVote(_)
            | PeerMessage::CheckpointVote(_)
            | PeerMessage::Certificates(_)
            | PeerMessage::LedgerRequest(_)
            | PeerMessage::LedgerResponse(_)
            | PeerMessage::LeadersRequest(_)
            | PeerMessage::Leaders(_)
            | PeerMessage::PlanApproval(_)
    );
    if inside != (from.committee == context.own.committee) {
        return Err(MessageReject::WrongCommittee);
    }
    match message {
        PeerMessage::Blocks(blocks) => check_blocks(context, blocks),
        PeerMessage::BlockRequest(request) => Ok(CheckedMessage::BlockRequest(request)),
        PeerMessage::Heartbeat(heartbeat) => Ok(CheckedMessage::Heartbeat(heartbeat)),
        PeerMessage::HeaderVote(vote) => check_header_vote(context, from, vote),
        PeerMessage::CheckpointVote(vote) => check_checkpoint_vote(context, from, vote),
        PeerMessage::Certificates(certificates) => check_certificates(context, certificates.headers.into_vec()),
        PeerMessage::LedgerRequest(request) => Ok(CheckedMessage::LedgerRequest(request)),
        PeerMessage::LedgerResponse(response) => check_ledger_response(response),
        PeerMessage::LeadersRequest(request) => Ok(CheckedMessage::LeadersRequest(request)),
        PeerMessage::Leaders(leaders) => Ok(CheckedMessage::Leaders(leaders)),
        // co-signatures go to the signaler, not to nodes
        PeerMessage::PlanApproval(_) => Err(MessageReject::Unexpected),
        PeerMessage::RelayNotice(notice) => Ok(CheckedMessage::RelayNotice(notice)),
        PeerMessage::PackRequest(request) => Ok(CheckedMessage::PackRequest(request)),
        PeerMessage::Pack(pack) => check_pack(context, from, pack),
        PeerMessage::Cursor(cursor) => check_cursor(context, from, cursor),
        PeerMessage::ClosingsRequest(request) => Ok(CheckedMessage::ClosingsRequest(request)),
        PeerMessage::Closings(closings) => check_closings(context, from, closings.records.into_vec()),
    }
}

fn check_blocks(context: &VerifyContext, message: Blocks) -> Result<CheckedMessage, MessageReject> {
    let epoch = context.context(message.epoch)?;
    let (mut blocks, mut rejected) = (Vec::new(), Vec::new());
    for raw in message.blocks.into_vec() {
        match context.verify(epoch.members.size(), |verifier| validate(epoch, verifier, raw)) {
            Ok(block) => {
                context.remember(&block.block().payload.transactions);
                blocks.push(block);
            }
            Err(reject) => rejected.push(reject),
        }
    }
    Ok(CheckedMessage::Blocks { epoch: message.epoch, requested: message.requested, blocks, rejected })
}

fn check_header_vote(context: &VerifyContext, from: NodeId, vote: HeaderVote) -> Result<CheckedMessage, MessageReject> {
    let key = context.member_key(vote.epoch, from)?;
    if !context.scheme.verify(&key, &header_message(&context.chain, &vote.header), &vote.signature) {
        return Err(MessageReject::BadSignature);
    }
    Ok(CheckedMessage::HeaderVote(Verified::trust(vote)))
}

fn check_checkpoint_vote(
    context: &VerifyContext,
    from: NodeId,
    vote: CheckpointVote,
) -> Result<CheckedMessage, MessageReject> {
    let checkpoint = &vote.checkpoint;
    if checkpoint.chain != context.chain || checkpoint.committee != context.own.committee {
        return Err(MessageReject::Malformed);
    }
    let key = context.member_key(checkpoint.epoch, from)?;
    if !context.scheme.verify(&key, &checkpoint_message(checkpoint), &vote.signature) {
        return Err(MessageReject::BadSignature);
    }
    Ok(CheckedMessage::CheckpointVote(Verified::trust(Box::new(vote))))
}

fn check_certificates(context: &VerifyContext, headers: Vec<CertifiedHeader>) -> Result<CheckedMessage, MessageReject> {
    let total = headers.len();
    let good = |certified: &CertifiedHeader| {
        let header = &certified.header;
        header.committee == context.own.committee
            && context
                .context(header.epoch)
                .is_ok_and(|epoch| is_certified(&*context.scheme, &context.chain, &epoch.members, certified))
    };
    let headers: Vec<_> = headers.into_iter().filter(good).map(Verified::trust).collect();
    let rejected = total - headers.len();
    Ok(CheckedMessage::Certificates { headers, rejected })
}

fn check_ledger_response(response: LedgerResponse) -> Result<CheckedMessage, MessageReject> {
    let heights = response.blocks.iter().map(|certified| certified.block.header.height);
    let expected = (0..).map(|offset| response.from.plus(offset));
    if !heights.zip(expected).all(|(height, expected)| height == expected) {
        return Err(MessageReject::Malformed);
    }
    Ok(CheckedMessage::LedgerResponse(Box::new(response)))
}

/// What a header of another committee is worth here (the ledger's rule: the recorded epoch's headers and
/// the closing header before it).
enum Standing {
    Proves,
    Unknown,
    Retired,
}

fn standing(context: &VerifyContext, from: NodeId, certified: &CertifiedHeader) -> Result<Standing, MessageReject> {
    let header = &certified.header;
    if header.chain != context.chain || header.committee != from.committee {
        return Err(MessageReject::Malformed);
    }
    let plan = context.keysets.get(&from.committee).ok_or(MessageReject::UnknownSender)?;
    if header.epoch > plan.epoch {
        return Ok(Standing::Unknown);
    }
    if header.epoch < plan.epoch {
        // the last closing header still proves; which one that is, execution knows
        let last = header.is_closing() && header.epoch.next() == plan.epoch;
        return Ok(if last { Standing::Proves } else { Standing::Retired });
    }
    let members = plan.committee(from.committee).ok_or(MessageReject::UnknownSender)?;
    if is_certified(&*context.scheme, &context.chain, members, certified) {
        Ok(Standing::Proves)
    } else {
        Err(MessageReject::BadSignature)
    }
}

fn check_pack(context: &VerifyContext, from: NodeId, pack: Arc<Pack>) -> Result<CheckedMessage, MessageReject> {
    let own = context.own.committee;
    let log = &pack.log;
    if pack.source != from.committee || pack.destination != own || log.destination != own {
        return Err(MessageReject::Malformed);
    }
    let end = pack.first.checked_add(pack.messages.len() as u64).ok_or(MessageReject::Malformed)?;
    let leaf = leaf_of(domain::OUTBOX, log);
    if pack.messages.is_empty()
        || end > log.count
        || pack.path.index != own.index() as u64
        || !verify_inclusion(&pack.certified.header.outbox, &leaf, &pack.path)
    {
        return Err(MessageReject::Malformed);
    }
    match standing(context, from, &pack.certified)? {
        Standing::Proves => Ok(CheckedMessage::Pack(Verified::trust(pack))),
        Standing::Unknown => Ok(CheckedMessage::UnknownKeyset { epoch: pack.certified.header.epoch }),
        Standing::Retired => Err(MessageReject::RetiredEpoch),
    }
}

fn check_cursor(
    context: &VerifyContext,
    from: NodeId,
    proof: Box<CursorProof>,
) -> Result<CheckedMessage, MessageReject> {
    let own = context.own.committee;
    let leaf = leaf_of(domain::INBOX, &proof.cursor);
    if proof.cursor.source != own
        || proof.path.index != own.index() as u64
        || !verify_inclusion(&proof.certified.header.inbox, &leaf, &proof.path)
    {
        return Err(MessageReject::Malformed);
    }
    match standing(context, from, &proof.certified)? {
        Standing::Proves => Ok(CheckedMessage::Cursor(Verified::trust(proof))),
        Standing::Unknown => Ok(CheckedMessage::UnknownKeyset { epoch: proof.certified.header.epoch }),
        Standing::Retired => Err(MessageReject::RetiredEpoch),
    }
}

fn check_closings(
    context: &VerifyContext,
    from: NodeId,
    records: Vec<ClosingRecord>,
) -> Result<CheckedMessage, MessageReject> {
    let mut plan = context.keysets.get(&from.committee).ok_or(MessageReject::UnknownSender)?.clone();
    let mut checked = Vec::new();
    for record in records {
        let header = &record.certified.header;
        if header.committee != from.committee {
            return Err(MessageReject::Malformed);
        }
        if header.epoch < plan.epoch {
            continue;
        }
        if header.epoch > plan.epoch {
            return Err(MessageReject::Malformed);
        }
        let members = plan.committee(from.committee).ok_or(MessageReject::UnknownSender)?;
        let successor =
            header.next_plan == Some(plan_hash(&record.plan)) && plan.accepts_successor(plan_hash(&plan), &record.plan);
        if !successor || !is_certified(&*context.scheme, &context.chain, members, &record.certified) {
            return Err(MessageReject::BadSignature);
        }
        plan = Arc::new(record.plan.clone());
        checked.push(record);
    }
    Ok(CheckedMessage::Closings(Verified::trust(checked)))
}

/// Whether Q distinct members signed the header. Signers that are no members make it invalid only by
/// being too few without them.
pub(crate) fn is_certified(
    scheme: &dyn SignatureScheme,
    chain: &ChainId,
    members: &CommitteePlan,
    certified: &CertifiedHeader,
) -> bool {
    certified.certificate.signatures().len() >= members.quorum()
        && valid_signatures(scheme, chain, members, certified).len() >= members.quorum()
}

/// The members' signatures over the header that hold.
pub(crate) fn valid_signatures(
    scheme: &dyn SignatureScheme,
    chain: &ChainId,
    members: &CommitteePlan,
    certified: &CertifiedHeader,
) -> Vec<MemberSignature> {
    if certified.header.chain != *chain {
        return Vec::new();
    }
    let message = header_message(chain, &header_hash(&certified.header));
    let signed = certified.certificate.signatures().iter().filter_map(|signed| {
        let key = *members.key(signed.member)?;
        Some((signed.clone(), SignedItem { key, message: &message, signature: signed.signature }))
    });
    let (signed, items): (Vec<MemberSignature>, Vec<SignedItem<'_>>) = signed.unzip();
    let verdicts = scheme.verify_batch(&items);
    signed.into_iter().zip(verdicts).filter_map(|(signed, good)| good.then_some(signed)).collect()
}

fn leaf_of(tag: &[u8], leaf: &impl Codec) -> shardpay_types::Hash {
    let mut content = tag.to_vec();
    leaf.encode(&mut content);
    leaf_hash(&content)
}
