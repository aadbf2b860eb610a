//! Kill −9 between any two steps of buying and cashing out: a fuse makes the store and both gateways fail from a
//! chosen call on, before or after the call took effect; the process' state is dropped, the database opened
//! again, and the workflows go on. Gateway, bank and ledger live on and keep their own books, by which is judged:
//! no double mint, no double payout, no lost charge.
//!
//! Every crash point up to the end of an undisturbed run is tried, alone; a property draws sequences of them.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::fake::{Fake, ISSUER};
use common::{database, pair_in};
use proptest::prelude::*;
use shardpay_crypto::{IdentifiedTransaction, Keypair, Signer as _, transaction_message};
use shardpay_service::app::{App, Parts, Settings};
use shardpay_service::buy::card::{Card, CardInput};
use shardpay_service::buy::gateway::{CardGateway, ChargeOutcome, GatewayError, NOT_CHARGED};
use shardpay_service::buy::{NewPurchase, Purchases};
use shardpay_service::cash_out::bank::{BankError, BankGateway, PayoutOrder, PayoutStatus};
use shardpay_service::cash_out::iban::Iban;
use shardpay_service::cash_out::{CashOuts, payout_ref};
use shardpay_service::clock::Clock;
use shardpay_service::codec::Purpose;
use shardpay_service::db::{Db, Fuse, StoreError};
use shardpay_service::issuer::Issuer;
use shardpay_service::ledger::port::Later;
use shardpay_service::ledger::{Ledger, load_view};
use shardpay_service::payments;
use shardpay_service::server::follower;
use shardpay_telemetry::{Recorder, ServerKind, ServerTag};
use shardpay_types::{Amount, Codec as _, Redeem, Sequence, Signature, SignedRedeem, Timestamp, Transaction};

/// A call budget that no run uses up.
const ENOUGH: i64 = 1_000_000;
const CENTS: u64 = 2_500;
const PURCHASE: &str = "00000000000000000000000000000001";

/// What a gateway does beside working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    LosesAnswers,
    Refuses,
}

/// Charges cards and pays out; outlives the service.
struct Outside {
    mood: Mood,
    fuse: Mutex<Arc<Fuse>>,
    charges: Mutex<HashMap<String, (u64, &'static str)>>,
    payouts: Mutex<HashMap<String, (u64, bool)>>,
    lost: Mutex<bool>,
}

impl Outside {
    fn new(mood: Mood) -> Arc<Self> {
        let fuse = Mutex::new(Fuse::after(ENOUGH));
        Arc::new(Self { mood, fuse, charges: Mutex::default(), payouts: Mutex::default(), lost: Mutex::new(false) })
    }

    /// A call: the process may die before it takes effect, or after.
    fn burn(&self) -> Result<(), GatewayError> {
        self.fuse.lock().unwrap().burn().map_err(|error| GatewayError(error.to_string()))
    }

    fn outcome(&self, key: &str) -> ChargeOutcome {
        match self.charges.lock().unwrap().get(key) {
            Some((_, "captured" | "refunded")) => ChargeOutcome::Captured { charge_id: format!("ch_{key}") },
            _ => ChargeOutcome::Declined(NOT_CHARGED),
        }
    }

    fn captured(&self) -> u64 {
        let charges = self.charges.lock().unwrap();
        charges.values().filter(|(_, state)| *state == "captured").map(|(cents, _)| cents * 10_000).sum()
    }

    fn paid(&self) -> u64 {
        let payouts = self.payouts.lock().unwrap();
        payouts.values().filter(|(_, paid)| *paid).map(|(cents, _)| cents * 10_000).sum()
    }
}

impl CardGateway for Outside {
    fn charge<'a>(&'a self, key: &'a str, cents: u64, _: &'a Card) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            self.charges.lock().unwrap().entry(key.to_owned()).or_insert((cents, "captured"));
            self.burn()?;
            let mut lost = self.lost.lock().unwrap();
            if self.mood == Mood::LosesAnswers && !std::mem::replace(&mut *lost, true) {
                return Err(GatewayError("lost".to_owned()));
            }
            Ok(self.outcome(key))
        })
    }

    fn answer<'a>(&'a self, key: &'a str, _: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move { Ok(self.outcome(key)) })
    }

    fn settle<'a>(&'a self, key: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            self.charges.lock().unwrap().entry(key.to_owned()).or_insert((0, "forbidden"));
            self.burn()?;
            Ok(self.outcome(key))
        })
    }

    fn refund<'a>(&'a self, key: &'a str) -> Later<'a, Result<(), GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            if let Some((_, state)) = self.charges.lock().unwrap().get_mut(key) {
                *state = "refunded";
            }
            self.burn()
        })
    }
}

