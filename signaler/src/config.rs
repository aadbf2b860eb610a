//! The configuration: a TOML file, over it the environment, over that flags; checked as a whole.
//!
//! Guarantees: an unknown key is refused; every error names the key it is about. Paths in the file are
//! relative to the file's directory.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use shardpay_client::signaler::{Hex, NetworkId};
use shardpay_crypto::{SignatureScheme, Zip215};
use shardpay_push::PushTargets;
use shardpay_settings::{ConfigError, read, read_config, wrong};
use shardpay_types::{Amount, CommitteePlan, Constants, Epoch, List, MEMBERS_MAX, Plan, PlanHash, PublicKey, Version};

use crate::desk::OperatorToken;
use crate::door::ConnectionLimits;
use crate::settings::{EpochClock, Settings};

/// Fewest characters of an operator token.
const TOKEN_CHARS_MIN: usize = 16;

/// Flags and environment: they win over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Configuration file.
    #[arg(long, env = "SIGNALER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address to listen on (listen).
    #[arg(long, env = "SIGNALER_LISTEN")]
    pub listen: Option<String>,
    /// Directory of the store (data_dir).
    #[arg(long, env = "SIGNALER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Committees (network.committees).
    #[arg(long, env = "SIGNALER_COMMITTEES")]
    pub committees: Option<usize>,
    /// Members of each committee (network.members).
    #[arg(long, env = "SIGNALER_MEMBERS")]
    pub members: Option<usize>,
    /// Key that signs mints, hexadecimal (network.issuer).
    #[arg(long, env = "SIGNALER_ISSUER")]
    pub issuer: Option<String>,
    /// File with the keys that may register (network.allow_list).
    #[arg(long, env = "SIGNALER_ALLOW_LIST")]
    pub allow_list: Option<PathBuf>,
    /// Write endpoints for metrics (telemetry.push), such as http://127.0.0.1:8086?org=o&bucket=b.
    #[arg(long, env = "SIGNALER_TELEMETRY_PUSH")]
    pub telemetry_push: Option<PushTargets>,
    /// File with the operator's token (operator.token_file).
    #[arg(long, env = "SIGNALER_OPERATOR_TOKEN_FILE")]
    pub operator_token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<String>,
    connections_max: Option<usize>,
    data_dir: Option<PathBuf>,
    network: NetworkSection,
    constants: ConstantsSection,
    epochs: EpochsSection,
    health: HealthSection,
    operator: OperatorSection,
    telemetry: TelemetrySection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetworkSection {
    committees: Option<usize>,
    members: Option<usize>,
    issuer: Option<String>,
    allow_list: Option<PathBuf>,
    id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConstantsSection {
    gc_depth: Option<u16>,
    anchor_rounds: Option<u16>,
    leaves_max: Option<u32>,
    block_bytes_max: Option<u32>,
    amount_min: Option<u64>,
    mint_cap: Option<u64>,
    future_sequences_max: Option<u16>,
    opaque_bytes_max: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EpochsSection {
    seconds: Option<u64>,
    heights: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HealthSection {
    down_after_ms: Option<u64>,
    clock_skew_ms_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TelemetrySection {
    push: PushTargets,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OperatorSection {
    token_file: Option<PathBuf>,
}

/// A checked configuration.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many may connect.
    pub connections: ConnectionLimits,
    /// The store's directory.
    pub data_dir: PathBuf,
    /// The network.
    pub settings: Settings,
    /// The operator's secret.
    pub operator: Option<OperatorToken>,
    /// Who gets the metrics beside the file.
    pub telemetry_push: PushTargets,
}

impl Config {
    /// Reads and checks file and flags.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let (file, base): (File, PathBuf) = read_config(flags.config.as_deref())?;
        let from_file = |path: Option<PathBuf>| path.map(|path| base.join(path));
        let network = file.network;
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
        let listen =
            listen.parse().map_err(|_| wrong("listen", format!("{listen:?} is no address like 127.0.0.1:7000")))?;
        let connections = file.connections_max.unwrap_or(ConnectionLimits::MAX);
        if !(1..=65_536).contains(&connections) {
            return Err(wrong("connections_max", "must be 1 to 65,536"));
        }
        let connections = ConnectionLimits { max: connections, ..ConnectionLimits::default() };
        let data_dir = flags.data_dir.or_else(|| from_file(file.data_dir));
        let committees =
            flags.committees.or(network.committees).ok_or_else(|| wrong("network.committees", "missing"))?;
        let members = flags.members.or(network.members).ok_or_else(|| wrong("network.members", "missing"))?;
        let issuer = flags.issuer.or(network.issuer).ok_or_else(|| wrong("network.issuer", "missing"))?;
        let issuer = key("network.issuer", &issuer)?;
        let allowed = match flags.allow_list.or_else(|| from_file(network.allow_list)) {
            Some(path) => Some(allow_list(&path)?),
            None => None,
        };
        let operator = match flags.operator_token_file.or_else(|| from_file(file.operator.token_file)) {
            Some(path) => Some(token(&path)?),
            None => None,
        };
        let settings = Settings {
            committees,
            members,
            issuer,
            constants: file.constants.over(Constants::standard(committees)),
            network: network.id.map(|id| parse::<NetworkId>("network.id", &id)).transpose()?,
            allowed,
            clock: EpochClock { after: file.epochs.seconds.map(Duration::from_secs), heights: file.epochs.heights },
            down_after: Duration::from_millis(file.health.down_after_ms.unwrap_or(5_000)),
            clock_skew_max: Duration::from_millis(file.health.clock_skew_ms_max.unwrap_or(60_000)),
        };
        check(&settings)?;
        let data_dir = data_dir.ok_or_else(|| wrong("data_dir", "missing"))?;
        let telemetry_push = flags.telemetry_push.unwrap_or(file.telemetry.push);
        Ok(Self { listen, connections, data_dir, settings, operator, telemetry_push })
    }
}

impl ConstantsSection {
    fn over(self, standard: Constants) -> Constants {
        Constants {
            gc_depth: self.gc_depth.unwrap_or(standard.gc_depth),
            anchor_rounds: self.anchor_rounds.unwrap_or(standard.anchor_rounds),
            leaves_max: self.leaves_max.unwrap_or(standard.leaves_max),
            block_bytes_max: self.block_bytes_max.unwrap_or(standard.block_bytes_max),
            amount_min: self.amount_min.map_or(standard.amount_min, Amount::from_micros),
            mint_cap: self.mint_cap.map_or(standard.mint_cap, Amount::from_micros),
            future_sequences_max: self.future_sequences_max.unwrap_or(standard.future_sequences_max),
            opaque_bytes_max: self.opaque_bytes_max.unwrap_or(standard.opaque_bytes_max),
        }
    }
}

fn check(settings: &Settings) -> Result<(), ConfigError> {
    let Settings { committees, members, .. } = *settings;
    // all co-signatures of a change travel in one list of at most 4,096
    if committees == 0 || committees > 1_024 || committees.saturating_mul(members) > 4_096 {
        return Err(wrong("network.committees", "must be 1 to 1024, and committees × members at most 4096"));
    }
    if members != 1 && !(4..=MEMBERS_MAX).contains(&members) {
        return Err(wrong("network.members", format!("must be 1 or 4 to {MEMBERS_MAX}")));
    }
    if let Some(allowed) = &settings.allowed
        && allowed.len() != settings.expected()
    {
        let why = format!("has {} keys, committees × members is {}", allowed.len(), settings.expected());
        return Err(wrong("network.allow_list", why));
    }
    if settings.clock.after.is_some_and(|after| after.is_zero()) {
        return Err(wrong("epochs.seconds", "must be positive"));
    }
    if settings.clock.heights == Some(0) {
        return Err(wrong("epochs.heights", "must be positive"));
    }
    if settings.down_after < Duration::from_millis(100) {
        return Err(wrong("health.down_after_ms", "must be at least 100"));
    }
    if settings.clock_skew_max < Duration::from_secs(1) {
        return Err(wrong("health.clock_skew_ms_max", "must be at least 1000"));
    }
    // the plan's own rules, with keys that differ
    let member = |index: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&index.to_le_bytes());
        PublicKey(key)
    };
    let plans = Plan::even_shards(committees).into_iter().enumerate().map(|(id, (shard_first, shard_count))| {
        let keys = (0..members).map(|index| member(id * members + index)).collect();
        CommitteePlan { shard_first, shard_count, members: List::bounded(keys) }
    });
    let plan = Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [0; 32],
        issuer: settings.issuer,
        constants: settings.constants,
        committees: List::bounded(plans.collect()),
    };
    plan.check().map_err(|err| wrong("constants", err.to_string()))
}

