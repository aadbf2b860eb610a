//! Kill −9 between any two steps of buying and cashing out, from the request on: a fuse makes the store and both
//! gateways fail from a chosen call on, before or after the call took effect; the process' state is dropped, the
//! database opened again, the user asks again with the same key, and the workflows go on. Gateway, bank and ledger
//! live on and keep their own books, by which is judged: no double mint, no double payout, no lost charge.
//!
//! Every crash point up to the end of an undisturbed run is tried, alone; a property draws sequences of them.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use common::fake::{Fake, ISSUER};
use common::{cash_out, database, pair_in};
use proptest::prelude::*;
use serde_json::{Value, json};
use shardpay_crypto::{Keypair, Signer as _};
use shardpay_service::api;
use shardpay_service::app::{App, Euros, Parts, Settings};
use shardpay_service::buy::card::Card;
use shardpay_service::buy::gateway::{CardGateway, ChargeOutcome, GatewayError, NOT_CHARGED};
use shardpay_service::cash_out::bank::{BankError, BankGateway, PayoutOrder, PayoutStatus};
use shardpay_service::clock::Clock;
use shardpay_service::db::{Db, Fuse, StoreError};
use shardpay_service::issuer::Issuer;
use shardpay_service::ledger::port::Later;
use shardpay_service::ledger::{Ledger, load_view};
use shardpay_service::merchant::webhooks::sign;
use shardpay_service::server::follower;
use shardpay_telemetry::{Recorder, ServerKind, ServerTag};
use shardpay_types::{Amount, CommitteeId, PublicKey};
use tower::ServiceExt as _;

/// A call budget that no run uses up.
const ENOUGH: i64 = 1_000_000;
const CENTS: u64 = 2_500;
const IBAN: &str = "DE89370400440532013000";
const GATEWAY_SECRET: &str = "what the gateway signs with";

/// What a gateway does beside working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Works,
    /// The answer to a charge is lost; what became of it can be asked.
    LosesAnswers,
    /// Answers are lost, nothing can be asked: only the gateway's events tell, each twice.
    OnlyTells,
    /// The card's holder is asked for a code.
    Challenges,
    /// The bank pays nothing.
    Refuses,
}

const MOODS: [Mood; 5] = [Mood::Works, Mood::LosesAnswers, Mood::OnlyTells, Mood::Challenges, Mood::Refuses];

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
            Some((_, "captured" | "refunded")) => ChargeOutcome::Captured { charge_id: charge_id(key) },
            Some((_, "challenge")) => ChargeOutcome::Challenge { prompt: "the code?".to_owned() },
            _ => ChargeOutcome::Declined(NOT_CHARGED),
        }
    }

    /// The events it has sent so far, as bodies.
    fn events(&self) -> Vec<String> {
        let charges = self.charges.lock().unwrap();
        let captured = charges.iter().filter(|(_, (_, state))| *state == "captured");
        let event = |key: &String| json!({ "id": format!("evt_{key}"), "type": "charge.captured", "key": key, "charge_id": charge_id(key) });
        captured.map(|(key, _)| event(key).to_string()).collect()
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

fn charge_id(key: &str) -> String {
    format!("ch_{key}")
}

impl CardGateway for Outside {
    fn charge<'a>(&'a self, key: &'a str, cents: u64, _: &'a Card) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            let state = if self.mood == Mood::Challenges { "challenge" } else { "captured" };
            self.charges.lock().unwrap().entry(key.to_owned()).or_insert((cents, state));
            self.burn()?;
            if self.mood == Mood::OnlyTells {
                return Err(GatewayError("lost".to_owned()));
            }
            let mut lost = self.lost.lock().unwrap();
            if self.mood == Mood::LosesAnswers && !std::mem::replace(&mut *lost, true) {
                return Err(GatewayError("lost".to_owned()));
            }
            Ok(self.outcome(key))
        })
    }

    fn answer<'a>(&'a self, key: &'a str, _: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            if let Some((_, state @ "challenge")) = self.charges.lock().unwrap().get_mut(key) {
                *state = "captured";
            }
            self.burn()?;
            Ok(self.outcome(key))
        })
    }

    fn settle<'a>(&'a self, key: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.burn()?;
            if self.mood == Mood::OnlyTells {
                return Err(GatewayError("nobody answers".to_owned()));
            }
            let mut charges = self.charges.lock().unwrap();
            let charge = charges.entry(key.to_owned()).or_insert((0, "forbidden"));
            if charge.1 == "challenge" {
                charge.1 = "forbidden";
            }
            drop(charges);
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
    /// Database, and the user's id and token.
    home: tokio::sync::OnceCell<(String, String, String)>,
    ledger: Arc<Fake>,
    outside: Arc<Outside>,
    clock: Clock,
    user: Keypair,
    mint_limit: u64,
}

