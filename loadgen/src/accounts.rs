//! The accounts of a run: keys from the seed, the committees that hold them, mints that fund them.

use rayon::prelude::*;
use shardpay_crypto::{Keypair, Signer, sha256, shard_of, shard_of_deposit, transaction_message};
use shardpay_types::{
    Amount, ChainId, CommitteeId, DepositRef, Mint, Plan, PublicKey, Signature, SignedMint, Transaction,
};

/// What each account is funded with: enough for a million payments of [`crate::workload::AMOUNT`].
pub const FUNDS: Amount = Amount::from_micros(1_000_000_000);

/// The same where amounts are those of retail payments.
pub const RETAIL_FUNDS: Amount = Amount::from_micros(1_000_000_000_000);

/// Accounts, by number.
pub struct Accounts {
    /// Signing keys.
    pub keys: Vec<Keypair>,
    /// Public keys.
    pub names: Vec<PublicKey>,
    /// Who holds each.
    pub homes: Vec<CommitteeId>,
    /// What each is funded with.
    pub funds: Amount,
}

impl Accounts {
    /// The accounts of a seed.
    pub fn new(plan: &Plan, seed: u64, count: usize) -> Self {
        let key = |number: usize| {
            let tag = b"shardpay/loadgen/account/v1\0";
            Keypair::from_seed(&sha256(&[tag, &seed.to_le_bytes(), &(number as u64).to_le_bytes()]))
        };
        let keys: Vec<Keypair> = (0..count).into_par_iter().map(key).collect();
        let names: Vec<PublicKey> = keys.par_iter().map(Signer::public_key).collect();
        let homes = names.par_iter().map(|name| plan.owner(shard_of(name))).collect();
        Self { keys, names, homes, funds: FUNDS }
    }

    /// The same accounts, each funded with so much, but not with less than [`FUNDS`].
    pub fn funded_with(self, funds: Amount) -> Self {
        Self { funds: funds.max(FUNDS), ..self }
    }

    /// Mints for some accounts, signed by the issuer; each decided by the committee of its account.
    pub fn mints(&self, plan: &Plan, chain: &ChainId, issuer: &Keypair, numbers: &[usize]) -> Vec<Transaction> {
        let mint = |number: &usize| {
            let (recipient, home) = (self.names[*number], self.homes[*number]);
            let body = Mint { recipient, amount: self.funds, deposit_ref: deposit_for(plan, chain, &recipient, home) };
            let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
            let signature = issuer.sign(&transaction_message(chain, &unsigned));
            Transaction::Mint(SignedMint { body, signature })
        };
        numbers.par_iter().map(mint).collect()
    }
}

/// The first reference, counted up, that `home` decides about: then the mint needs no other committee.
fn deposit_for(plan: &Plan, chain: &ChainId, recipient: &PublicKey, home: CommitteeId) -> DepositRef {
    let tag = b"shardpay/loadgen/deposit/v1\0";
    let refs = (0u64..).map(|n| DepositRef(sha256(&[tag, chain.as_bytes(), &recipient.0, &n.to_le_bytes()])));
    refs.into_iter().find(|deposit| plan.owner(shard_of_deposit(deposit)) == home).expect("every committee owns shards")
}
