//! Who is who in a run: committees, members, and one dense number per node.

use shardpay_types::{
    CommitteeId, CommitteePlan, Constants, Epoch, List, MemberIndex, NodeId, Plan, PlanHash, PublicKey, Version,
};

/// Dense number of a node over all committees.
pub type NodeIndex = usize;

/// Sizes of the committees and the numbers of their nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    sizes: Vec<usize>,
    first: Vec<usize>,
}

impl Topology {
    /// Committees of these sizes.
    pub fn new(sizes: Vec<usize>) -> Self {
        let first = sizes
            .iter()
            .scan(0, |next, size| {
                let first = *next;
                *next += size;
                Some(first)
            })
            .collect();
        Self { sizes, first }
    }

    /// Number of committees.
    pub fn committees(&self) -> usize {
        self.sizes.len()
    }

    /// Number of members of each committee.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Number of nodes over all committees.
    pub fn nodes(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// f of a committee: how many members may be faulty. Computed here on purpose: checkers do not ask
    /// production code for thresholds.
    pub fn faults_max(&self, committee: usize) -> usize {
        (self.sizes[committee] - 1) / 3
    }

    /// Q of a committee.
    pub fn quorum(&self, committee: usize) -> usize {
        self.sizes[committee] - self.faults_max(committee)
    }

    /// The nodes of a committee.
    pub fn members(&self, committee: usize) -> std::ops::Range<NodeIndex> {
        self.first[committee]..self.first[committee] + self.sizes[committee]
    }

    /// The committee of a node.
    pub fn committee_of(&self, node: NodeIndex) -> usize {
        self.first.partition_point(|first| *first <= node) - 1
    }

    /// A node's name in the protocol.
    pub fn id(&self, node: NodeIndex) -> NodeId {
        let committee = self.committee_of(node);
        NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(node - self.first[committee]) }
    }

    /// The node with that name, if there is one.
    pub fn node(&self, id: NodeId) -> Option<NodeIndex> {
        let size = *self.sizes.get(id.committee.index())?;
        (id.member.index() < size).then(|| self.first[id.committee.index()] + id.member.index())
    }

    /// The plan of epoch 0 with the node's `keys`, in the order of their numbers, and shards in even parts.
    ///
    /// # Panics
    /// When the keys are no well-formed plan: too few, or one stands twice.
    pub fn genesis(&self, keys: &[PublicKey], issuer: PublicKey, salt: [u8; 32]) -> Plan {
        let shards = Plan::even_shards(self.committees());
        let committees = shards.into_iter().enumerate().map(|(committee, (shard_first, shard_count))| {
            let members = keys[self.members(committee)].to_vec();
            CommitteePlan { shard_first, shard_count, members: List::bounded(members) }
        });
        let plan = Plan {
            version: Version,
            epoch: Epoch::ZERO,
            previous: PlanHash::ZERO,
            salt,
            issuer,
            constants: Constants::standard(self.committees()),
            committees: List::bounded(committees.collect()),
        };
        plan.check().expect("the genesis plan is well formed");
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_belong_together() {
        let topology = Topology::new(vec![4, 1, 7]);
        assert_eq!(topology.nodes(), 12);
        for node in 0..12 {
            assert_eq!(topology.node(topology.id(node)), Some(node));
        }
        assert_eq!((topology.committee_of(3), topology.committee_of(4), topology.committee_of(5)), (0, 1, 2));
        assert_eq!((topology.quorum(0), topology.quorum(1), topology.quorum(2)), (3, 1, 5));
        assert_eq!(topology.node(NodeId { committee: CommitteeId::at(1), member: MemberIndex::at(1) }), None);
    }
}
