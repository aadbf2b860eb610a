//! Byzantine members: real nodes whose inputs and outputs are bent by one twist each.
//!
//! A twist stands between a node's replica and the net. It sees what comes in and what goes out, may
//! change, drop, redirect or add messages, and signs with the node's own key only. It knows nothing of
//! the simulator, so that tests of real clusters can use it, too.

mod equivocator;
mod jumper;
mod liar;
mod relayer;
mod spammer;
mod subset;
mod voter;

use std::sync::Arc;

use shardpay_crypto::{SealedBlock, Signer};
use shardpay_types::{Block, ChainId, Epoch, List, NodeId, PeerMessage, Plan, RawBlock, Round, Timestamp};

use crate::rng::Stream;

/// What a twist works with.
pub struct TwistContext<'a> {
    /// The node's clock.
    pub now: Timestamp,
    /// The node.
    pub own: NodeId,
    /// The ledger.
    pub chain: ChainId,
    /// The genesis plan: sizes and keys.
    pub plan: &'a Plan,
    /// The node's key.
    pub signer: &'a dyn Signer,
    /// Its own chance.
    pub stream: &'a mut Stream,
}

/// Messages on their way out: to whom, what.
pub type Outgoing = Vec<(NodeId, Arc<PeerMessage>)>;

/// How a node misbehaves.
pub trait Twist: Send {
    /// A message came in: what the replica gets to see of it.
    fn receive(
        &mut self,
        _context: &mut TwistContext<'_>,
        _from: NodeId,
        message: Arc<PeerMessage>,
    ) -> Option<Arc<PeerMessage>> {
        Some(message)
    }

    /// The replica sends a message: what really leaves.
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing);

    /// Time passes: what leaves without the replica.
    fn tick(&mut self, _context: &mut TwistContext<'_>, _out: &mut Outgoing) {}

    /// How often the twist has done its deed.
    fn deeds(&self) -> u64;
}

/// The twists there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TwistKind {
    /// Makes two blocks in a slot and shows each to half of its peers.
    Equivocator,
    /// Sends nothing, or falls silent for a while again and again.
    Silent,
    /// Sends to some peers only.
    Subset,
    /// Answers no request: nobody gets history from it.
    Withholder,
    /// Makes blocks of far higher rounds.
    RoundJumper,
    /// Sends invalid blocks, requests and votes in numbers.
    Spammer,
    /// Lies in packs, notices and cursors, on the wire and in its own blocks.
    Relayer,
    /// Lies in what it serves to those who catch up, and in its heartbeats.
    HistoryLiar,
    /// Signs headers that nobody executed, different ones for different peers.
    VoteForger,
    /// Puts transactions with broken signatures into its blocks.
    TransactionForger,
    /// Runs twice with one key; each half of it talks to some of the peers. A matter of the driver.
    Twins,
}

impl TwistKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Equivocator,
        Self::Silent,
        Self::Subset,
        Self::Withholder,
        Self::RoundJumper,
        Self::Spammer,
        Self::Relayer,
        Self::HistoryLiar,
        Self::VoteForger,
        Self::TransactionForger,
        Self::Twins,
    ];

    /// The name under which its deeds are counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equivocator => "twist: equivocator",
            Self::Silent => "twist: silent",
            Self::Subset => "twist: sends to a subset",
            Self::Withholder => "twist: withholds history",
            Self::RoundJumper => "twist: jumps rounds",
            Self::Spammer => "twist: spams",
            Self::Relayer => "twist: lies as relayer",
            Self::HistoryLiar => "twist: lies about history",
            Self::VoteForger => "twist: signs false headers",
            Self::TransactionForger => "twist: forges transactions",
            Self::Twins => "twist: twins",
        }
    }

    /// Whether it adds and changes nothing, so that honest members have nothing to do because of it.
    pub const fn only_leaves_out(self) -> bool {
        matches!(self, Self::Silent | Self::Subset | Self::Withholder)
    }

    /// Whether its blocks can be worth nothing to others, so that it goes on making rounds for what they carry.
    pub const fn may_equivocate(self) -> bool {
        matches!(self, Self::Equivocator | Self::RoundJumper | Self::Relayer | Self::TransactionForger | Self::Twins)
    }

    /// A twist of this kind; `None`: the driver does it.
    pub fn build(self, stream: &mut Stream) -> Option<Box<dyn Twist>> {
        Some(match self {
            Self::Equivocator => Box::new(equivocator::Equivocator::default()),
            Self::Silent => Box::new(subset::Silent::new(stream)),
            Self::Subset => Box::new(subset::Subset::new(stream)),
            Self::Withholder => Box::new(subset::Withholder::default()),
            Self::RoundJumper => Box::new(jumper::RoundJumper::default()),
            Self::Spammer => Box::new(spammer::Spammer::default()),
            Self::Relayer => Box::new(relayer::LyingRelayer::default()),
            Self::HistoryLiar => Box::new(liar::HistoryLiar::default()),
            Self::VoteForger => Box::new(voter::VoteForger::default()),
            Self::TransactionForger => Box::new(equivocator::TransactionForger::default()),
            Self::Twins => return None,
        })
    }
}

/// Every other member of the node's committee.
fn peers(context: &TwistContext<'_>) -> Vec<NodeId> {
    let committee = context.own.committee;
    let members = context.plan.committee(committee).map_or(0, shardpay_types::CommitteePlan::size);
    (0..members)
        .map(|member| NodeId { committee, member: shardpay_types::MemberIndex::at(member) })
        .filter(|id| *id != context.own)
        .collect()
}

/// The node's own blocks in a message are replaced by what `bend` makes of them; others stay.
fn bend_own_blocks(
    own: NodeId,
    message: &Arc<PeerMessage>,
    mut bend: impl FnMut(&RawBlock, Block) -> RawBlock,
) -> Arc<PeerMessage> {
    let PeerMessage::Blocks(blocks) = &**message else { return message.clone() };
    let bent = blocks.blocks.iter().map(|raw| match SealedBlock::decode(raw.clone()) {
        Ok(sealed) if sealed.block().author == own.member => bend(raw, sealed.block().clone()),
        _ => raw.clone(),
    });
    let blocks = shardpay_types::Blocks {
        epoch: blocks.epoch,
        requested: blocks.requested,
        blocks: List::bounded(bent.collect()),
    };
    Arc::new(PeerMessage::Blocks(blocks))
}

/// The newest own block that leaves in a message.
fn newest_own(own: NodeId, message: &PeerMessage) -> Option<(Epoch, Round)> {
    let PeerMessage::Blocks(blocks) = message else { return None };
    let sealed = blocks.blocks.iter().filter_map(|raw| SealedBlock::decode(raw.clone()).ok());
    sealed
        .filter(|sealed| sealed.block().author == own.member)
        .map(|sealed| (sealed.block().epoch, sealed.block().round))
        .max()
}