fn parse<T: shardpay_types::Codec>(key: &str, text: &str) -> Result<T, ConfigError> {
    let text = serde_json::Value::from(text);
    serde_json::from_value::<Hex<T>>(text).map(|value| value.0).map_err(|err| wrong(key, err.to_string()))
}

fn key(name: &str, text: &str) -> Result<PublicKey, ConfigError> {
    let key: PublicKey = parse(name, text)?;
    if !Zip215::new([0; 32], 1).key_acceptable(&key) {
        return Err(wrong(name, "no canonical ed25519 key, or a weak one"));
    }
    Ok(key)
}

/// One key per line; empty lines and what follows a `#` do not count.
fn allow_list(path: &Path) -> Result<Vec<PublicKey>, ConfigError> {
    let text = read("network.allow_list", path)?;
    let mut keys = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let name = format!("network.allow_list line {}", number + 1);
        let key = key(&name, line)?;
        if !seen.insert(key) {
            return Err(wrong(&name, "this key stands twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn token(path: &Path) -> Result<OperatorToken, ConfigError> {
    let text = read("operator.token_file", path)?;
    let text = text.trim();
    if text.len() < TOKEN_CHARS_MIN {
        return Err(wrong("operator.token_file", format!("the token has fewer than {TOKEN_CHARS_MIN} characters")));
    }
    Ok(OperatorToken::new(text))
}