/// A process: dies with its fuse.
struct Process {
    app: Arc<App>,
    router: Router,
    token: String,
    fuse: Arc<Fuse>,
}

impl World {
    fn new(mood: Mood, mint_limit: u64) -> Self {
        let ledger = Arc::new(Fake::default());
        let user = pair_in(ledger.genesis(), 0, "user");
        // thousands of databases, none of which outlives a loss of power
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self {
            dir: dir.unwrap(),
            home: tokio::sync::OnceCell::new(),
            ledger,
            outside: Outside::new(mood),
            clock: Clock::standing(1_800_000_000_000_000),
            user,
            mint_limit,
        }
    }

    /// Makes the database and, in it, a user with a wallet.
    async fn settle_in(&self) -> (String, String, String) {
        let url = database(self.dir.path()).await;
        let app = self.app(Db::open(&url).await.unwrap(), Fuse::after(ENOUGH)).await.unwrap();
        let id = app.users.create("user", "no password").await.unwrap().id;
        app.track(self.user.public_key()).await.unwrap();
        app.users.set_key(&id, &self.user.public_key()).await.unwrap();
        let token = app.sessions.begin(&id, false).await.unwrap().token;
        app.db.close().await;
        (url, id, token)
    }

    async fn app(&self, db: Db, fuse: Arc<Fuse>) -> Result<Arc<App>, StoreError> {
        let view = Arc::new(load_view(&db, 1).await?);
        let db = db.with_fuse(fuse);
        let ledger: Arc<dyn Ledger> = self.ledger.clone();
        let gateway_secret = GATEWAY_SECRET.to_owned();
        let settings = Settings { mint_limit: self.mint_limit, gateway_secret, ..Settings::default() };
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, "test"));
        let (issuer, clock) = (Issuer::from_seed(&ISSUER, *ledger.chain()), self.clock.clone());
        let euros = Euros { cards: self.outside.clone(), bank: self.outside.clone() };
        Ok(App::new(Parts { db, clock, ledger, view, issuer, euros, settings, recorder }))
    }

    async fn process(&self, calls: i64) -> Result<Process, StoreError> {
        let (url, _, token) = self.home.get_or_init(|| self.settle_in()).await;
        let fuse = Fuse::after(calls);
        *self.outside.fuse.lock().unwrap() = fuse.clone();
        let app = self.app(Db::open(url).await?, fuse.clone()).await?;
        // starting again takes a while
        self.clock.advance(10_000_000);
        Ok(Process { router: api::router(app.clone()), app, token: token.clone(), fuse })
    }

    fn key(&self) -> PublicKey {
        self.user.public_key()
    }

    fn redeem(&self) -> Value {
        cash_out(self.ledger.chain(), &self.user, (CENTS * 10_000, 0), IBAN)
    }
}