impl BankGateway for Outside {
    fn pay<'a>(&'a self, order: PayoutOrder<'a>) -> Later<'a, Result<PayoutStatus, BankError>> {
        Box::pin(async move {
            let died = |error: GatewayError| BankError(error.0);
            self.burn().map_err(died)?;
            let good = self.mood != Mood::Refuses;
            let known = self.payouts.lock().unwrap().entry(order.key.to_owned()).or_insert((order.cents, good)).1;
            self.burn().map_err(died)?;
            Ok(if known { PayoutStatus::Paid } else { PayoutStatus::Rejected { reason: "AC04".to_owned() } })
        })
    }
}

/// Everything that a kill leaves.
struct World {
    dir: tempfile::TempDir,
    url: tokio::sync::OnceCell<String>,
    ledger: Arc<Fake>,
    outside: Arc<Outside>,
    clock: Clock,
    user: Keypair,
    mint_limit: u64,
}

/// A process: dies with its fuse.
struct Process {
    app: Arc<App>,
    purchases: Purchases,
    cash_outs: CashOuts,
    fuse: Arc<Fuse>,
}

impl World {
    fn new(mood: Mood, mint_limit: u64) -> Self {
        let ledger = Arc::new(Fake::default());
        let user = pair_in(ledger.genesis(), 0, "user");
        let clock = Clock::standing(1_800_000_000_000_000);
        Self {
            url: tokio::sync::OnceCell::new(),
            dir: tempfile::tempdir().unwrap(),
            ledger,
            outside: Outside::new(mood),
            clock,
            user,
            mint_limit,
        }
    }

    async fn process(&self, calls: i64) -> Result<Process, StoreError> {
        let fuse = Fuse::after(calls);
        *self.outside.fuse.lock().unwrap() = fuse.clone();
        let url = self.url.get_or_init(|| database(self.dir.path())).await;
        let db = Db::open(url).await?;
        let view = Arc::new(load_view(&db, 1).await?);
        let ledger: Arc<dyn Ledger> = self.ledger.clone();
        let chain = *ledger.chain();
        let settings = Settings { mint_limit: self.mint_limit, ..Settings::default() };
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, "test"));
        let (issuer, clock) = (Issuer::from_seed(&ISSUER, chain), self.clock.clone());
        let parts = Parts { db: db.with_fuse(fuse.clone()), clock, ledger, view, issuer, settings, recorder };
        let app = App::new(parts);
        let purchases = Purchases { gateway: self.outside.clone(), ..app.purchases.clone() };
        let cash_outs = CashOuts { bank: self.outside.clone(), ..app.cash_outs.clone() };
        Ok(Process { app, purchases, cash_outs, fuse })
    }
}

fn card() -> Card {
    let input = r#"{"number":"4242424242424242","expiry":"12/40","cvc":"123","holder":"A"}"#;
    let input: CardInput = serde_json::from_str(input).unwrap();
    input.check(1_800_000_000_000_000).unwrap()
}

fn redeem(world: &World) -> IdentifiedTransaction {
    let chain = world.ledger.chain();
    let body = Redeem {
        sender: world.user.public_key(),
        amount: Amount::from_micros(CENTS * 10_000),
        sequence: Sequence::ZERO,
        valid_until: Timestamp::ZERO,
        payout_ref: payout_ref(&[1; 16], "DE89370400440532013000", "A"),
    };
    let unsigned = Transaction::Redeem(SignedRedeem { body, signature: Signature::ZERO });
    let signature = world.user.sign(&transaction_message(chain, &unsigned));
    IdentifiedTransaction::new(chain, Transaction::Redeem(SignedRedeem { body, signature }))
}

impl Process {
    /// What a life of the service does: the user asks (again), then everything goes on until nothing changes.
    async fn live(&self, world: &World, sell: bool) -> Result<(), StoreError> {
        self.app.track(world.user.public_key()).await.map_err(|_| StoreError::Blown)?;
        let amount = Amount::from_micros(CENTS * 10_000);
        let new = NewPurchase { id: PURCHASE, user: "u", recipient: world.user.public_key(), amount };
        self.purchases.begin(new, &card()).await?;
        self.settle_down(world).await?;
        if sell && world.ledger.account(&world.user.public_key()).balance >= amount {
            self.sell(world).await?;
        }
        self.settle_down(world).await
    }

