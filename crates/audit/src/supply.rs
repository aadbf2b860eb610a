//! Coins over all committees, worked out from the books in their certified headers.
//!
//! Assumes nothing about the heights: every header conserves by itself, so the sums do at any heights. Coins in
//! flight may come out too small or too large by what is under way between two headers of different times.

use shardpay_types::{Total, Totals};

/// Coins over all committees, in micro-units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Ever created.
    pub minted: i128,
    /// Ever redeemed.
    pub burned: i128,
    /// In accounts, in flight and in suspense.
    pub in_circulation: i128,
    /// Sent and not yet received.
    pub in_flight: i128,
    /// Whether every committee's books, and so their sum, conserve.
    pub conserved: bool,
}

impl Supply {
    /// Adds up books, one per committee.
    pub fn of(books: &[Totals]) -> Self {
        let sum = |part: fn(&Totals) -> Total| -> i128 {
            books.iter().map(|books| i128::try_from(part(books).micros()).unwrap_or(i128::MAX)).sum()
        };
        let (minted, burned) = (sum(|books| books.minted), sum(|books| books.burned));
        let in_flight = sum(|books| books.sent) - sum(|books| books.received);
        let in_circulation = sum(|books| books.balances) + in_flight + sum(|books| books.suspense);
        let conserved = books.iter().all(Totals::conserved) && in_circulation == minted - burned;
        Self { minted, burned, in_circulation, in_flight, conserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(balances: u128, sent: u128, minted: u128, received: u128) -> Totals {
        let of = Total::from_micros;
        Totals { balances: of(balances), sent: of(sent), minted: of(minted), received: of(received), ..Totals::ZERO }
    }

    #[test]
    fn what_is_in_flight_is_in_circulation() {
        let supply = Supply::of(&[books(70, 30, 100, 0), books(20, 0, 0, 20)]);
        assert_eq!((supply.in_circulation, supply.in_flight), (100, 10));
        assert!(supply.conserved);
    }

    #[test]
    fn a_coin_from_nowhere_is_noticed() {
        assert!(!Supply::of(&[books(71, 30, 100, 0)]).conserved);
    }
}
