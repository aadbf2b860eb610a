//! Cuts whole streams with `crate::cut`, for the property tests and for the fuzz target `frames`.

use crate::cut::{BadLength, Cut, Cutter};

/// Where a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Between two frames.
    Between,
    /// Inside one.
    Inside,
    /// At a length that cannot be.
    Bad(BadLength),
}

/// The frames of `stream` when it arrives in pieces of the given sizes, which come round again.
pub(crate) fn cut_all(
    stream: &[u8],
    frame_max: usize,
    sizes: impl Iterator<Item = usize> + Clone,
) -> (Vec<Vec<u8>>, End) {
    let mut cutter = Cutter::new(frame_max);
    let (mut found, mut rest) = (Vec::new(), stream);
    let mut sizes = sizes.cycle();
    loop {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len().max(1)).min(rest.len());
        let (mut piece, later) = rest.split_at(size);
        rest = later;
        loop {
            match cutter.take(&mut piece) {
                Ok(Cut::Whole(body)) => found.push(body),
                Ok(Cut::Announced(_)) => cutter.begin(),
                Ok(Cut::Hungry) => break,
                Err(bad) => return (found, End::Bad(bad)),
            }
        }
        assert!(piece.is_empty(), "what is hungry has taken everything");
        if rest.is_empty() {
            return (found, if cutter.is_between_frames() { End::Between } else { End::Inside });
        }
    }
}

/// What must hold for all bytes: the first one chooses limit and sizes of pieces, the others are the stream.
pub(crate) fn check(bytes: &[u8]) {
    let Some((choice, stream)) = bytes.split_first() else { return };
    let (frame_max, size) = (1 + usize::from(*choice >> 3) * 40, 1 + usize::from(*choice & 7));
    let (whole, end) = cut_all(stream, frame_max, std::iter::once(stream.len()));
    let (pieces, end_of_pieces) = cut_all(stream, frame_max, [size, 1, size * size].into_iter());
    assert_eq!((&whole, end), (&pieces, end_of_pieces), "pieces change nothing");
    assert!(whole.iter().all(|body| (1..=frame_max).contains(&body.len())));
    let mut again = Vec::new();
    for body in &whole {
        again.extend_from_slice(&(body.len() as u32).to_le_bytes());
        again.extend_from_slice(body);
    }
    assert!(stream.starts_with(&again), "frames hold the stream's bytes, none left out");
    match end {
        End::Between => assert_eq!(again.len(), stream.len()),
        End::Inside => assert!(again.len() < stream.len() && stream.len() - again.len() < 4 + frame_max),
        End::Bad(BadLength::Empty) => assert_eq!(stream[again.len()..][..4], [0; 4]),
        End::Bad(BadLength::TooLarge { bytes }) => assert!(bytes > frame_max),
    }
}
