//! The configuration: a TOML file, over it the environment, over that flags; checked as a whole.
//!
//! Guarantees: an unknown key is refused; every error names the key it is about. Paths in the file are relative
//! to the file's directory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use shardpay_keystore::parse_amount;
use shardpay_push::PushTargets;
use shardpay_settings::{ConfigError, read, read_config, wrong};

use crate::app::Settings;
use crate::cash_out::iban::{Iban, holder};
use crate::secret::random_hex;
use crate::users::Cost;

/// Flags and environment: they win over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Configuration file.
    #[arg(long, env = "SERVICE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address to listen on (listen).
    #[arg(long, env = "SERVICE_LISTEN")]
    pub listen: Option<String>,
    /// Directory of the database, metrics and address (data_dir).
    #[arg(long, env = "SERVICE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Database: postgres://… or sqlite:PATH (database_url).
    #[arg(long, env = "SERVICE_DATABASE_URL")]
    pub database_url: Option<String>,
    /// The signaler's URL, or a file with a topology (topology).
    #[arg(long, env = "SERVICE_TOPOLOGY")]
    pub topology: Option<String>,
    /// File with the genesis plan to pin (genesis).
    #[arg(long, env = "SERVICE_GENESIS")]
    pub genesis: Option<PathBuf>,
    /// File with the issuer's seed (issuer_seed).
    #[arg(long, env = "SERVICE_ISSUER_SEED")]
    pub issuer_seed: Option<PathBuf>,
    /// Where browsers reach the service (public_url).
    #[arg(long, env = "SERVICE_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// TLS: off, self-made, or files (tls.mode).
    #[arg(long, env = "SERVICE_TLS")]
    pub tls: Option<String>,
    /// Write endpoints for metrics (telemetry.push), such as http://127.0.0.1:8086?org=o&bucket=b.
    #[arg(long, env = "SERVICE_TELEMETRY_PUSH")]
    pub telemetry_push: Option<PushTargets>,
    /// Let webhooks go to private addresses (webhook_private).
    #[arg(long, env = "SERVICE_WEBHOOK_PRIVATE")]
    pub webhook_private: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    database_url: Option<String>,
    topology: Option<String>,
    genesis: Option<PathBuf>,
    issuer_seed: Option<PathBuf>,
    public_url: Option<String>,
    mint_limit: Option<String>,
    webhook_private: Option<bool>,
    gateway_secret_file: Option<PathBuf>,
    proxies: Vec<IpAddr>,
    tls: TlsSection,
    rate: RateSection,
    passwords: PasswordsSection,
    bank: BankSection,
    telemetry: TelemetrySection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TelemetrySection {
    push: PushTargets,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsSection {
    mode: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateSection {
    per_second: Option<u64>,
    burst: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PasswordsSection {
    memory_kib: Option<u32>,
    passes: Option<u32>,
    parallel: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BankSection {
    name: Option<String>,
    iban: Option<String>,
    bic: Option<String>,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not: behind a proxy, or on the machine itself.
    Off,
    /// By a certificate made at the first start and kept in `data_dir`.
    SelfMade,
    /// By a given certificate.
    Files {
        /// PEM with the chain.
        certificate: PathBuf,
        /// PEM with the key.
        key: PathBuf,
    },
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Database, metrics, address.
    pub data_dir: PathBuf,
    /// The database.
    pub database_url: String,
    /// Where the nodes are.
    pub topology: String,
    /// The pinned genesis plan; without it the topology's is taken on trust.
    pub genesis: Option<PathBuf>,
    /// The issuer's seed.
    pub issuer_seed: PathBuf,
    /// TLS.
    pub tls: Tls,
    /// Whether `public_url` was given; else it follows from the address.
    pub public_url_given: bool,
    /// Where metrics go.
    pub telemetry_push: PushTargets,
    /// The rest.
    pub settings: Settings,
}

impl Config {
    /// Reads and checks file, environment and flags.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let (file, base): (File, PathBuf) = read_config(flags.config.as_deref())?;
        let within = |path: PathBuf| base.join(path);
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
        let listen: SocketAddr =
            listen.parse().map_err(|_| wrong("listen", format!("{listen:?} is no address:port")))?;
        let data_dir = flags.data_dir.or(file.data_dir.map(within)).unwrap_or_else(|| PathBuf::from("service-data"));
        let sqlite = || format!("sqlite:{}", data_dir.join("service.db").display());
        let database_url = flags.database_url.or(file.database_url).unwrap_or_else(sqlite);
        let topology =
            flags.topology.or(file.topology).ok_or_else(|| wrong("topology", "missing: the signaler's URL"))?;
        let issuer_seed = flags.issuer_seed.or(file.issuer_seed.map(within));
        let issuer_seed =
            issuer_seed.ok_or_else(|| wrong("issuer_seed", "missing: the file with the issuer's seed"))?;
        let tls = tls(flags.tls, &file.tls, &base)?;
        let given = flags.public_url.or(file.public_url);
        let secure = tls != Tls::Off || given.as_deref().is_some_and(|url| url.starts_with("https://"));
        let settings = Settings {
            public_url: public_url(given.as_deref(), listen, tls != Tls::Off)?,
            secure,
            webhook_private: flags.webhook_private || file.webhook_private.unwrap_or(false),
            gateway_secret: gateway_secret(file.gateway_secret_file.map(within))?,
            mint_limit: mint_limit(file.mint_limit.as_deref())?,
            password_cost: cost(&file.passwords)?,
            rate: rate(&file.rate)?,
            proxies: file.proxies,
            debtor: debtor(file.bank)?,
        };
        Ok(Self {
            listen,
            data_dir,
            database_url,
            topology,
            genesis: flags.genesis.or(file.genesis.map(within)),
            issuer_seed,
            tls,
            public_url_given: given.is_some(),
            telemetry_push: flags.telemetry_push.unwrap_or(file.telemetry.push),
            settings,
        })
    }
}

fn tls(flag: Option<String>, section: &TlsSection, base: &Path) -> Result<Tls, ConfigError> {
    match flag.as_deref().or(section.mode.as_deref()) {
        None | Some("off") => Ok(Tls::Off),
        Some("self-made") => Ok(Tls::SelfMade),
        Some("files") => {
            let certificate = section.certificate.as_ref().ok_or_else(|| wrong("tls.certificate", "missing"))?;
            let key = section.key.as_ref().ok_or_else(|| wrong("tls.key", "missing"))?;
            Ok(Tls::Files { certificate: base.join(certificate), key: base.join(key) })
        }
        Some(other) => Err(wrong("tls.mode", format!("{other:?} is none of off, self-made, files"))),
    }
}

fn public_url(given: Option<&str>, listen: SocketAddr, tls: bool) -> Result<String, ConfigError> {
    let Some(url) = given else { return Ok(format!("{}://{listen}", if tls { "https" } else { "http" })) };
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong("public_url", error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.path() != "/" || parsed.query().is_some() {
        return Err(wrong("public_url", "http:// or https:// and a host, nothing behind it"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn gateway_secret(path: Option<PathBuf>) -> Result<String, ConfigError> {
    let key = "gateway_secret_file";
    // without a file no event can be signed: the sandbox needs none
    let Some(path) = path else { return Ok(random_hex::<32>()) };
    let text = read(key, &path)?;
    let text = text.trim();
    if text.len() < 16 { Err(wrong(key, "at least 16 characters")) } else { Ok(text.to_owned()) }
}

fn mint_limit(text: Option<&str>) -> Result<u64, ConfigError> {
    let Some(text) = text else { return Ok(Settings::default().mint_limit) };
    let amount = parse_amount(text).map_err(|error| wrong("mint_limit", error.to_string()))?;
    if amount.micros() > i64::MAX as u64 { Err(wrong("mint_limit", "too large")) } else { Ok(amount.micros()) }
}

fn cost(section: &PasswordsSection) -> Result<Cost, ConfigError> {
    let default = Cost::default();
    let cost = Cost {
        memory_kib: section.memory_kib.unwrap_or(default.memory_kib),
        passes: section.passes.unwrap_or(default.passes),
        parallel: section.parallel.unwrap_or(default.parallel),
    };
    if !(8_192..=1_048_576).contains(&cost.memory_kib) {
        return Err(wrong("passwords.memory_kib", "8192 to 1048576"));
    }
    if !(1..=20).contains(&cost.passes) {
        return Err(wrong("passwords.passes", "1 to 20"));
    }
    if !(1..=64).contains(&cost.parallel) {
        return Err(wrong("passwords.parallel", "1 to 64"));
    }
    Ok(cost)
}

fn rate(section: &RateSection) -> Result<(u64, u64), ConfigError> {
    let default = Settings::default().rate;
    let rate = (section.per_second.unwrap_or(default.0), section.burst.unwrap_or(default.1));
    if rate.0 == 0 || rate.0 > 1_000_000 {
        return Err(wrong("rate.per_second", "1 to 1000000"));
    }
    if rate.1 == 0 || rate.1 > 1_000_000 {
        return Err(wrong("rate.burst", "1 to 1000000"));
    }
    Ok(rate)
}

fn debtor(section: BankSection) -> Result<crate::cash_out::pain001::Debtor, ConfigError> {
    let mut debtor = Settings::default().debtor;
    if let Some(name) = section.name {
        debtor.name = holder(&name).map_err(|problem| wrong("bank.name", problem.detail))?;
    }
    if let Some(iban) = section.iban {
        let iban = Iban::parse(&iban).map_err(|problem| wrong("bank.iban", problem.detail))?;
        iban.as_str().clone_into(&mut debtor.iban);
    }
    if let Some(bic) = section.bic {
        let good = matches!(bic.len(), 8 | 11) && bic.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !good {
            return Err(wrong("bank.bic", "8 or 11 capitals and digits"));
        }
        debtor.bic = bic;
    }
    Ok(debtor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Flags { config: Some(path), ..Flags::default() })
    }

    const LEAST: &str = "topology = \"http://127.0.0.1:7000\"\nissuer_seed = \"issuer.seed\"\n";

    #[test]
    fn the_least_is_enough_and_paths_are_relative_to_the_file() {
        let config = load(LEAST).unwrap();
        assert!(config.issuer_seed.is_absolute() && config.issuer_seed.ends_with("issuer.seed"));
        assert_eq!(config.settings.public_url, "http://127.0.0.1:8000");
        assert!(!config.settings.secure);
    }

    #[test]
    fn errors_name_the_key() {
        for (line, key) in [
            ("listen = \"nowhere\"", "listen"),
            ("public_url = \"ftp://x\"", "public_url"),
            ("mint_limit = \"-1\"", "mint_limit"),
            ("colour = 1", "colour"),
            ("gateway_secret_file = \"absent\"", "gateway_secret_file"),
            ("[tls]\nmode = \"files\"", "tls.certificate"),
            ("[tls]\nmode = \"maybe\"", "tls.mode"),
            ("[passwords]\nmemory_kib = 1", "passwords.memory_kib"),
            ("proxies = [\"nowhere\"]", "proxies"),
            ("[rate]\nburst = 0", "rate.burst"),
            ("[bank]\niban = \"DE00\"", "bank.iban"),
        ] {
            let error = load(&format!("{LEAST}{line}\n")).unwrap_err().to_string();
            assert!(error.contains(key), "{key} in {error}");
        }
        assert!(load("").unwrap_err().to_string().contains("topology"));
    }

    #[test]
    fn flags_win() {
        let flags = Flags {
            topology: Some("t.json".to_owned()),
            issuer_seed: Some("seed".into()),
            tls: Some("self-made".to_owned()),
            ..Flags::default()
        };
        let config = Config::load(flags).unwrap();
        assert_eq!(config.tls, Tls::SelfMade);
        assert!(config.settings.secure && config.settings.public_url.starts_with("https://"));
    }
}
