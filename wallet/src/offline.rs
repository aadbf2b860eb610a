//! Checks a receipt file against a genesis plan, without a network.

use std::path::Path;

use serde_json::{Value, json};
use shardpay_client::{ProvenReceipt, ReceiptFile};
use shardpay_keystore::{Address, reference_text};
use shardpay_types::{Codec, CreditOutcome, Outcome, Plan, PublicKey, Transaction};

use crate::failure::Failure;

/// Reads a genesis file: the encoded plan, as the service and the testbed hand it out.
pub(crate) fn genesis(path: &Path) -> Result<Plan, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::Environment(format!("{}: {error}", path.display())))?;
    Plan::from_bytes(&bytes).map_err(|error| Failure::Usage(format!("{}: not a genesis plan: {error}", path.display())))
}

/// What a receipt proves, and whether that is that money moved.
pub(crate) fn check(bytes: &[u8], genesis: &Plan) -> Result<(Value, bool), Failure> {
    let file = ReceiptFile::read(bytes)?;
    let proven = file.verify(genesis)?;
    let ProvenReceipt { transaction, facts, credit } = &proven;
    let applied = facts.outcome == Outcome::Applied;
    let address = |key: PublicKey| Address(key).to_string();
    let (kind, reference) = match transaction {
        Transaction::Payment(tx) => ("payment", Some(reference_text(&tx.body.reference))),
        Transaction::Redeem(_) => ("redeem", None),
        Transaction::Mint(_) => ("mint", None),
    };
    let credited = credit.as_ref().map(|credit| credit.outcome == CreditOutcome::Applied);
    let proof = json!({
        "txid": facts.txid.to_string(),
        "kind": kind,
        "outcome": if applied { "applied" } else { "short_balance" },
        "sender": transaction.debit().map(|(key, _)| address(key)),
        "recipient": transaction.recipient().map(address),
        "amount": transaction.amount().to_string(),
        "reference": reference,
        "committee": file.committee.index(),
        "height": facts.height.get(),
        "ledger_time_us": facts.ledger_time.micros(),
        "credit_needed_from": facts.credited_by.map(|committee| committee.index()),
        "credited": credited,
    });
    Ok((proof, applied))
}
