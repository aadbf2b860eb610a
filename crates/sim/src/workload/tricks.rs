//! What badly behaved, unlucky or careless clients do.

use std::time::Duration;

use shardpay_crypto::{shard_of_deposit, transaction_message};
use shardpay_types::{Amount, DepositRef, MICROS_PER_COIN, Mint, Signature, Timestamp, Transaction};

use super::{Submission, Terms, Workload};
use crate::checkers::Books;
use crate::engine::Instant;

#[derive(Debug, Clone, Copy)]
enum Trick {
    Gap,
    TooFar,
    Replay,
    ReplayElsewhere,
    OldReplay,
    TwoContents,
    Overdraft,
    OverdraftOverTwo,
    Expired,
    ExpiresSoon,
    BrokenSignature,
    BrokenTwin,
    SignedTwice,
    WrongCommittee,
    Zero,
    WeakRecipient,
    PaysItself,
    DepositTwice,
    MintWithoutIssuer,
}

const TRICKS: [Trick; 19] = [
    Trick::Gap,
    Trick::TooFar,
    Trick::Replay,
    Trick::ReplayElsewhere,
    Trick::OldReplay,
    Trick::TwoContents,
    Trick::Overdraft,
    Trick::OverdraftOverTwo,
    Trick::Expired,
    Trick::ExpiresSoon,
    Trick::BrokenSignature,
    Trick::BrokenTwin,
    Trick::SignedTwice,
    Trick::WrongCommittee,
    Trick::Zero,
    Trick::WeakRecipient,
    Trick::PaysItself,
    Trick::DepositTwice,
    Trick::MintWithoutIssuer,
];

/// The transaction with another signature.
fn signed(transaction: &Transaction, signature: Signature) -> Transaction {
    let mut changed = *transaction;
    match &mut changed {
        Transaction::Payment(tx) => tx.signature = signature,
        Transaction::Redeem(tx) => tx.signature = signature,
        Transaction::Mint(tx) => tx.signature = signature,
    }
    changed
}

/// The transaction with a signature that nobody made.
fn broken(transaction: &Transaction) -> Transaction {
    let mut signature = *transaction.signature();
    signature.0[5] ^= 1;
    signed(transaction, signature)
}

impl Workload {
    pub(super) fn trick(&mut self, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let trick = *self.stream.pick(&TRICKS);
        match trick {
            Trick::Replay | Trick::ReplayElsewhere | Trick::OldReplay => self.replay(trick, now, client, books),
            Trick::BrokenSignature | Trick::BrokenTwin | Trick::SignedTwice => self.forge(trick, now, client, books),
            Trick::Overdraft | Trick::OverdraftOverTwo | Trick::TwoContents => self.spend(trick, now, client, books),
            Trick::DepositTwice | Trick::MintWithoutIssuer => self.bad_mint(trick, now, client),
            _ => self.odd(trick, now, client, books),
        }
    }

    fn small(&mut self) -> Amount {
        Amount::from_micros(self.stream.between(1, MICROS_PER_COIN))
    }

    fn replay(&mut self, trick: Trick, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let committee = self.clients[client].committee;
        if let (Trick::OldReplay, false) = (trick, self.executed.is_empty()) {
            self.coverage.hit("client: old replay");
            let transaction = *self.stream.pick(&self.executed);
            let owner = transaction
                .debit()
                .map_or(committee, |(key, _)| self.plan.owner(shardpay_crypto::shard_of(&key)).index());
            return vec![Submission { at: now, node: self.member(owner), transaction }];
        }
        let first = self.sound(now, client, books);
        let Submission { node, transaction, .. } = first[0];
        let at = now.after(self.stream.micros(0, 400_000));
        let elsewhere = matches!(trick, Trick::ReplayElsewhere);
        self.coverage.hit(if elsewhere { "client: replay elsewhere" } else { "client: replay" });
        let node = if elsewhere { self.member(committee) } else { node };
        vec![first[0], Submission { at, node, transaction }]
    }

    fn forge(&mut self, trick: Trick, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let first = self.sound(now, client, books)[0];
        let node = self.member(self.clients[client].committee);
        let at = now.after(self.stream.micros(0, 500_000));
        match trick {
            Trick::BrokenSignature => {
                self.coverage.hit("client: broken signature");
                vec![Submission { transaction: broken(&first.transaction), ..first }, Submission { at, ..first }]
            }
            Trick::BrokenTwin => {
                self.coverage.hit("client: broken twin");
                vec![first, Submission { at, node, transaction: broken(&first.transaction) }]
            }
            _ => {
                self.coverage.hit("client: signed twice");
                let transaction = self.signed_again(client, &first.transaction);
                vec![first, Submission { at, node, transaction }]
            }
        }
    }

