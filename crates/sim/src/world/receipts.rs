//! Proofs as a client sees them: a sample of receipts must verify, and must not once bent.
//!
//! An honest node of the deciding committee (of the destination, for credits) makes the receipt; the
//! client's verifier checks it from the genesis plan and the closing records of that committee alone.

use shardpay_ledger::verify::{EpochKeys, TrustAnchor, verify_credit_receipt, verify_epoch_chain, verify_receipt};
use shardpay_types::{
    AccountState, Amount, CommitteeId, CreditReceipt, Epoch, EpochChain, Height, LedgerItem, List, Outcome, Receipt,
    TxId,
};

use super::World;
use crate::checkers::{Violation, hold};
use crate::node::Machine;

/// Receipts checked per run and kind.
const SAMPLE: usize = 12;
const RULE: &str = "receipts";

impl World {
    pub(super) fn verify_receipts(&mut self) -> Result<(), Violation> {
        let leaves: Vec<_> = self.books.leaves().map(|(id, leaf)| (*id, *leaf)).collect();
        for number in 0..SAMPLE.min(leaves.len()) {
            let (id, leaf) = leaves[number * leaves.len() / SAMPLE.min(leaves.len())];
            let (machine, keys) = self.witness(leaf.committee)?;
            let receipt = machine.ledger.receipt(leaf.height, leaf.index);
            let Some(receipt) = receipt.map_err(|error| Violation::new(RULE, error.to_string()))? else {
                return Err(Violation::new(RULE, format!("no receipt of {id:?} at height {}", leaf.height)));
            };
            check_receipt(&keys, id, leaf.applied, receipt)?;
            self.coverage.hit("receipt verified");
        }
        for committee in 0..self.scenario.topology.committees() {
            self.verify_credits(committee)?;
        }
        Ok(())
    }

    /// An honest node of a committee, and the committee's keys as a client learns them.
    fn witness(&self, committee: usize) -> Result<(&Machine, EpochKeys), Violation> {
        let mut members = self.scenario.topology.members(committee);
        let witness = members.find_map(|node| self.bodies[node].machine.as_ref().filter(|_| self.bodies[node].honest));
        let machine = witness.ok_or_else(|| Violation::new(RULE, "no honest member runs"))?;
        let closings = machine.ledger.closings(Epoch::ZERO).map_err(|error| Violation::new(RULE, error.to_string()))?;
        let anchor = TrustAnchor { genesis: (*self.shared.genesis).clone(), scheme: self.shared.scheme.clone() };
        let chain = EpochChain { closings: List::bounded(closings) };
        match verify_epoch_chain(&anchor, CommitteeId::at(committee), &chain) {
            Ok(keys) => Ok((machine, keys)),
            Err(error) => Err(Violation::new(RULE, format!("closing records of committee {committee}: {error}"))),
        }
    }

    /// Some credits of a committee's last packs.
    fn verify_credits(&mut self, committee: usize) -> Result<(), Violation> {
        let mut found = Vec::new();
        let mut height = self.books.height(committee);
        while height > Height::ZERO && found.len() < 3 {
            found.extend(self.first_credit(committee, height).map(|leaf| (height, leaf)));
            height = height.previous();
        }
        for (height, leaf) in found {
            let (machine, keys) = self.witness(committee)?;
            let receipt = machine.ledger.credit_receipt(height, leaf);
            let Some(receipt) = receipt.map_err(|error| Violation::new(RULE, error.to_string()))? else {
                return Err(Violation::new(RULE, format!("no credit receipt at height {height} of {committee}")));
            };
            check_credit(&keys, receipt)?;
            self.coverage.hit("credit receipt verified");
        }
        Ok(())
    }

    /// The leaf of the first credit in a block.
    fn first_credit(&self, committee: usize, height: Height) -> Option<u32> {
        let mut leaf = 0;
        for item in self.books.block_at(committee, height)?.items.iter() {
            match item {
                LedgerItem::Pack(_) => return Some(leaf),
                LedgerItem::Transaction(_) | LedgerItem::Opaque(_) => leaf += 1,
                LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
            }
        }
        None
    }
}

fn check_receipt(keys: &EpochKeys, id: TxId, applied: bool, receipt: Receipt) -> Result<(), Violation> {
    match verify_receipt(keys, &receipt) {
        Ok(facts) => {
            let right = facts.txid == id && (facts.outcome == Outcome::Applied) == applied;
            hold!(right, RULE, "the receipt of {id:?} says {facts:?}");
        }
        Err(error) => return Err(Violation::new(RULE, format!("the receipt of {id:?}: {error}"))),
    }
    let mut bent = receipt.clone();
    bent.executed.outcome = if applied { Outcome::ShortBalance } else { Outcome::Applied };
    hold!(verify_receipt(keys, &bent).is_err(), RULE, "another outcome of {id:?} verifies, too");
    let mut bent = receipt;
    bent.path.index += 1;
    hold!(verify_receipt(keys, &bent).is_err(), RULE, "another place of {id:?} verifies, too");
    Ok(())
}

fn check_credit(keys: &EpochKeys, receipt: CreditReceipt) -> Result<(), Violation> {
    match verify_credit_receipt(keys, &receipt) {
        Ok(facts) => hold!(facts.txid == receipt.message.txid, RULE, "the credit receipt says {facts:?}"),
        Err(error) => return Err(Violation::new(RULE, format!("a credit receipt: {error}"))),
    }
    let mut bent = receipt.clone();
    bent.message.amount = Amount::from_micros(bent.message.amount.micros() + 1);
    hold!(verify_credit_receipt(keys, &bent).is_err(), RULE, "another amount verifies, too");
    let mut bent = receipt;
    bent.executed.account = Some(AccountState::EMPTY);
    hold!(verify_credit_receipt(keys, &bent).is_err(), RULE, "another balance verifies, too");
    Ok(())
}
