//! While the lowest anchor is undecided, the slot is: nothing is output past it, whatever is decided above.

mod common;

use common::{Builder, Observer};

/// Votes of `number` for the leader one round below split evenly: nothing direct.
fn split_votes(builder: &mut Builder, number: u64) {
    let leader = ((number - 1) % 4) as usize;
    let with: Vec<usize> = (0..4).collect();
    let without: Vec<usize> = (0..4).filter(|author| *author != leader).collect();
    for author in 0..4 {
        // The leader stands on its own block.
        let votes = author == leader || author == (leader + 1) % 4;
        builder.layer(number, &[author], if votes { &with } else { &without });
    }
}

#[test]
fn an_undecided_anchor_leaves_the_slot_undecided() {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    split_votes(&mut builder, 2); // slot 1
    builder.full(3..=4);
    split_votes(&mut builder, 5); // slot 4, the anchor of slot 1
    builder.full(6..=7);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    let status = observer.status();
    assert_eq!(observer.committed(), [0u64; 0], "slot 1 waits for slot 4");
    assert_eq!(status.last_output.get(), 0);
    assert_eq!(status.direct_commits, 3, "slots 2, 3 and 5");
    // Slot 4 waits for its own anchor, slot 7.
    builder.full(8..=9);
    observer.push_all(&builder);
    assert_eq!(observer.status().indirect_skips, 2);
    assert_eq!(observer.committed(), [2, 3, 5, 6, 7]);
}

#[test]
fn a_skipped_slot_is_no_anchor() {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    split_votes(&mut builder, 2); // slot 1
    builder.full(3..=4);
    builder.layer(5, &[1, 2, 3], &[1, 2, 3]); // slot 4 is skipped directly
    builder.only(6..=7, &[1, 2, 3]);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    // Slot 5 is committed directly and is the anchor.
    assert_eq!(observer.status().direct_skips, 1);
    assert_eq!(observer.status().indirect_skips, 1);
    assert_eq!(observer.committed(), [2, 3, 5]);
}