impl Process {
    /// A request with its idempotency key: the answer, unless the process died over it.
    async fn ask(&self, key: &str, path: &str, body: &Value) -> Result<Value, StoreError> {
        let request = Request::post(path).header("Authorization", format!("Bearer {}", self.token));
        let request = request.header("Idempotency-Key", key).header("Content-Type", "application/json");
        let answer = self.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        let status = answer.status();
        if self.fuse.blown() {
            return Err(StoreError::Blown);
        }
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap())
    }

    /// The gateway tells what it did, twice.
    async fn events(&self, world: &World) -> Result<(), StoreError> {
        for body in world.outside.events().iter().flat_map(|body| [body, body]) {
            let signature = sign(GATEWAY_SECRET, world.clock.now_us() / 1_000_000, body);
            let request = Request::post("/v1/gateway/card-events").header("Gateway-Signature", signature);
            let answer = self.router.clone().oneshot(request.body(Body::from(body.clone())).unwrap()).await.unwrap();
            if self.fuse.blown() {
                return Err(StoreError::Blown);
            }
            assert_eq!(answer.status(), 204);
        }
        Ok(())
    }

    /// What a life of the service does: the user asks (again), then everything goes on until nothing changes.
    async fn live(&self, world: &World, sell: bool) -> Result<(), StoreError> {
        let card = json!({ "number": "4242424242424242", "expiry": "12/40", "cvc": "123", "holder": "A" });
        let purchase = self.ask("buy", "/v1/purchases", &json!({ "amount": "25.00", "card": card })).await?;
        if world.outside.mood == Mood::OnlyTells {
            self.events(world).await?;
        }
        let (_, user, _) = world.home.get().expect("settled in");
        let id = purchase["id"].as_str().unwrap();
        if self.app.purchases.get(user, id).await?.is_some_and(|purchase| purchase.state == "challenge") {
            let path = format!("/v1/purchases/{id}/challenge");
            self.ask("answer", &path, &json!({ "code": "123456" })).await?;
        }
        self.settle_down(world).await?;
        if sell && world.ledger.account(&world.key()).balance >= Amount::from_micros(CENTS * 10_000) {
            self.ask("sell", "/v1/cash-outs", &world.redeem()).await?;
        }
        self.settle_down(world).await
    }

    async fn settle_down(&self, world: &World) -> Result<(), StoreError> {
        let follower = follower(&self.app);
        for _ in 0..4 {
            // whatever waits for an answer or a retry is due by then
            world.clock.advance(60_000_000);
            self.app.advance().await?;
            follower.sweep().await?;
            let known = self.app.view.tip(CommitteeId::at(0)).height;
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
    let (_, user, _) = world.home.get().expect("settled in");
    let purchases = process.app.purchases.list(user, (u64::MAX >> 1, ""), 10).await.unwrap();
    let [purchase] = purchases.as_slice() else { panic!("asked for once: {purchases:?}") };
    // a gateway that cannot be asked leaves open what it never charged, and nothing is lost
    let open = world.outside.mood == Mood::OnlyTells && captured == 0 && purchase.state == "charging";
    assert!(purchase.is_final || open, "{purchase:?}");
    let given_back = if world.outside.mood == Mood::Refuses { burned } else { 0 };
    assert_eq!(minted, captured + given_back, "one mint per captured charge, one per refused payout: {purchase:?}");
    assert_eq!(paid, burned - given_back, "paid out once what was redeemed");
    assert_eq!(purchase.state == "done", captured > 0, "{purchase:?}");
    assert!(deposits <= 2);
    let cash_outs = process.app.cash_outs.list(user, (u64::MAX >> 1, ""), 10).await.unwrap();
    if sell && captured > 0 {
        let [cash_out] = cash_outs.as_slice() else { panic!("asked for once: {cash_outs:?}") };
        assert_eq!(cash_out.state, if world.outside.mood == Mood::Refuses { "returned" } else { "paid" });
        assert_eq!(burned, CENTS * 10_000);
    } else {
        assert!(cash_outs.is_empty(), "{cash_outs:?}");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn every_single_crash_point() {
    for mood in MOODS {
        block_on(async {
            let calls = run(&World::new(mood, u64::MAX >> 1), true, &[]).await;
            assert!(calls > 60, "{mood:?}: {calls} calls");
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
    fn any_sequence_of_crashes(lives in prop::collection::vec(0i64..160, 1..6), mood in 0usize..MOODS.len()) {
        block_on(async { run(&World::new(MOODS[mood], u64::MAX >> 1), true, &lives).await });
    }
}

#[test]
fn the_judge_notices_a_double_mint() {
    let world = World::new(Mood::Works, u64::MAX >> 1);
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        block_on(async {
            let issuer = Issuer::from_seed(&ISSUER, *world.ledger.chain());
            let amount = Amount::from_micros(CENTS * 10_000);
            world.ledger.submit(issuer.purchase(world.key(), amount, "the same purchase", "another charge"));
            run(&world, false, &[]).await;
        });
    }));
    assert!(judged.is_err());
}
