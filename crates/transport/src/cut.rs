//! Frames out of bytes, however a stream cuts them: u32 little-endian length, then the body.
//!
//! Guarantees: a body is allocated once, with the length announced, only after [`Cutter::begin`], and never above
//! the limit; no byte is looked at twice, none is lost. Works on bytes alone, without a stream, and uses nothing of
//! this crate: `tests/cut.rs` and the fuzz target `frames` include this file.

const LENGTH_BYTES: usize = 4;

/// A length that no frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLength {
    /// Zero bytes.
    Empty,
    /// Above the limit.
    TooLarge {
        /// Bytes announced.
        bytes: usize,
    },
}

/// What became of the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All were taken; the frame goes on.
    Hungry,
    /// A frame of so many bytes follows; nothing more is taken before [`Cutter::begin`].
    Announced(usize),
    /// A body is whole. Bytes can be left.
    Whole(Vec<u8>),
}

#[derive(Debug)]
enum State {
    Length { header: [u8; LENGTH_BYTES], filled: usize },
    Announced(usize),
    Body { body: Vec<u8>, length: usize },
}

impl State {
    const START: Self = Self::Length { header: [0; LENGTH_BYTES], filled: 0 };
}

/// Cuts one stream.
#[derive(Debug)]
pub(crate) struct Cutter {
    frame_max: usize,
    state: State,
}

impl Cutter {
    /// At the beginning of a stream whose frames hold at most `frame_max` bytes.
    pub(crate) fn new(frame_max: usize) -> Self {
        Self { frame_max, state: State::START }
    }

    /// Takes bytes off the front of `bytes`. After an error the stream is of no more use.
    pub(crate) fn take(&mut self, bytes: &mut &[u8]) -> Result<Cut, BadLength> {
        match &mut self.state {
            State::Length { header, filled } => {
                let taken = split(bytes, LENGTH_BYTES - *filled);
                header[*filled..*filled + taken.len()].copy_from_slice(taken);
                *filled += taken.len();
                if *filled < LENGTH_BYTES {
                    return Ok(Cut::Hungry);
                }
                match u32::from_le_bytes(*header) as usize {
                    0 => Err(BadLength::Empty),
                    bytes if bytes > self.frame_max => Err(BadLength::TooLarge { bytes }),
                    length => {
                        self.state = State::Announced(length);
                        Ok(Cut::Announced(length))
                    }
                }
            }
            State::Announced(length) => Ok(Cut::Announced(*length)),
            State::Body { body, length } => {
                body.extend_from_slice(split(bytes, *length - body.len()));
                if body.len() < *length {
                    return Ok(Cut::Hungry);
                }
                let whole = std::mem::take(body);
                self.state = State::START;
                Ok(Cut::Whole(whole))
            }
        }
    }

    /// There is room for the body that was announced.
    ///
    /// # Panics
    /// When none was announced.
    pub(crate) fn begin(&mut self) {
        let State::Announced(length) = self.state else { panic!("a body begins after its length only") };
        self.state = State::Body { body: Vec::with_capacity(length), length };
    }

    /// Whether the stream stands between two frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Length { filled: 0, .. })
    }
}

/// Up to `max` bytes off the front.
fn split<'a>(bytes: &mut &'a [u8], max: usize) -> &'a [u8] {
    let (taken, left) = bytes.split_at(max.min(bytes.len()));
    *bytes = left;
    taken
}
