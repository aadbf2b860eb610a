//! The commit rule is called late: many rounds come at once, in the worst order, and give the same commits.

mod common;

use common::{Builder, Chance, Observer};

#[test]
fn all_rounds_at_once_give_the_same_commits() {
    for members in [4, 7, 13] {
        let mut builder = Builder::new(members);
        builder.full(1..=30);
        let mut early = Observer::new(&builder, 0);
        early.push_all(&builder);
        assert_eq!(early.committed(), (1..=28).collect::<Vec<_>>());
        // From the last block down: nothing can be accepted before the first round is complete.
        let mut late = Observer::new(&builder, 1);
        for block in builder.blocks.iter().rev() {
            assert!(late.commits.is_empty());
            late.push(block);
        }
        assert_eq!(late.commits, early.commits);
        assert_eq!(late.status().waiting_blocks, 0);
        assert_eq!(late.status().missing, 0);
    }
}

#[test]
fn any_order_gives_the_same_commits() {
    let mut builder = Builder::new(4);
    builder.full(1..=12);
    builder.only(13..=20, &[0, 1, 2]);
    let mut expected = Observer::new(&builder, 0);
    expected.push_all(&builder);
    for seed in 0..50 {
        let mut order: Vec<usize> = (0..builder.blocks.len()).collect();
        Chance(seed).shuffle(&mut order);
        let mut observer = Observer::new(&builder, (seed % 4) as usize);
        observer.feed_in(&builder, &order);
        assert_eq!(observer.commits, expected.commits, "seed {seed}");
    }
}
