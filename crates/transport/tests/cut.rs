//! Frames come out whole, in order and unchanged, however their bytes arrive; no bytes make a frame above the
//! limit. The check of arbitrary bytes is that of the fuzz target `frames`.

#[path = "../src/cut.rs"]
mod cut;
#[path = "common/frames.rs"]
mod frames;

use cut::{BadLength, Cut, Cutter};
use proptest::prelude::*;

fn encode(bodies: &[Vec<u8>]) -> Vec<u8> {
    let frame = |body: &Vec<u8>| [&(body.len() as u32).to_le_bytes()[..], body].concat();
    bodies.iter().flat_map(frame).collect()
}

proptest! {
    #[test]
    fn frames_survive_every_cut(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..12),
        cuts in prop::collection::vec(1usize..200, 1..20),
    ) {
        let stream = encode(&bodies);
        let (found, end) = frames::cut_all(&stream, 300, cuts.iter().copied());
        prop_assert_eq!(end, frames::End::Between);
        prop_assert_eq!(found, bodies);
    }

    #[test]
    fn a_stream_that_ends_early_is_told_from_one_that_ends(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..6),
        left in 0usize..300,
        cuts in prop::collection::vec(1usize..20, 1..9),
    ) {
        let stream = encode(&bodies);
        let left = left.min(stream.len());
        let (found, end) = frames::cut_all(&stream[..left], 50, cuts.iter().copied());
        let mut ends = bodies.iter().scan(0, |at, body| { *at += 4 + body.len(); Some(*at) });
        let between = left == 0 || ends.any(|end| end == left);
        prop_assert_eq!(end, if between { frames::End::Between } else { frames::End::Inside });
        prop_assert!(bodies.starts_with(&found));
    }

    #[test]
    fn arbitrary_bytes_make_no_frame_above_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        frames::check(&bytes);
    }
}

#[test]
fn nothing_is_taken_before_there_is_room() {
    let mut cutter = Cutter::new(10);
    let mut bytes: &[u8] = &[3, 0, 0, 0, 7, 8, 9, 1];
    for _ in 0..3 {
        assert_eq!(cutter.take(&mut bytes), Ok(Cut::Announced(3)));
        assert_eq!(bytes.len(), 4, "the body stays where it is");
    }
    assert!(!cutter.is_between_frames());
    cutter.begin();
    assert_eq!(cutter.take(&mut bytes), Ok(Cut::Whole(vec![7, 8, 9])));
    assert!(cutter.is_between_frames());
    assert_eq!((cutter.take(&mut bytes), cutter.is_between_frames()), (Ok(Cut::Hungry), false));
}

#[test]
fn lengths_outside_the_limits_are_refused() {
    let take = |length: u32| Cutter::new(10).take(&mut &length.to_le_bytes()[..]);
    assert_eq!(take(0), Err(BadLength::Empty));
    assert_eq!(take(10), Ok(Cut::Announced(10)));
    assert_eq!(take(11), Err(BadLength::TooLarge { bytes: 11 }));
    assert_eq!(take(u32::MAX), Err(BadLength::TooLarge { bytes: u32::MAX as usize }));
}
