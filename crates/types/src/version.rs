//! The protocol's version byte: the first byte of every long-lived structure.

use crate::codec::{Codec, DecodeError, Reader};

/// Version of every structure of the protocol.
pub const PROTOCOL_VERSION: u8 = 1;

/// The version byte; decoding accepts [`PROTOCOL_VERSION`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version;

impl Codec for Version {
    const MIN_LEN: usize = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(PROTOCOL_VERSION);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            PROTOCOL_VERSION => Ok(Self),
            tag => Err(DecodeError::UnknownTag { what: "version", tag }),
        }
    }
}
