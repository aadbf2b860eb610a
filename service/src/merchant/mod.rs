//! Merchants: payment intents, what is paid on them, and the events that tell a shop.
//!
//! `intents` keeps intents and matches certified payments with them, `webhooks` signs and delivers events,
//! `settlement` adds up a day.

mod intents;
mod settlement;
pub mod webhooks;

pub(crate) use intents::payment_final;
pub use intents::{Intent, IntentPayment, IntentState, Intents, NewIntent};
pub use settlement::{Settlement, SettlementItem, day_bounds, settlement};
