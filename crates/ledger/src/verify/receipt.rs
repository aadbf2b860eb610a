//! Receipts: what became of a transaction at its deciding committee, or of a credit at its destination.
//!
//! The leaf is rebuilt from the receipt's fields; which accounts a transaction must have touched follows
//! from its kind, its outcome and who owns the shards, so a receipt that lists others is refused.

use shardpay_crypto::{domain, leaf_hash, txid, verify_inclusion};
use shardpay_types::{
    AccountState, Amount, Codec, CommitteeId, CreditOutcome, CreditReceipt, Epoch, ExecutedTransaction, Hash,
    HeaderHash, Height, LedgerHeader, MerklePath, MessageKind, Outcome, PublicKey, Receipt, Timestamp, Transaction,
    TxId,
};

use super::{EpochKeys, ProofError};

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// The transaction's id.
    pub txid: TxId,
    /// What became of it; final.
    pub outcome: Outcome,
    /// The local accounts it touched, with their state after it.
    pub accounts: Vec<(PublicKey, AccountState)>,
    /// The committee the payee's credit goes to, when it is another one: not final for the payee until a
    /// credit receipt of that committee shows it.
    pub credited_by: Option<CommitteeId>,
    /// The header.
    pub header: HeaderHash,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its height.
    pub height: Height,
    /// Its ledger time.
    pub ledger_time: Timestamp,
}

/// What a credit receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditFacts {
    /// The transaction that sent the coins.
    pub txid: TxId,
    /// The committee they came from.
    pub source: CommitteeId,
    /// Position in its log.
    pub index: u64,
    /// What the message asked for.
    pub kind: MessageKind,
    /// What became of it; final.
    pub outcome: CreditOutcome,
    /// How many coins.
    pub amount: Amount,
    /// The account credited and its state after it, when `Applied`.
    pub account: Option<(PublicKey, AccountState)>,
    /// The header.
    pub header: HeaderHash,
    /// Its height.
    pub height: Height,
    /// Its ledger time.
    pub ledger_time: Timestamp,
}

/// Checks a receipt of the committee whose `keys` these are.
pub fn verify_receipt(keys: &EpochKeys, receipt: &Receipt) -> Result<ReceiptFacts, ProofError> {
    let (executed, header) = (&receipt.executed, &receipt.header);
    let accounts = touched(keys, executed)?;
    let txid = txid(&keys.chain, &executed.transaction);
    let mut content = domain::LEAF.to_vec();
    content.extend_from_slice(&txid.0);
    content.extend_from_slice(&executed.outcome.to_bytes());
    for (key, state) in &accounts {
        content.extend_from_slice(&key.0);
        content.extend_from_slice(&state.balance.micros().to_le_bytes());
        content.extend_from_slice(&state.next_sequence.get().to_le_bytes());
    }
    stands_under(header, &leaf_hash(&content), &receipt.path)?;
    let hash = keys.sealed(header, &receipt.seal)?;
    let payee = executed.transaction.recipient().map(|payee| keys.holder(&payee));
    let elsewhere = payee.filter(|owner| executed.outcome == Outcome::Applied && *owner != keys.committee);
    Ok(ReceiptFacts {
        txid,
        outcome: executed.outcome,
        accounts,
        credited_by: elsewhere,
        header: hash,
        epoch: header.epoch,
        height: header.height,
        ledger_time: header.ledger_time,
    })
}

/// The accounts that a transaction with this outcome touches at its deciding committee, with the states the
/// receipt lists.
fn touched(keys: &EpochKeys, executed: &ExecutedTransaction) -> Result<Vec<(PublicKey, AccountState)>, ProofError> {
    let applied = executed.outcome == Outcome::Applied;
    let local = |key: &PublicKey| keys.holder(key) == keys.committee;
    let (decides, expected) = match &executed.transaction {
        Transaction::Payment(tx) => {
            let (from, to) = (tx.body.sender, tx.body.recipient);
            let both = applied && to != from && local(&to);
            (local(&from), if both { vec![from, to] } else { vec![from] })
        }
        Transaction::Redeem(tx) => (local(&tx.body.sender), vec![tx.body.sender]),
        Transaction::Mint(tx) => {
            if !applied {
                return Err(ProofError::Malformed("a mint has no balance to be short of"));
            }
            let to = tx.body.recipient;
            let decides = keys.rememberer(&tx.body.deposit_ref) == keys.committee;
            (decides, if local(&to) { vec![to] } else { Vec::new() })
        }
    };
    if !decides {
        return Err(ProofError::WrongShard);
    }
    if expected.len() != executed.accounts.len() {
        return Err(ProofError::Malformed("not the accounts the transaction touches"));
    }
    Ok(expected.into_iter().zip(executed.accounts.iter().copied()).collect())
}

/// Checks a credit receipt of the destination whose `keys` these are.
pub fn verify_credit_receipt(keys: &EpochKeys, receipt: &CreditReceipt) -> Result<CreditFacts, ProofError> {
    let (message, executed, header) = (&receipt.message, &receipt.executed, &receipt.header);
    if receipt.source == keys.committee || receipt.source.index() >= keys.shard_starts.len() {
        return Err(ProofError::WrongCommittee);
    }
    let payee = match message.kind {
        MessageKind::Credit | MessageKind::MintCredit => message.payee,
        MessageKind::Return => message.payer,
    };
    let possible = match executed.outcome {
        CreditOutcome::Applied => executed.account.is_some(),
        CreditOutcome::Returned => executed.account.is_none() && message.kind == MessageKind::Credit,
        CreditOutcome::Suspended => executed.account.is_none() && message.kind != MessageKind::Credit,
    };
    if !possible {
        return Err(ProofError::Malformed("outcome, kind and account do not fit"));
    }
    if executed.account.is_some() && keys.holder(&payee) != keys.committee {
        return Err(ProofError::WrongShard);
    }
    let tag = if message.kind == MessageKind::Return { domain::RETURN_LEAF } else { domain::CREDIT_LEAF };
    let mut content = tag.to_vec();
    content.extend_from_slice(&(receipt.source.index() as u16).to_le_bytes());
    content.extend_from_slice(&receipt.index.to_le_bytes());
    content.extend_from_slice(&message.to_bytes());
    content.extend_from_slice(&executed.outcome.to_bytes());
    content.extend_from_slice(&executed.account.to_bytes());
    stands_under(header, &leaf_hash(&content), &receipt.path)?;
    let hash = keys.sealed(header, &receipt.seal)?;
    Ok(CreditFacts {
        txid: message.txid,
        source: receipt.source,
        index: receipt.index,
        kind: message.kind,
        outcome: executed.outcome,
        amount: message.amount,
        account: executed.account.map(|state| (payee, state)),
        header: hash,
        height: header.height,
        ledger_time: header.ledger_time,
    })
}

fn stands_under(header: &LedgerHeader, leaf: &Hash, path: &MerklePath) -> Result<(), ProofError> {
    let counts = path.count == u64::from(header.leaf_count);
    if counts && verify_inclusion(&header.leaves, leaf, path) { Ok(()) } else { Err(ProofError::BadPath) }
}
