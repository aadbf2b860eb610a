//! Small values for unit tests.

use shardpay_types::{CommitteeId, MemberIndex, NodeId};

pub(crate) fn node(committee: usize, member: usize) -> NodeId {
    NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) }
}
