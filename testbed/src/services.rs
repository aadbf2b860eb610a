//! The payment service and the demo shop of a cluster that stays (`testbed up --services`): their configuration, how
//! they are started, and the links that people open.
//!
//! The service mints with the cluster's issuer key. Nobody else does, as no load is funded here, so the supply page's
//! books agree. The shop is a user like any other: a vendor registers through the public API, with an encrypted
//! keystore that opens in the wallet page, and gives the shop a merchant key and a webhook secret. The vendor's secrets
//! stand in `services/vendor`, which only its owner reads. Service and shop have a directory each, which is all that
//! their containers see.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shardpay_client::service::{ServiceClient, field};
use shardpay_keystore::{Keystore, Mnemonic, SealRandomness};
use shardpay_run::write_whole;

use crate::backend::Launch;
use crate::demo;
use crate::deploy::{DeployError, Deployment, failed};
use crate::failure::Failure;
use crate::places::Places;
use crate::running::Running;
use crate::server::Server;

/// A page that was started answers within this.
const START_MAX: Duration = Duration::from_secs(60);
/// Their place in the run directory.
pub(crate) const DIR: &str = "services";
/// The service's copy of the genesis plan: its container sees no other file of the run.
const GENESIS: &str = "genesis";
/// The vendor's name at the service.
const VENDOR: &str = "vendor";
/// Requests per second from one address: pages, the shop and load generators all come from this machine.
const REQUESTS_PER_SECOND: i64 = 5_000;

/// Service and shop, ready to be started.
pub struct Services {
    dir: PathBuf,
    genesis: PathBuf,
    service: SocketAddr,
    shop: SocketAddr,
    launches: [Launch; 2],
}

impl Services {
    /// Names the program that is missing.
    pub fn check_programs(programs: &Path) -> Result<(), DeployError> {
        for server in [Server::Service, Server::Shop] {
            let path = programs.join(server.program());
            if !path.is_file() {
                return Err(DeployError::Program { path });
            }
        }
        Ok(())
    }

    /// Writes the service's configuration.
    pub fn prepare(deployment: &Deployment, programs: &Path) -> Result<Self, DeployError> {
        let mut start = [0; 2];
        getrandom::fill(&mut start).map_err(DeployError::Random)?;
        let (service, shop) = Places::services(deployment.subnet, u16::from_le_bytes(start))?;
        let dir = deployment.dir.root().join(DIR);
        for server in [Server::Service, Server::Shop] {
            let own = dir.join(server.program());
            fs::create_dir_all(&own).map_err(failed(&own))?;
        }
        let own = dir.join(Server::Service.program());
        write_whole(&own.join("config.toml"), service_config(deployment, service, &own).as_bytes())?;
        let shop_dir = dir.join(Server::Shop.program());
        let launches = [service_launch(deployment, &own, programs), shop_launch((service, shop), &shop_dir, programs)];
        Ok(Self { dir, genesis: deployment.dir.genesis(), service, shop, launches })
    }

