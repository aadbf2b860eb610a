//! The service in this process, with its real socket, over a ledger in memory and a clock that a test moves ahead.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shardpay_crypto::Keypair;
use shardpay_service::api;
use shardpay_service::app::{App, Euros, Parts, Settings};
use shardpay_service::clock::Clock;
use shardpay_service::db::Db;
use shardpay_service::issuer::Issuer;
use shardpay_service::ledger::{Ledger, load_view};
use shardpay_service::listen::serve;
use shardpay_service::secret::random_hex;
use shardpay_service::server::follower;
use shardpay_service::users::Cost;
use shardpay_telemetry::{Recorder, ServerKind, ServerTag};
use shardpay_types::{ChainId, CommitteeId};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fake::{Fake, ISSUER};
use super::schema::{answer_schema, misfit, template};
use super::{Asker, card, database, idempotency_key, pair_in};

/// What the card gateway signs its events with.
pub const GATEWAY_SECRET: &str = "a gateway's secret";
/// The password of all users here.
pub const PASSWORD: &str = "correct horse battery";

pub struct World {
    pub app: Arc<App>,
    pub ledger: Arc<Fake>,
    pub clock: Clock,
    pub base: String,
    pub address: SocketAddr,
    pub document: Value,
    /// Held by the follower while it hears of the ledger.
    hearing: Arc<Mutex<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// With an operator's decisions; secrets and costs are the test's.
    pub async fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&database(dir.path()).await).await.unwrap();
        let clock = Clock::system();
        let fake = Arc::new(Fake::telling(clock.clone()));
        let ledger: Arc<dyn Ledger> = fake.clone();
        let view = Arc::new(load_view(&db, 1).await.unwrap());
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, "test"));
        let password_cost = Cost { memory_kib: 64, passes: 1, parallel: 2 };
        let settings = Settings { gateway_secret: GATEWAY_SECRET.to_owned(), password_cost, ..settings };
        let issuer = Issuer::from_seed(&ISSUER, *fake.chain());
        let euros = Euros::sandbox(&db, &clock);
        let app = App::new(Parts { db, clock: clock.clone(), ledger, view, issuer, euros, settings, recorder });
        app.start();
        let hearing = Arc::<Mutex<()>>::default();
        tokio::spawn(follow(app.clone(), fake.clone(), hearing.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(api::router(app.clone()), listener, None, axum_server::Handle::new()));
        let document = api::document();
        Self { app, ledger: fake, clock, base: format!("http://{address}"), address, document, hearing, _dir: dir }
    }

    pub fn chain(&self) -> ChainId {
        *self.ledger.chain()
    }

    pub fn advance_s(&self, seconds: u64) {
        self.clock.advance(seconds * 1_000_000);
    }

    /// The service hears nothing of the ledger while this is kept; what it was just hearing has arrived.
    pub async fn deafen(&self) -> OwnedMutexGuard<()> {
        self.hearing.clone().lock_owned().await
    }

    /// Names are unique: the database may be one that earlier tests used.
    pub async fn user(&self, salt: &str) -> (Asker, Keypair, String) {
        let name = format!("{salt}-{}", random_hex::<6>());
        let pair = pair_in(self.ledger.genesis(), 0, &name);
        let mut asker = Asker::new(&self.base);
        asker.register(&name, &self.chain(), &pair).await;
        (asker, pair, name)
    }

    pub async fn rich(&self, salt: &str) -> (Asker, Keypair, String) {
        let (asker, pair, name) = self.user(salt).await;
        let body = json!({ "amount": "100.00", "card": card("5555 5555 5555 4444") });
        asker.write("POST", "/v1/purchases", body).await;
        asker.until("/v1/me/balance", "balance", "100.000000").await;
        (asker, pair, name)
    }

    /// A user who is a merchant, and the same by a merchant key.
    pub async fn merchant(&self, salt: &str, webhook: Option<&str>) -> (Asker, Asker, Keypair) {
        let (owner, pair, _) = self.user(salt).await;
        let mut body = json!({ "display_name": salt });
        if let Some(url) = webhook {
            body["webhook_url"] = json!(url);
        }
        owner.write("PUT", "/v1/merchant", body).await;
        let key = owner.write("POST", "/v1/merchant/keys", json!({ "label": "till" })).await;
        let till = Asker { token: Some(key["secret"].as_str().unwrap().to_owned()), ..owner.clone() };
        (owner, till, pair)
    }

    /// One request whose answer must fit the document.
    pub async fn ask(&self, asker: &Asker, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let key = (method != "GET").then(idempotency_key);
        let (status, answer) = asker.ask(method, path, body, key.as_deref()).await;
        let template = template(&self.document, path);
        let schema = answer_schema(&self.document, &method.to_ascii_lowercase(), &template, status);
        if let Some(schema) = schema {
            let why = misfit(&self.document, &schema, &answer);
            assert_eq!(why, None, "{method} {path} {status}");
        }
        (status, answer)
    }

    /// One request that must be refused: its code.
    pub async fn code(&self, asker: &Asker, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.ask(asker, method, path, Some(body)).await;
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        answer["code"].as_str().unwrap().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.app.stopping.send_replace(true);
    }
}

async fn follow(app: Arc<App>, source: Arc<Fake>, hearing: Arc<Mutex<()>>) {
    let (following, mut stop) = (follower(&app), app.stopping.subscribe());
    while !*stop.borrow_and_update() {
        let turn = hearing.lock().await;
        following.sweep().await.unwrap();
        let known = following.view.tip(CommitteeId::at(0)).height;
        for event in source.blocks_above(known) {
            following.handle(event).await.unwrap();
        }
        following.view.set_fresh(CommitteeId::at(0), following.clock.now_us());
        drop(turn);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
