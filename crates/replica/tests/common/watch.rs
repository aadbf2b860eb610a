//! Checks made on everything nodes do, on their own grounds: nothing here asks the code under test.

use std::collections::BTreeMap;

use shardpay_crypto::SealedBlock;
use shardpay_replica::Record;
use shardpay_types::{
    BlockDigest, CertifiedHeader, CommitteeId, Epoch, HeaderHash, Height, NodeId, PeerMessage, PlanHash, Round,
};

use super::node::Node;

/// What was seen leaving nodes.
#[derive(Debug, Default)]
pub struct Watch {
    blocks: BTreeMap<(NodeId, Epoch, Round), BlockDigest>,
    votes: BTreeMap<(NodeId, Height), HeaderHash>,
    approvals: BTreeMap<(NodeId, Epoch), PlanHash>,
    certified: BTreeMap<(CommitteeId, Height), HeaderHash>,
}

impl Watch {
    /// Own blocks and votes leave only when their record is on the disk, and never twice for one slot.
    pub fn sent(&mut self, node: &Node, message: &PeerMessage) {
        match message {
            PeerMessage::Blocks(blocks) => {
                for raw in &blocks.blocks {
                    let block = SealedBlock::decode(raw.clone()).expect("nodes send blocks");
                    if block.reference().author == node.id.member {
                        self.own_block(node, &block);
                    }
                }
            }
            PeerMessage::HeaderVote(vote) => {
                let record = Record::HeaderVote { height: vote.height, header: vote.header };
                assert!(node.disk.records.contains(&record), "{:?} sent an unrecorded vote", node.id);
                let first = self.votes.entry((node.id, vote.height)).or_insert(vote.header);
                assert_eq!(*first, vote.header, "{:?} signed two headers at {:?}", node.id, vote.height);
            }
            PeerMessage::Heartbeat(heartbeat) => {
                let own = heartbeat.highest.iter().find(|block| block.author == node.id.member);
                if let Some(own) = own.filter(|own| own.round > Round::ZERO) {
                    let recorded = node.own_durable.contains(own);
                    assert!(recorded, "{:?} named an own block that was never on its disk", node.id);
                }
            }
            _ => {}
        }
    }

    fn own_block(&mut self, node: &Node, block: &SealedBlock) {
        let recorded = node.own_durable.contains(&block.reference());
        assert!(recorded, "{:?} sent an own block that is not on its disk", node.id);
        let slot = (node.id, block.block().epoch, block.reference().round);
        let first = self.blocks.entry(slot).or_insert(block.reference().digest);
        assert_eq!(*first, block.reference().digest, "{:?} made two blocks in {:?}", node.id, slot);
    }

    pub fn approved(&mut self, node: &Node, epoch: Epoch, plan: PlanHash) {
        let record = Record::PlanApproval { epoch, plan };
        assert!(node.disk.records.contains(&record), "{:?} approved without a record", node.id);
        let first = self.approvals.entry((node.id, epoch)).or_insert(plan);
        assert_eq!(*first, plan, "{:?} approved two plans for {epoch:?}", node.id);
    }

    /// One header per height in a committee; reported ascending without gaps in each life of a node.
    pub fn certified(&mut self, node: &mut Node, certified: &CertifiedHeader) {
        let header = &certified.header;
        let hash = shardpay_crypto::header_hash(header);
        assert_eq!(header.height, node.last_certified.next(), "{:?} reports heights in order", node.id);
        node.last_certified = header.height;
        node.certified.insert(header.height, hash);
        let first = self.certified.entry((header.committee, header.height)).or_insert(hash);
        assert_eq!(*first, hash, "two certified headers at {:?} of {:?}", header.height, header.committee);
        assert!(header.totals.conserved(), "coins are conserved at {:?}", header.height);
    }
}
