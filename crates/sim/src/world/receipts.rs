//! Proofs as a client sees them: a sample of receipts must verify, and must not once bent.

use super::World;
use crate::checkers::Violation;

impl World {
    pub(super) fn verify_receipts(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}
