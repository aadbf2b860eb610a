//! What every request works with, and the tasks that go on by themselves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::Zip215;
use shardpay_telemetry::{Counter, Histogram, Recorder, names};
use shardpay_types::{Plan, PublicKey};
use tokio::sync::watch;

use crate::buy::{Purchases, gateway::CardGateway, sandbox::SandboxCards};
use crate::cash_out::{CashOuts, bank::BankGateway, pain001::Debtor, sandbox::SandboxBank};
use crate::clock::Clock;
use crate::db::{Db, StoreError};
use crate::hub::{Change, Hub};
use crate::issuer::Issuer;
use crate::ledger::{Ledger, View};
use crate::merchant::{Intents, webhooks::Courier};
use crate::secret::{random_bytes, random_hex};
use crate::users::{Attempts, Buckets, Cost, Passwords, Places, Sessions, Users};

/// How often workflows are looked at, beside when something happens.
const TICK: Duration = Duration::from_millis(500);
/// A chargeback in the sandbox comes so long after the charge.
const DISPUTE_AFTER_US: u64 = 5_000_000;

/// What an operator decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers reach the service, without a slash at the end.
    pub public_url: String,
    /// Whether that is over TLS: cookies are marked so.
    pub secure: bool,
    /// Whether webhooks may go to addresses inside.
    pub webhook_private: bool,
    /// What the card gateway signs its events with.
    pub gateway_secret: String,
    /// Most coins that may ever be minted against charges, in micro-units.
    pub mint_limit: u64,
    /// What a password hash costs.
    pub password_cost: Cost,
    /// Requests per second and burst, per address.
    pub rate: (u64, u64),
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpAddr>,
    /// Whose account payouts leave.
    pub debtor: Debtor,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8000".to_owned(),
            secure: false,
            webhook_private: false,
            gateway_secret: random_hex::<32>(),
            mint_limit: 1_000_000_000_000_000,
            password_cost: Cost::default(),
            rate: (200, 400),
            proxies: Vec::new(),
            debtor: Debtor {
                name: "shardpay sandbox".to_owned(),
                iban: "DE89370400440532013000".to_owned(),
                bic: "COBADEFFXXX".to_owned(),
            },
        }
    }
}

/// Handles of the metrics that every request touches.
pub struct Metrics {
    /// Requests answered.
    pub requests: Counter,
    /// How long.
    pub request_us: Histogram,
    /// Questions for a balance.
    pub balance_us: Histogram,
    /// All of them.
    pub recorder: Recorder,
}

impl Metrics {
    fn new(recorder: Recorder) -> Self {
        Self {
            requests: recorder.counter(names::HTTP_REQUESTS),
            request_us: recorder.histogram(names::HTTP_REQUEST_US),
            balance_us: recorder.histogram(names::OPERATION_BALANCE_US),
            recorder,
        }
    }

    /// An operation ended well, or not.
    pub fn operation(&self, name: &str, good: bool) {
        let counter = if good { names::OPERATIONS } else { names::OPERATIONS_FAILED };
        self.recorder.counter_of(counter, name).add(1);
    }
}

/// Everything.
pub struct App {
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What is known of it.
    pub view: Arc<View>,
    /// Who waits for changes.
    pub hub: Hub,
    /// Users.
    pub users: Users,
    /// Who asks.
    pub sessions: Sessions,
    /// Password hashes.
    pub passwords: Passwords,
    /// Failed logins.
    pub attempts: Attempts,
    /// Requests per address and user.
    pub buckets: Buckets,
    /// Open streams per address and user.
    pub streams: Places,
    /// Buying.
    pub purchases: Purchases,
    /// Cashing out.
    pub cash_outs: CashOuts,
    /// Merchants' intents.
    pub intents: Intents,
    /// Webhooks.
    pub courier: Courier,
    /// Checks signatures.
    pub scheme: Zip215,
    /// What the operator decided.
    pub settings: Settings,
    /// Metrics.
    pub metrics: Metrics,
    /// Names this process among those that share the store.
    pub instance: String,
    /// When it started.
    pub started_us: u64,
    /// Told when the service stops: streams end.
    pub stopping: watch::Sender<bool>,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What is known of it.
    pub view: Arc<View>,
    /// Signs mints.
    pub issuer: Issuer,
    /// Who moves the euros.
    pub euros: Euros,
    /// What the operator decided.
    pub settings: Settings,
    /// Metrics.
    pub recorder: Recorder,
}

