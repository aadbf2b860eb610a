//! A leader without a vote by a quorum of the next round is skipped at once.

mod common;

use common::{Builder, Observer, faults_and_quorum};

#[test]
fn a_quorum_without_the_leader_as_parent_skips_it() {
    for members in [4, 7, 16, 64] {
        let (_, quorum) = faults_and_quorum(members);
        let mut builder = Builder::new(members);
        builder.full(1..=2);
        // Round 3: a quorum without the leader of round 2.
        let others: Vec<usize> = (0..members).filter(|author| *author != 2).collect();
        builder.layer(3, &others, &others);
        let mut observer = Observer::new(&builder, 0);
        for (index, block) in builder.blocks.iter().enumerate() {
            observer.push(block);
            let blames = (index + 1).saturating_sub(2 * members);
            assert_eq!(observer.status().direct_skips, u64::from(blames >= quorum), "{members} members");
        }
        assert_eq!(observer.committed(), [1]);
        assert_eq!(observer.status().last_output.get(), 2, "the skipped slot is output with the prefix");
    }
}

#[test]
fn a_missing_leader_is_skipped_and_its_block_is_committed_by_a_later_one() {
    let mut builder = Builder::new(4);
    builder.full(1..=2);
    builder.layer(3, &[0, 1, 3], &[0, 1, 3]);
    // The skipped leader goes on; everybody builds on it again.
    let parents: Vec<_> = [0, 1, 2, 3].map(|author| builder.at(2, author)).to_vec();
    builder.block(2, 3, &parents);
    builder.full(4..=8);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    assert_eq!(observer.committed(), [1, 3, 4, 5, 6]);
    let skipped = builder.at(2, 2);
    let by = observer.commits.iter().find(|c| c.blocks.iter().any(|b| b.reference() == skipped)).unwrap();
    assert_eq!(by.anchor.round.get(), 4, "the first leader that reaches it");
    assert_eq!((observer.status().direct_skips, observer.status().direct_commits), (1, 5));
}
