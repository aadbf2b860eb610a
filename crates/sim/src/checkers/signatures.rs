//! No two signatures: what leaves an honest node names one block per (epoch, round), one header per
//! height, one plan per epoch, one checkpoint per epoch; restarts make no difference.
//!
//! Blocks are read at fixed offsets of their bytes, without the production decoder.

use std::collections::BTreeMap;

use shardpay_crypto::sha256;
use shardpay_types::{Codec, PeerMessage, PlanApproval, RawBlock};

use super::{Violation, hold};

const EPOCH_AT: usize = 1 + 32;
const AUTHOR_AT: usize = EPOCH_AT + 8 + 2;
const ROUND_AT: usize = AUTHOR_AT + 1;
const SIGNATURE_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Block { epoch: u64, round: u64 },
    Header { height: u64 },
    Plan { epoch: u64 },
    Checkpoint { epoch: u64 },
}

/// What each honest node signed and let out.
#[derive(Debug)]
pub(crate) struct Signatures {
    signed: Vec<BTreeMap<Slot, [u8; 16]>>,
}

impl Signatures {
    /// Of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { signed: vec![BTreeMap::new(); nodes] }
    }

    /// Honest `node`, member number `member` of its committee, sends `message`.
    pub(crate) fn sent(&mut self, node: usize, member: usize, message: &PeerMessage) -> Result<(), Violation> {
        match message {
            PeerMessage::Blocks(blocks) => {
                for raw in &blocks.blocks {
                    self.block(node, member, raw)?;
                }
                Ok(())
            }
            PeerMessage::HeaderVote(vote) => {
                self.once(node, Slot::Header { height: vote.height.get() }, first_half(&vote.header.0))
            }
            PeerMessage::CheckpointVote(vote) => {
                let content = sha256(&[&vote.checkpoint.to_bytes()]);
                self.once(node, Slot::Checkpoint { epoch: vote.checkpoint.epoch.get() }, first_half(&content))
            }
            PeerMessage::PlanApproval(approval) => self.approved(node, approval),
            _ => Ok(()),
        }
    }

    /// Honest `node` consents to a plan.
    pub(crate) fn approved(&mut self, node: usize, approval: &PlanApproval) -> Result<(), Violation> {
        self.once(node, Slot::Plan { epoch: approval.epoch.get() }, first_half(&approval.plan.0))
    }

    fn block(&mut self, node: usize, member: usize, raw: &RawBlock) -> Result<(), Violation> {
        let bytes = &raw.0;
        hold!(bytes.len() > ROUND_AT + 8 + SIGNATURE_BYTES, "own blocks", "a block of {} bytes", bytes.len());
        if usize::from(bytes[AUTHOR_AT]) != member {
            return Ok(());
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let signature = &bytes[bytes.len() - SIGNATURE_BYTES..];
        self.once(node, Slot::Block { epoch: number(EPOCH_AT), round: number(ROUND_AT) }, first_half(signature))
    }

    fn once(&mut self, node: usize, slot: Slot, content: [u8; 16]) -> Result<(), Violation> {
        let first = *self.signed[node].entry(slot).or_insert(content);
        hold!(first == content, "no two signatures", "node {node} signed twice for {slot:?}");
        Ok(())
    }
}

fn first_half(bytes: &[u8]) -> [u8; 16] {
    bytes[..16].try_into().expect("at least 16 bytes")
}
