//! Credits on their way between committees (DESIGN §6): the source's side wakes, the destination's pulls.
//!
//! Neither side's bookkeeping is validity: what is applied, and that it is applied exactly once and in
//! order, is decided by execution against the cursor in ledger state. So every set here may be
//! forgotten at any moment (and is, at a restart) and only costs a retry.

pub(crate) mod destination;
pub(crate) mod source;
