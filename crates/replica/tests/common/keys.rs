//! Keys whose signatures are hashes: cheap, and forgeable by anybody who wants to.

use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, SignedItem, Signer, sha256, shard_of, transaction_message};
use shardpay_types::{
    Amount, ChainId, CommitteeId, DepositRef, Mint, Payment, Plan, PublicKey, Reference, Sequence, Signature,
    SignedMint, SignedPayment, Timestamp, Transaction,
};

/// Signs with a hash of the public key and the message.
#[derive(Debug, Clone, Copy)]
pub struct FakeKey(pub PublicKey);

impl FakeKey {
    pub fn numbered(kind: u8, number: u64) -> Self {
        Self(PublicKey(sha256(&[b"key", &[kind], &number.to_le_bytes()])))
    }
}

fn sign(key: &PublicKey, message: &[u8]) -> Signature {
    let half = sha256(&[b"fake", &key.0, message]);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&half);
    signature[32..].copy_from_slice(&half);
    Signature(signature)
}

impl Signer for FakeKey {
    fn public_key(&self) -> PublicKey {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Signature {
        sign(&self.0, message)
    }
}

struct FakeScheme;

impl SignatureScheme for FakeScheme {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        sign(key, message) == *signature
    }
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        items.iter().map(|item| self.verify(&item.key, item.message, &item.signature)).collect()
    }
    fn key_acceptable(&self, _: &PublicKey) -> bool {
        true
    }
}

pub fn fake_scheme() -> Arc<dyn SignatureScheme> {
    Arc::new(FakeScheme)
}

/// A user: a key in a committee of choice and the next sequence to use.
#[derive(Debug, Clone, Copy)]
pub struct Wallet {
    pub key: FakeKey,
    pub next: u64,
}

impl Wallet {
    /// The `number`-th wallet whose account `committee` owns.
    pub fn of(plan: &Plan, committee: usize, number: u64) -> Self {
        let committee = CommitteeId::at(committee);
        let owned = |key: &FakeKey| plan.owner(shard_of(&key.0)) == committee;
        let key = (0..).map(|n| FakeKey::numbered(9, number * 1_000 + n)).find(owned).expect("some key fits");
        Self { key, next: 0 }
    }

    pub fn public(&self) -> PublicKey {
        self.key.0
    }

    /// A signed payment of the next sequence.
    pub fn pay(&mut self, chain: &ChainId, to: PublicKey, micros: u64) -> Transaction {
        let sequence = self.next;
        self.next += 1;
        self.pay_at(chain, to, micros, (sequence, Timestamp::ZERO))
    }

    /// A signed payment of a sequence of choice, with its last ledger time.
    pub fn pay_at(&self, chain: &ChainId, to: PublicKey, micros: u64, at: (u64, Timestamp)) -> Transaction {
        let body = Payment {
            sender: self.public(),
            recipient: to,
            amount: Amount::from_micros(micros),
            sequence: Sequence::new(at.0),
            valid_until: at.1,
            reference: Reference([7; 16]),
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature([0; 64]) });
        let signature = self.key.sign(&transaction_message(chain, &unsigned));
        Transaction::Payment(SignedPayment { body, signature })
    }
}

/// The issuer named in every test genesis.
pub fn issuer() -> FakeKey {
    FakeKey::numbered(2, 0)
}

/// A mint for `to`, executed by the committee `by`.
pub fn mint(plan: &Plan, chain: &ChainId, by: usize, to: PublicKey, what: (u64, u64)) -> Transaction {
    let (number, micros) = what;
    let committee = CommitteeId::at(by);
    let deposits = (0u64..).map(|n| DepositRef(sha256(&[b"deposit", &number.to_le_bytes(), &n.to_le_bytes()])));
    let owned = |deposit: &DepositRef| plan.owner(shardpay_crypto::shard_of_deposit(deposit)) == committee;
    let mut fitting = deposits.filter(owned);
    let deposit_ref = fitting.next().expect("some deposit fits");
    let body = Mint { recipient: to, amount: Amount::from_micros(micros), deposit_ref };
    let unsigned = Transaction::Mint(SignedMint { body, signature: Signature([0; 64]) });
    let signature = issuer().sign(&transaction_message(chain, &unsigned));
    Transaction::Mint(SignedMint { body, signature })
}
