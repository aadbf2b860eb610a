//! Buying coins by card: a charge and its mint are one durable workflow.
//!
//! `card` checks what people type, `gateway` is the seam to whoever charges cards, `sandbox` one that
//! only plays, `purchases` the workflow.

pub mod card;
pub mod gateway;
mod purchases;
pub mod sandbox;

pub(crate) use purchases::mint_credited;
pub use purchases::{NewPurchase, Purchase, PurchaseState, Purchases};
