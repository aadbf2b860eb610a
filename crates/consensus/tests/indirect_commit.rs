//! A leader with too few certificates for a direct commit is committed by its anchor.

mod common;

use common::{Builder, Observer};

/// Slot 1 (author 1) gets three votes and one blame, but only author 0 of round 3 sees all three votes.
pub fn one_certificate(builder: &mut Builder) {
    builder.full(1..=1);
    let all: Vec<_> = (0..4).map(|author| builder.at(1, author)).collect();
    let without: Vec<_> = [0, 2, 3].map(|author| builder.at(1, author)).to_vec();
    (0..3).for_each(|author| {
        builder.block(author, 2, &all);
    });
    builder.block(3, 2, &without);
    builder.layer(3, &[0], &[0, 1, 2, 3]);
    builder.layer(3, &[1], &[0, 1, 3]);
    builder.layer(3, &[2], &[0, 2, 3]);
    builder.layer(3, &[3], &[0, 1, 3]);
}

#[test]
fn a_certificate_in_the_anchors_history_commits() {
    let mut builder = Builder::new(4);
    one_certificate(&mut builder);
    builder.full(4..=5);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    assert_eq!(observer.committed(), [0u64; 0], "one certificate and one blame decide nothing");
    builder.full(6..=6);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    // Slot 4 is committed directly and anchors slot 1.
    assert_eq!(observer.committed(), [1]);
    assert_eq!(observer.anchors()[0], builder.at(1, 1));
    assert_eq!(observer.status().indirect_commits, 1);
    assert_eq!(observer.status().last_output.get(), 1, "slot 2 has two votes and two blames, its anchor is slot 5");
}