    async fn sell(&self, world: &World) -> Result<(), StoreError> {
        let signed = redeem(world);
        let txid = signed.txid.to_string();
        let iban = Iban::parse("DE89370400440532013000").unwrap();
        let sender = world.user.public_key().to_string();
        let amount = signed.transaction.amount();
        let new = shardpay_service::cash_out::NewCashOut { user: "u", sender, amount, iban: &iban, holder: "A" };
        let mut tx = self.app.db.begin().await?;
        self.cash_outs.enter(&mut tx, &txid, &new).await?;
        payments::enter(&self.app, &mut tx, "u", &signed, Some((Purpose::CashOut, &txid))).await?;
        tx.commit().await
    }

    async fn settle_down(&self, world: &World) -> Result<(), StoreError> {
        let follower = follower(&self.app);
        for _ in 0..8 {
            // whatever waits for an answer or a retry is due by then
            world.clock.advance(60_000_000);
            self.purchases.advance_due().await?;
            self.cash_outs.advance_due().await?;
            follower.sweep().await?;
            let known = self.app.view.tip(shardpay_types::CommitteeId::at(0)).height;
            for event in world.ledger.blocks_above(known) {
                follower.handle(event).await?;
            }
        }
        Ok(())
    }
}

/// Lives that die after so many calls each, then one that does not. Gives the calls of the last life.
async fn run(world: &World, sell: bool, lives: &[i64]) -> i64 {
    for calls in lives {
        let process = world.process(*calls).await.unwrap();
        let lived = process.live(world, sell).await;
        assert!(lived.is_ok() || process.fuse.blown(), "dies of the fuse only: {lived:?}");
        process.app.db.close().await;
    }
    let process = world.process(ENOUGH).await.unwrap();
    process.live(world, sell).await.unwrap();
    let used = process.fuse.used(ENOUGH);
    check(world, &process, sell).await;
    process.app.db.close().await;
    used
}

/// Judged by the books of gateway, bank and ledger.
async fn check(world: &World, process: &Process, sell: bool) {
    let (minted, burned, deposits) = world.ledger.sums();
    let (captured, paid) = (world.outside.captured(), world.outside.paid());
    let purchase = process.purchases.get("u", PURCHASE).await.unwrap().unwrap();
    assert!(purchase.is_final, "{purchase:?}");
    let given_back = if world.outside.mood == Mood::Refuses { burned } else { 0 };
    assert_eq!(minted, captured + given_back, "one mint per captured charge, one per refused payout: {purchase:?}");
    assert_eq!(paid, burned - given_back, "paid out once what was redeemed");
    assert_eq!(purchase.state == "done", captured > 0, "{purchase:?}");
    assert!(deposits <= 2);
    if sell && captured > 0 {
        let cash_out = process.cash_outs.get("u", &redeem(world).txid.to_string()).await.unwrap().unwrap();
        let wanted = if world.outside.mood == Mood::Refuses { "returned" } else { "paid" };
        assert_eq!(cash_out.state, wanted);
        assert_eq!(burned, CENTS * 10_000);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn every_single_crash_point() {
    for mood in [Mood::Works, Mood::LosesAnswers, Mood::Refuses] {
        block_on(async {
            let calls = run(&World::new(mood, u64::MAX >> 1), true, &[]).await;
            assert!(calls > 30, "{mood:?}: {calls} calls");
            for crash in 0..calls {
                run(&World::new(mood, u64::MAX >> 1), true, &[crash]).await;
            }
        });
    }
}

#[test]
fn every_crash_point_of_a_refund() {
    block_on(async {
        let small = CENTS * 10_000 - 1;
        let calls = run(&World::new(Mood::Works, small), false, &[]).await;
        for crash in 0..calls {
            let world = World::new(Mood::Works, small);
            run(&world, false, &[crash]).await;
            assert_eq!(world.ledger.sums().0, 0, "nothing is minted above the limit");
            assert_eq!(world.outside.captured(), 0, "the money went back");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_crashes(lives in prop::collection::vec(0i64..120, 1..6), mood in 0usize..3) {
        let mood = [Mood::Works, Mood::LosesAnswers, Mood::Refuses][mood];
        block_on(async { run(&World::new(mood, u64::MAX >> 1), true, &lives).await });
    }
}

#[test]
fn the_judge_notices_a_double_mint() {
    let world = World::new(Mood::Works, u64::MAX >> 1);
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        block_on(async {
            let issuer = Issuer::from_seed(&ISSUER, *world.ledger.chain());
            let amount = Amount::from_micros(CENTS * 10_000);
            world.ledger.submit(issuer.purchase(world.user.public_key(), amount, PURCHASE, "another charge"));
            run(&world, false, &[]).await;
        });
    }));
    assert!(judged.is_err());
    assert!(redeem(&world).transaction.to_bytes().len() == 153);
}
