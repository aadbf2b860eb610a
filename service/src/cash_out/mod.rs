//! Cashing out: a certified redeem is what the bank pays against.
//!
//! `iban` checks bank details, `bank` is the seam to the bank, `sandbox` one that only plays, [`pain001`] the
//! order as ISO 20022 XML, `workflow` the way from redeem to payout, or back.

pub mod bank;
pub mod iban;
pub mod pain001;
pub mod sandbox;
mod workflow;

pub use workflow::{CashOut, CashOutState, CashOuts, NewCashOut, payout_ref};
pub(crate) use workflow::{redeem_certified, redeem_rejected, return_credited};