/// Who moves the euros: in by card, out by bank.
#[derive(Clone)]
pub struct Euros {
    /// Charges cards.
    pub cards: Arc<dyn CardGateway>,
    /// Pays out.
    pub bank: Arc<dyn BankGateway>,
}

impl Euros {
    /// The sandbox, with its books in tables of the same store.
    pub fn sandbox(db: &Db, clock: &Clock) -> Self {
        Self {
            cards: Arc::new(SandboxCards { db: db.clone(), clock: clock.clone() }),
            bank: Arc::new(SandboxBank { db: db.clone(), clock: clock.clone() }),
        }
    }
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { db, clock, ledger, view, issuer, euros, settings, recorder } = parts;
        let (hub, issuer) = (Hub::default(), Arc::new(issuer));
        let purchases = Purchases {
            db: db.clone(),
            gateway: euros.cards,
            issuer: issuer.clone(),
            ledger: ledger.clone(),
            view: view.clone(),
            hub: hub.clone(),
            clock: clock.clone(),
            mint_limit: settings.mint_limit,
        };
        let cash_outs = CashOuts {
            db: db.clone(),
            bank: euros.bank,
            issuer,
            ledger: ledger.clone(),
            hub: hub.clone(),
            clock: clock.clone(),
            debtor: settings.debtor.clone(),
        };
        let started_us = clock.now_us();
        Arc::new(Self {
            users: Users { db: db.clone(), clock: clock.clone() },
            sessions: Sessions { db: db.clone(), clock: clock.clone() },
            passwords: Passwords::new(settings.password_cost),
            attempts: Attempts::default(),
            buckets: Buckets::new(settings.rate.0, settings.rate.1),
            streams: Places::default(),
            purchases,
            cash_outs,
            intents: Intents { db: db.clone(), hub: hub.clone(), clock: clock.clone() },
            courier: Courier { db: db.clone(), clock: clock.clone(), private: settings.webhook_private },
            scheme: Zip215::new(random_bytes(), 4_096),
            metrics: Metrics::new(recorder),
            instance: random_hex::<8>(),
            started_us,
            stopping: watch::Sender::new(false),
            db,
            clock,
            ledger,
            view,
            hub,
            settings,
        })
    }

    /// The genesis plan.
    pub fn plan(&self) -> &Plan {
        self.ledger.genesis()
    }

    /// Takes up an account for a user.
    pub async fn track(&self, key: PublicKey) -> Result<(), crate::ledger::TrackError> {
        crate::ledger::track((&self.db, &self.view, &self.ledger), &self.hub, &self.clock, key).await
    }

    /// Carries out what is due: purchases, cash-outs, ends of intents.
    pub async fn advance(&self) -> Result<(), StoreError> {
        self.purchases.advance_due().await?;
        self.cash_outs.advance_due().await?;
        self.intents.expire_due().await
    }

    /// Starts the tasks that go on by themselves. They end when `stopping` is told.
    pub fn start(self: &Arc<Self>) {
        let app = self.clone();
        tokio::spawn(async move {
            let mut changes = app.hub.listen();
            let mut stop = app.stopping.subscribe();
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    change = changes.recv() => match change {
                        Ok(Change::CashOut(_) | Change::Purchase(_)) => {}
                        _ => continue,
                    },
                    _ = stop.changed() => return,
                }
                if let Err(error) = app.advance().await {
                    tracing::error!(%error, "workflows stand still");
                }
            }
        });
        let app = self.clone();
        tokio::spawn(async move {
            let mut changes = app.hub.listen();
            let mut stop = app.stopping.subscribe();
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    change = changes.recv() => if change != Ok(Change::Webhook) { continue },
                    _ = stop.changed() => return,
                }
                if let Err(error) = app.courier.deliver_due().await {
                    tracing::error!(%error, "webhooks stand still");
                }
            }
        });
        let app = self.clone();
        tokio::spawn(async move {
            let mut stop = app.stopping.subscribe();
            let mut tick = tokio::time::interval(Duration::from_secs(5));
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = stop.changed() => return,
                }
                let done = async {
                    app.sessions.tidy().await?;
                    let sandbox = SandboxCards { db: app.db.clone(), clock: app.clock.clone() };
                    let before = app.clock.now_us().saturating_sub(DISPUTE_AFTER_US);
                    for purchase in sandbox.disputes_due(before).await? {
                        app.purchases.disputed(&purchase).await?;
                        sandbox.dispute(&purchase).await?;
                    }
                    Ok::<_, StoreError>(())
                };
                if let Err(error) = done.await {
                    tracing::error!(%error, "tidying up failed");
                }
            }
        });
    }
}
