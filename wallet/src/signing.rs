//! What the wallet signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shardpay_crypto::{Keypair, Signer, transaction_message};
use shardpay_types::{
    Amount, ChainId, Payment, PayoutRef, PublicKey, Redeem, Reference, Sequence, Signature, SignedPayment,
    SignedRedeem, Timestamp, Transaction,
};

/// How long a signed transaction may still be executed, by ledger time.
const VALID_FOR: Duration = Duration::from_secs(600);

/// Where the account stands on the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) chain: ChainId,
    pub(crate) sequence: Sequence,
}

/// Whom, how much, what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) recipient: PublicKey,
    pub(crate) amount: Amount,
    pub(crate) reference: Reference,
}

pub(crate) fn payment(keypair: &Keypair, position: Position, order: Order) -> Transaction {
    let Order { recipient, amount, reference } = order;
    let (sender, sequence) = (keypair.public_key(), position.sequence);
    let body = Payment { sender, recipient, amount, sequence, valid_until: valid_until(), reference };
    signed(keypair, &position.chain, Transaction::Payment(SignedPayment { body, signature: Signature::ZERO }))
}

pub(crate) fn redeem(keypair: &Keypair, position: Position, amount: Amount, payout_ref: PayoutRef) -> Transaction {
    let (sender, sequence) = (keypair.public_key(), position.sequence);
    let body = Redeem { sender, amount, sequence, valid_until: valid_until(), payout_ref };
    signed(keypair, &position.chain, Transaction::Redeem(SignedRedeem { body, signature: Signature::ZERO }))
}

fn signed(keypair: &Keypair, chain: &ChainId, unsigned: Transaction) -> Transaction {
    let signature = keypair.sign(&transaction_message(chain, &unsigned));
    match unsigned {
        Transaction::Payment(tx) => Transaction::Payment(SignedPayment { signature, ..tx }),
        Transaction::Redeem(tx) => Transaction::Redeem(SignedRedeem { signature, ..tx }),
        Transaction::Mint(_) => unreachable!("only the issuer signs mints"),
    }
}

fn valid_until() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + VALID_FOR;
    Timestamp::from_micros(u64::try_from(now.as_micros()).unwrap_or(0))
}
