//! Floor 5: submit, await certified results, verify proofs, block streams, topology.

pub mod signaler;
pub mod topology;
