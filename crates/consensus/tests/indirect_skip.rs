//! A leader that is neither certified nor blamed by a quorum is skipped by its anchor.

mod common;

use common::{Builder, Observer};

#[test]
fn no_certificate_in_the_anchors_history_skips() {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    let all: Vec<_> = (0..4).map(|author| builder.at(1, author)).collect();
    let without: Vec<_> = [0, 2, 3].map(|author| builder.at(1, author)).to_vec();
    // Two votes, two blames for author 1.
    builder.block(0, 2, &all);
    builder.block(1, 2, &all);
    builder.block(2, 2, &without);
    builder.block(3, 2, &without);
    builder.full(3..=5);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    assert_eq!(observer.committed(), [0u64; 0]);
    assert_eq!(observer.status().direct_commits, 2, "slots 2 and 3 are decided and wait for slot 1");
    builder.full(6..=6);
    observer.push_all(&builder);
    assert_eq!(observer.status().indirect_skips, 1);
    assert_eq!(observer.committed(), [2, 3, 4]);
    // The skipped leader's block is ordered by the next leader that reaches it.
    assert!(observer.commits[1].blocks.iter().any(|block| block.reference() == builder.at(1, 1)));
}