    /// How both are started.
    pub fn launches(&self) -> impl Iterator<Item = Launch> + use<'_> {
        self.launches.iter().cloned()
    }

    /// Starts the service on a network that produces, registers the vendor, starts the shop.
    pub async fn open(&self, running: &mut Running) -> Result<(), Failure> {
        running.live.waiting("waiting for the service");
        let copy = self.dir.join(Server::Service.program()).join(GENESIS);
        fs::copy(&self.genesis, &copy).map_err(failed(&copy))?;
        running.start(Server::Service)?;
        let mut client = ServiceClient::new(&url(self.service), None)?;
        answers(running, &client, "/v1/ready").await?;
        running.live.waiting("the vendor registers");
        self.register(&mut client).await?;
        running.start(Server::Shop)?;
        answers(running, &ServiceClient::new(&url(self.shop), None)?, "/api/products").await
    }

    /// Makes the vendor's wallet and account, and what the shop needs to know.
    async fn register(&self, client: &mut ServiceClient) -> Result<(), Failure> {
        let (password, passphrase) = (random_word()?, random_word()?);
        let made = Mnemonic::generate().map_err(|error| Failure::Usage(error.to_string()))?;
        let sealed = SealRandomness::draw().and_then(|drawn| Keystore::seal(&made, 0, &passphrase, drawn));
        let keystore = sealed.map_err(|error| Failure::Usage(error.to_string()))?;
        let secrets = format!("user        {VENDOR}\npassword    {password}\npassphrase  {passphrase}\n");
        self.write_secret("vendor", &secrets)?;
        let user = client.register(VENDOR, &password).await?;
        client.claim_key(&user, &made.keypair(0)).await?;
        let keystore: Value = serde_json::from_str(&keystore.to_json()).expect("a keystore is JSON");
        client.put("/v1/me/keystore", &keystore).await?;
        let webhook = format!("{}webhook", url(self.shop));
        client.put("/v1/merchant", &json!({ "display_name": "Demo shop", "webhook_url": webhook })).await?;
        let key = client.post("/v1/merchant/keys", &json!({ "label": "demo shop" })).await?;
        self.write_secret("shop/key", field(&key, "secret")?)?;
        let secret = client.post("/v1/merchant/webhook-secret", &json!({})).await?;
        self.write_secret("shop/secret", field(&secret, "secret")?)?;
        Ok(client.log_out().await?)
    }

    /// A file that only the owner of its directory reads.
    fn write_secret(&self, name: &str, text: &str) -> Result<(), DeployError> {
        let path = self.dir.join(name);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            let owner = path.parent().unwrap_or(&path).metadata()?;
            // root gave the directory to the user of the containers
            if owner.uid() == file.metadata()?.uid() {
                Ok(())
            } else {
                chown(&path, Some(owner.uid()), Some(owner.gid()))
            }
        };
        write().map_err(failed(&path))
    }

    /// What to open and what to type, for people.
    pub fn links(&self, demo: Option<&str>, cluster: &str) -> String {
        let service = url(self.service);
        let mut text = String::from("\nopen in a browser\n");
        let mut line = |name: &str, link: &str, what: &str| {
            let _ = writeln!(text, "  {name:<9} {link:<31} {what}");
        };
        line("wallet", &service, "register, buy by card (4242 4242 4242 4242, any expiry and CVC), pay, cash out");
        line("shop", &url(self.shop), "choose something; it leads to the checkout page");
        line("checkout", &format!("{service}checkout/…"), "made by the shop for each order");
        line("supply", &format!("{service}supply"), "coins against the bank's balance");
        if let Some(demo) = demo {
            line("demo", demo, "what every server does");
        }
        let _ = write!(
            text,
            "\nthe vendor logs in at the wallet page: {}\n\
             load that pays through the service: loadgen run --via {} … (docs/LOADGEN.md)\n\
             stop everything: ./shardpay testbed down --cluster {cluster}\n",
            self.dir.join("vendor").display(),
            service.trim_end_matches('/'),
        );
        text
    }
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/")
}

/// 80 bits as 20 letters and digits.
fn random_word() -> Result<String, DeployError> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(DeployError::Random)?;
    Ok(hex::encode(bytes))
}

async fn answers(running: &mut Running, client: &ServiceClient, path: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + START_MAX;
    while let Err(error) = client.get(path).await {
        if Instant::now() > deadline {
            let what = format!("{path} answers ({error})");
            return Err(Failure::TooSlow { what, seconds: START_MAX.as_secs_f64() });
        }
        running.pause().await?;
    }
    Ok(())
}

fn service_config(deployment: &Deployment, listen: SocketAddr, dir: &Path) -> String {
    let path = |path: PathBuf| toml::Value::from(path.display().to_string());
    let mut config = toml::Table::new();
    let mut set = |key: &str, value: toml::Value| config.insert(key.to_owned(), value);
    set("listen", listen.to_string().into());
    set("data_dir", path(dir.join("data")));
    set("topology", deployment.signaler.clone().into());
    set("genesis", path(dir.join(GENESIS)));
    set("issuer_seed", path(deployment.issuer_seed.clone()));
    // the shop's webhook is at a private address
    set("webhook_private", true.into());
    let rate = [("per_second", REQUESTS_PER_SECOND), ("burst", 2 * REQUESTS_PER_SECOND)];
    set("rate", rate.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect::<toml::Table>().into());
    config.to_string()
}

fn service_launch(deployment: &Deployment, dir: &Path, programs: &Path) -> Launch {
    let mut args = vec!["run".to_owned(), "--config".to_owned(), dir.join("config.toml").display().to_string()];
    if let Some(url) = &deployment.demo {
        args.extend(["--telemetry-push".to_owned(), demo::push_word(url, &deployment.dir)]);
    }
    launch(Server::Service, programs, args, dir)
}

fn shop_launch((service, shop): (SocketAddr, SocketAddr), dir: &Path, programs: &Path) -> Launch {
    let path = |name: &str| dir.join(name).display().to_string();
    let args = [
        ("--listen", shop.to_string()),
        ("--service", url(service)),
        ("--key-file", path("key")),
        ("--webhook-secret-file", path("secret")),
    ];
    let args = args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    launch(Server::Shop, programs, args, dir)
}

fn launch(server: Server, programs: &Path, args: Vec<String>, dir: &Path) -> Launch {
    let program = programs.join(server.program());
    let store = (server == Server::Service).then(|| dir.join("data"));
    Launch { server, program, args, log: dir.join("log"), output: None, store }
}