    /// The same bytes signed once more; only the cheap scheme gives another signature.
    fn signed_again(&mut self, client: usize, transaction: &Transaction) -> Transaction {
        let message = transaction_message(&self.chain, transaction);
        let nonce = self.stream.bits();
        signed(transaction, self.clients[client].resign(&message, nonce))
    }

    fn spend(&mut self, trick: Trick, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let committee = self.clients[client].committee;
        let balance = books.account(committee, &self.clients[client].key).balance.micros();
        let sequence = self.free_sequence(client, books);
        let (one, two) = (self.member(committee), self.member(committee));
        let (first_payee, second_payee) = (self.recipient(), self.recipient());
        let zero = Timestamp::ZERO;
        match trick {
            Trick::Overdraft => {
                self.coverage.hit("client: overdraft");
                let amount = Amount::from_micros(balance.saturating_mul(2) + 1);
                let transaction =
                    self.payment(client, sequence, Terms { recipient: first_payee, amount, valid_until: zero });
                vec![self.give(now, client, one, transaction)]
            }
            Trick::OverdraftOverTwo => {
                self.coverage.hit("client: overdraft over two members");
                let amount = Amount::from_micros((balance / 10 * 7).max(1));
                let first = self.payment(client, sequence, Terms { recipient: first_payee, amount, valid_until: zero });
                let second =
                    self.payment(client, sequence + 1, Terms { recipient: second_payee, amount, valid_until: zero });
                vec![self.give(now, client, one, first), self.give(now, client, two, second)]
            }
            _ => {
                self.coverage.hit("client: two contents for one sequence");
                let (small, large) = (self.small(), self.small());
                let first =
                    self.payment(client, sequence, Terms { recipient: first_payee, amount: small, valid_until: zero });
                let second =
                    self.payment(client, sequence, Terms { recipient: second_payee, amount: large, valid_until: zero });
                let first = self.give(now, client, one, first);
                vec![first, self.give(now, client, two, second)]
            }
        }
    }

    fn bad_mint(&mut self, trick: Trick, now: Instant, client: usize) -> Vec<Submission> {
        let deposit_ref = DepositRef(self.stream.bytes());
        let committee = self.plan.owner(shard_of_deposit(&deposit_ref)).index();
        let (recipient, amount) = (self.clients[client].key, self.small());
        let transaction = self.mint(Mint { recipient, amount, deposit_ref });
        let (one, two) = (self.member(committee), self.member(committee));
        if let Trick::MintWithoutIssuer = trick {
            self.coverage.hit("client: mint without issuer");
            return vec![Submission { at: now, node: one, transaction: broken(&transaction) }];
        }
        self.coverage.hit("client: deposit twice");
        let recipient = self.recipient();
        let again = self.mint(Mint { recipient, amount, deposit_ref });
        self.track(now, committee, None, transaction);
        self.track(now, committee, None, again);
        let at = now.after(self.stream.micros(0, 300_000));
        vec![Submission { at: now, node: one, transaction }, Submission { at, node: two, transaction: again }]
    }

    fn odd(&mut self, trick: Trick, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let committee = self.clients[client].committee;
        let free = self.free_sequence(client, books);
        let own = self.clients[client].key;
        let (mut recipient, mut amount) = (self.recipient(), self.small());
        let (mut sequence, mut valid_until, mut target) = (free, Timestamp::ZERO, committee);
        let name = match trick {
            Trick::Gap => {
                sequence += self.stream.between(1, 3);
                "client: gap"
            }
            Trick::TooFar => {
                sequence += self.stream.between(300, 100_000);
                "client: too far ahead"
            }
            Trick::Expired => {
                valid_until = Timestamp::from_micros(1 + now.0 / 2);
                "client: expired"
            }
            Trick::ExpiresSoon => {
                // Clocks of nodes run one second ahead of virtual time, at least.
                let wait = Duration::from_secs(1) + self.stream.micros(0, 2_000_000);
                valid_until = Timestamp::from_micros(now.after(wait).0);
                "client: expires soon"
            }
            Trick::WrongCommittee => {
                target = self.stream.index(self.topology.committees());
                if target == committee { "client: payment" } else { "client: wrong committee" }
            }
            Trick::Zero => {
                amount = Amount::ZERO;
                "client: amount zero"
            }
            Trick::WeakRecipient => {
                recipient = self.weak;
                "client: weak recipient"
            }
            _ => {
                recipient = own;
                "client: pays itself"
            }
        };
        self.coverage.hit(name);
        let transaction = self.payment(client, sequence, Terms { recipient, amount, valid_until });
        let node = self.member(target);
        if sequence >= free + 300 || target != committee {
            return vec![Submission { at: now, node, transaction }];
        }
        vec![self.give(now, client, node, transaction)]
    }
}
