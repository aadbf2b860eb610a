use shardpay_types::{Amount, DepositRef, ExecutedAt, Height, Mint, Outcome, Signature, SignedMint};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A committee of four and what was sent to each member.
struct Members {
    book: Book,
    now: Instant,
    /// Sent and not answered: when, and what.
    with: [Vec<(Instant, TxId)>; 4],
    next: u64,
}

impl Members {
    fn new() -> Self {
        let now = Instant::now();
        let mut book = Book::new(4, SubmitOptions::default(), 7);
        (0..4).for_each(|slot| book.up(slot, now));
        Self { book, now, with: Default::default(), next: 0 }
    }

    /// Hands in transactions of senders that were not seen before.
    fn add(&mut self, count: usize) {
        let mut transactions = Vec::new();
        for _ in 0..count {
            self.next += 1;
            let mut name = [0; 32];
            name[..8].copy_from_slice(&self.next.to_le_bytes());
            let transaction = Transaction::Mint(SignedMint {
                body: Mint {
                    recipient: PublicKey(name),
                    amount: Amount::from_micros(1),
                    deposit_ref: DepositRef(name),
                },
                signature: Signature::ZERO,
            });
            transactions.push(IdentifiedTransaction { transaction, txid: TxId(name) });
        }
        self.book.add(transactions, self.now);
    }

    /// A millisecond goes by; what is due goes out.
    fn step(&mut self) {
        self.now += MS;
        for (slot, batch) in self.book.due(self.now) {
            self.with[slot].extend(batch.into_iter().map(|txid| (self.now, txid)));
        }
    }

    /// A member answers what it has had for `latency`.
    fn answer(&mut self, slot: usize, latency: Duration) {
        let now = self.now;
        let (due, rest) = self.with[slot].drain(..).partition(|(sent, _)| now.duration_since(*sent) >= latency);
        self.with[slot] = rest;
        let due: Vec<(Instant, TxId)> = due;
        let at = ExecutedAt { height: Height::new(1), leaf: 0, outcome: Outcome::Applied };
        let results = due.iter().map(|(_, txid)| TxResult { txid: *txid, answer: TxAnswer::Executed(at) });
        let results: Vec<_> = results.collect();
        if !results.is_empty() {
            self.book.answers(slot, &results, now);
            self.book.settle(&due.into_iter().map(|(_, txid)| txid).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_a_silent_member_has_goes_to_others_soon() {
    let mut members = Members::new();
    let mut silent_at = None;
    for ms in 0..3_000_u64 {
        members.add(1);
        members.step();
        let dead = |slot| slot == 2 && ms >= 1_000;
        (0..4).filter(|slot| !dead(*slot)).for_each(|slot| members.answer(slot, 40 * MS));
        if members.book.take_silent() == [2] {
            silent_at.get_or_insert(ms);
        }
    }
    let silent_at = silent_at.expect("noticed");
    assert!((1_400..1_700).contains(&silent_at), "{silent_at}");
    let late = members.book.pending.values().filter(|pending| members.now - pending.since > 100 * MS).count();
    assert_eq!(late, 0, "everything has been answered by somebody");
    let doubted = members.with[2].len();
    assert!(doubted < 100, "{doubted}: new ones stayed away before that");
    assert_eq!(members.book.stats().resubmitted, doubted as u64, "once each");
}

#[test]
fn slow_answers_at_saturation_make_nobody_impatient() {
    let mut members = Members::new();
    for ms in 0..20_000_u64 {
        members.add(1);
        members.step();
        // blocks come every 150 ms; what they answer has waited longer and longer, up to a second
        let latency = (40 * MS + MS * (ms / 4) as u32).min(1_000 * MS);
        if ms % 150 == 0 {
            (0..4).for_each(|slot| members.answer(slot, latency));
        }
    }
    assert_eq!((members.book.stats().resubmitted, members.book.take_silent()), (0, Vec::new()));
}

#[test]
fn a_committee_slower_than_any_patience_is_not_sent_everything_again() {
    let mut members = Members::new();
    for ms in 0..40_000_u64 {
        members.add(1);
        members.step();
        // nothing for eight seconds, then what has waited for so long: twice as long as the longest patience at first
        if ms % 500 == 0 {
            (0..4).for_each(|slot| members.answer(slot, 8_000 * MS));
        }
        members.book.take_silent().into_iter().for_each(|slot| members.book.up(slot, members.now));
    }
    let stats = members.book.stats();
    assert!(stats.timeouts > 0 && stats.resubmitted < stats.submitted / 10, "{stats:?}");
}

#[test]
fn a_committee_that_stands_still_gets_more_time() {
    let mut members = Members::new();
    for ms in 0..3_300_u64 {
        if ms < 2_000 {
            members.add(1);
        }
        members.step();
        if ms < 2_000 {
            (0..4).for_each(|slot| members.answer(slot, 40 * MS));
        }
    }
    assert_eq!(members.book.stats().resubmitted, 0, "1.3 s without any answer");
}

#[test]
fn an_idle_member_is_not_silent() {
    let mut members = Members::new();
    for ms in 0..12_000_u64 {
        if ms < 100 {
            members.add(1);
        }
        members.step();
        (0..4).for_each(|slot| members.answer(slot, 20 * MS));
    }
    assert!(members.book.take_silent().is_empty());
    assert_eq!(members.book.deadline(), None, "nothing is awaited, nothing wakes");
}
