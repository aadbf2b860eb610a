//! What a node is told: a TOML file, overridden by environment variables, overridden by flags.
//!
//! One list of settings gives all three their names: `min_round_delay_ms` in the file is
//! `SHARDPAY_NODE_MIN_ROUND_DELAY_MS` in the environment and `--min-round-delay-ms` on the command line.
//! A wrong value names its key, and its line when it stands in the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shardpay_push::PushTargets;
use shardpay_runtime::RuntimeConfig;
use shardpay_storage::{Durability, StoreOptions};
use shardpay_types::{ChainId, NodeId};

/// Why a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, has an unknown key, or a value of the wrong type.
    #[error("configuration {path}: {detail}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Line, key and reason, as the parser tells.
        detail: String,
    },
    /// A value that cannot be.
    #[error("{key}{}: {why}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    BadValue {
        /// Which setting.
        key: &'static str,
        /// Where it stands, when it comes from the file.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $(#[arg($($arg:tt)*)])? $key:ident: $type:ty, $env:literal;)*) => {
        /// All settings, each given or not.
        #[derive(Debug, Clone, Default, PartialEq, clap::Args, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(#[doc = $doc])* #[arg(long, env = $env $(, $($arg)*)?)] pub $key: Option<$type>,)*
        }

        impl Settings {
            /// What is given here, and what `other` gives beside.
            pub fn or(self, other: Self) -> Self {
                Self { $($key: self.$key.or(other.$key),)* }
            }
        }

        /// The keys, in the order of the documentation.
        pub const KEYS: &[&str] = &[$(stringify!($key)),*];
    };
}

settings! {
    /// Directory of everything the node keeps.
    data_dir: PathBuf, "SHARDPAY_NODE_DATA_DIR";
    /// File with the secret key (64 hexadecimal digits, mode 0600); default: `key` in the data directory.
    key_file: PathBuf, "SHARDPAY_NODE_KEY_FILE";
    /// The signaler, such as http://127.0.0.1:7000.
    signaler: String, "SHARDPAY_NODE_SIGNALER";
    /// UDP address for nodes; port 0: any.
    listen_peers: SocketAddr, "SHARDPAY_NODE_LISTEN_PEERS";
    /// UDP address for clients; port 0: any.
    listen_clients: SocketAddr, "SHARDPAY_NODE_LISTEN_CLIENTS";
    /// Address told to other nodes; default: the one that is listened on, or, when that is all of them (0.0.0.0), the one
    /// from which the signaler is reached.
    advertise_peers: SocketAddr, "SHARDPAY_NODE_ADVERTISE_PEERS";
    /// Address told to clients; default: as for nodes.
    advertise_clients: SocketAddr, "SHARDPAY_NODE_ADVERTISE_CLIENTS";
    /// Control socket; default: `control.sock` in the data directory.
    control_socket: PathBuf, "SHARDPAY_NODE_CONTROL_SOCKET";
    /// `fsync`: survives a power loss. `os`: survives the process only.
    durability: String, "SHARDPAY_NODE_DURABILITY";
    /// Most MiB that the store gathers in memory before it writes tables.
    memtable_mb: usize, "SHARDPAY_NODE_MEMTABLE_MB";
    /// Whether tables are written past the page cache: less processor time, slower reads of what is new.
    direct_io: bool, "SHARDPAY_NODE_DIRECT_IO";
    /// What is logged: a level, or tracing's filter syntax.
    log: String, "SHARDPAY_NODE_LOG";
    /// Threads for the network.
    network_threads: usize, "SHARDPAY_NODE_NETWORK_THREADS";
    /// Threads that verify what peers send.
    peer_lanes: usize, "SHARDPAY_NODE_PEER_LANES";
    /// Threads that verify what clients send.
    client_lanes: usize, "SHARDPAY_NODE_CLIENT_LANES";
    /// Least time between two own blocks under load, in ms.
    min_round_delay_ms: u64, "SHARDPAY_NODE_MIN_ROUND_DELAY_MS";
    /// First leader timeout, in ms.
    leader_timeout_ms: u64, "SHARDPAY_NODE_LEADER_TIMEOUT_MS";
    /// Time between two heartbeats to the committee, in ms.
    heartbeat_ms: u64, "SHARDPAY_NODE_HEARTBEAT_MS";
    /// Time between two heartbeats to the signaler, in ms.
    report_ms: u64, "SHARDPAY_NODE_REPORT_MS";
    /// Time between two snapshots of the metrics, in ms; 0: none.
    telemetry_ms: u64, "SHARDPAY_NODE_TELEMETRY_MS";
    /// Write endpoints that get the metrics as well: a list of tables with url, org, bucket, token_file and
    /// precision; here words such as http://127.0.0.1:8086?org=o&bucket=b&token_file=/etc/token.
    telemetry_push: PushTargets, "SHARDPAY_NODE_TELEMETRY_PUSH";
    /// Transactions the mempool holds at most.
    mempool_max: usize, "SHARDPAY_NODE_MEMPOOL_MAX";
    /// Client transactions between socket and mempool at most; above it clients are told to wait.
    client_transactions_max: usize, "SHARDPAY_NODE_CLIENT_TRANSACTIONS_MAX";
    /// Connections from one address on the client port at most.
    client_connections_per_address: usize, "SHARDPAY_NODE_CLIENT_CONNECTIONS_PER_ADDRESS";
    /// For experiments: the node's clock is ahead of the system's by so much, in ms; below zero: behind.
    #[arg(allow_negative_numbers = true)]
    clock_skew_ms: i64, "SHARDPAY_NODE_CLOCK_SKEW_MS";
    /// For experiments: a JSON file with the clock's skew and the shapes of links, taken over whenever it changes.
    conditions: PathBuf, "SHARDPAY_NODE_CONDITIONS";
}

/// A complete configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of everything the node keeps.
    pub data_dir: PathBuf,
    /// The secret key's file.
    pub key_file: PathBuf,
    /// The signaler.
    pub signaler: String,
    /// Listening address for nodes.
    pub listen_peers: SocketAddr,
    /// Listening address for clients.
    pub listen_clients: SocketAddr,
    /// Told to nodes instead.
    pub advertise_peers: Option<SocketAddr>,
    /// Told to clients instead.
    pub advertise_clients: Option<SocketAddr>,
    /// The control socket.
    pub control_socket: PathBuf,
    /// What a sync promises.
    pub durability: Durability,
    /// Most MiB of tables in memory.
    pub memtable_mb: usize,
    /// Whether tables pass the page cache by.
    pub direct_io: bool,
    /// What is logged.
    pub log: String,
    /// Threads for the network.
    pub network_threads: usize,
    /// Threads that verify for peers.
    pub peer_lanes: usize,
    /// Threads that verify for clients.
    pub client_lanes: usize,
    /// Least time between two own blocks.
    pub min_round_delay: Duration,
    /// First leader timeout.
    pub leader_timeout: Duration,
    /// Between heartbeats to the committee.
    pub heartbeat: Duration,
    /// Between heartbeats to the signaler.
    pub report: Duration,
    /// Between snapshots of the metrics.
    pub telemetry: Option<Duration>,
    /// Who else gets them.
    pub telemetry_push: PushTargets,
    /// Most transactions in the mempool.
    pub mempool_max: usize,
    /// Most client transactions between socket and mempool.
    pub client_transactions_max: usize,
    /// Most client connections from one address.
    pub client_connections_per_address: Option<usize>,
    /// Milliseconds that the clock is ahead of the system's.
    pub clock_skew_ms: i64,
    /// The file of what experiments do to it.
    pub conditions: Option<PathBuf>,
}

/// Longest path of a Unix socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Reads settings from `file` if there is one, under those `given`.
pub fn load(given: Settings, file: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = file else { return resolve(given, "") };
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let settings: Settings = toml::from_str(&text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        detail: error.to_string().trim_end().to_owned(),
    })?;
    resolve(given.or(settings), &text)
}

/// A setting's checks, which know where it stands.
struct Checks<'a> {
    text: &'a str,
}

impl Checks<'_> {
    fn bad(&self, key: &'static str, why: impl Into<String>) -> ConfigError {
        let stands = |line: &&str| line.split('=').next().is_some_and(|name| name.trim() == key);
        let line = self.text.lines().position(|line| stands(&line)).map(|at| at + 1);
        ConfigError::BadValue { key, line, why: why.into() }
    }

    fn within(
        &self,
        key: &'static str,
        value: Option<u64>,
        default: u64,
        range: (u64, u64),
    ) -> Result<u64, ConfigError> {
        let value = value.unwrap_or(default);
        let (min, max) = range;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(self.bad(key, format!("{value} is not within {min}..={max}")))
    }

    fn ms(
        &self,
        key: &'static str,
        value: Option<u64>,
        default: u64,
        range: (u64, u64),
    ) -> Result<Duration, ConfigError> {
        self.within(key, value, default, range).map(Duration::from_millis)
    }

    fn count(
        &self,
        key: &'static str,
        value: Option<usize>,
        default: usize,
        range: (u64, u64),
    ) -> Result<usize, ConfigError> {
        self.within(key, value.map(|value| value as u64), default as u64, range).map(|value| value as usize)
    }
}

fn resolve(settings: Settings, text: &str) -> Result<Config, ConfigError> {
    let checks = Checks { text };
    let missing = |key| checks.bad(key, "is not set");
    let data_dir = settings.data_dir.ok_or_else(|| missing("data_dir"))?;
    let signaler = settings.signaler.ok_or_else(|| missing("signaler"))?;
    let control_socket = settings.control_socket.unwrap_or_else(|| data_dir.join("control.sock"));
    if control_socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let why = format!("{} is longer than a Unix socket's path may be", control_socket.display());
        return Err(checks.bad("control_socket", why));
    }
    let durability = match settings.durability.as_deref() {
        None | Some("fsync") => Durability::Fsync,
        Some("os") => Durability::Os,
        Some(other) => return Err(checks.bad("durability", format!("{other:?} is neither \"fsync\" nor \"os\""))),
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let lanes = (cores() / 2).clamp(1, 8);
    let telemetry_ms = checks.within("telemetry_ms", settings.telemetry_ms, 1_000, (0, 3_600_000))?;
    Ok(Config {
        key_file: settings.key_file.unwrap_or_else(|| data_dir.join("key")),
        data_dir,
        signaler,
        listen_peers: settings.listen_peers.unwrap_or(any),
        listen_clients: settings.listen_clients.unwrap_or(any),
        advertise_peers: settings.advertise_peers,
        advertise_clients: settings.advertise_clients,
        control_socket,
        durability,
        memtable_mb: checks.count("memtable_mb", settings.memtable_mb, 32, (1, 65_536))?,
        direct_io: settings.direct_io.unwrap_or(false),
        log: settings.log.unwrap_or_else(|| "info".to_owned()),
        network_threads: checks.count("network_threads", settings.network_threads, lanes.min(2), (1, 64))?,
        peer_lanes: checks.count("peer_lanes", settings.peer_lanes, lanes, (1, 64))?,
        client_lanes: checks.count("client_lanes", settings.client_lanes, lanes, (1, 64))?,
        min_round_delay: checks.ms("min_round_delay_ms", settings.min_round_delay_ms, 12, (0, 10_000))?,
        leader_timeout: checks.ms("leader_timeout_ms", settings.leader_timeout_ms, 500, (10, 10_000))?,
        heartbeat: checks.ms("heartbeat_ms", settings.heartbeat_ms, 3_000, (50, 60_000))?,
        report: checks.ms("report_ms", settings.report_ms, 2_000, (100, 60_000))?,
        telemetry: (telemetry_ms > 0).then(|| Duration::from_millis(telemetry_ms)),
        telemetry_push: settings.telemetry_push.unwrap_or_default(),
        mempool_max: checks.count("mempool_max", settings.mempool_max, 100_000, (1, 10_000_000))?,
        client_transactions_max: checks.count(
            "client_transactions_max",
            settings.client_transactions_max,
            32_768,
            (1, 1_000_000),
        )?,
        client_connections_per_address: settings.client_connections_per_address,
        clock_skew_ms: settings.clock_skew_ms.unwrap_or(0),
        conditions: settings.conditions,
    })
}

/// Processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Config {
    /// The pipeline's configuration for the node `own` of `chain`.
    pub fn runtime(&self, own: NodeId, chain: ChainId, hash_seed: u64) -> RuntimeConfig {
        let mut config = RuntimeConfig::standard(own, chain, cores());
        (config.peer_lanes, config.client_lanes) = (self.peer_lanes, self.client_lanes);
        config.limits.client_transactions = self.client_transactions_max;
        let replica = &mut config.replica;
        replica.hash_seed = hash_seed;
        replica.heartbeat = self.heartbeat;
        replica.consensus.min_round_delay = self.min_round_delay;
        replica.consensus.leader_timeout = self.leader_timeout;
        replica.mempool.count_max = self.mempool_max;
        config
    }

    /// The options of the store of the node `own`.
    pub fn store(&self, own: NodeId) -> StoreOptions {
        StoreOptions {
            phase: phase(own),
            memtable_bytes: self.memtable_mb << 20,
            direct_io: self.direct_io,
            ..StoreOptions::standard(self.durability)
        }
    }
}

/// Multiples of the golden ratio: however many members a committee has, and committees a machine, their phases are far
/// apart.
fn phase(node: NodeId) -> f64 {
    let number = node.member.index() + 7 * node.committee.index();
    (number as f64 * 0.618_034).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).expect("written");
        load(Settings::default(), Some(&path))
    }

    fn complaint(text: &str) -> String {
        parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn two_settings_are_enough() {
        let config = parse("data_dir = '/tmp/n'\nsignaler = 'http://127.0.0.1:7000'\n").expect("complete");
        assert_eq!(config.key_file, Path::new("/tmp/n/key"));
        assert_eq!(config.durability, Durability::Fsync);
        assert_eq!(config.telemetry, Some(Duration::from_secs(1)));
    }

    #[test]
    fn errors_name_key_and_line() {
        let base = "data_dir = '/tmp/n'\nsignaler = 'http://127.0.0.1:7000'\n";
        assert_eq!(complaint("signaler = 'x'"), "data_dir: is not set");
        let text = complaint(&format!("{base}durability = 'maybe'\n"));
        assert_eq!(text, "durability (line 3): \"maybe\" is neither \"fsync\" nor \"os\"");
        let text = complaint(&format!("{base}\nmin_round_delay_ms = 10001\n"));
        assert_eq!(text, "min_round_delay_ms (line 4): 10001 is not within 0..=10000");
        for (line, key) in [("colour = 1", "colour"), ("listen_peers = 'here'", "listen_peers")] {
            let text = complaint(&format!("{base}{line}\n"));
            assert!(text.contains("line 3") && text.contains(key), "{text}");
        }
        let text = complaint(&format!("{base}telemetry_push = [{{ url = 'http://h', colour = 1 }}]\n"));
        assert!(text.contains("line 3") && text.contains("colour"), "{text}");
        let deep = "x".repeat(120);
        assert!(complaint(&format!("data_dir = '/{deep}'\nsignaler = 'x'")).starts_with("control_socket: "));
    }

    #[test]
    fn what_is_given_wins() {
        let given = Settings { peer_lanes: Some(3), ..Settings::default() };
        let file = Settings { peer_lanes: Some(1), client_lanes: Some(2), ..Settings::default() };
        let both = given.or(file);
        assert_eq!((both.peer_lanes, both.client_lanes), (Some(3), Some(2)));
    }

    #[test]
    fn members_have_phases_of_their_own() {
        use shardpay_types::{CommitteeId, MemberIndex};
        for (members, apart) in [(4, 0.14), (7, 0.09), (10, 0.05)] {
            let phase = |member| phase(NodeId { committee: CommitteeId::at(3), member: MemberIndex::at(member) });
            let mut phases: Vec<f64> = (0..members).map(phase).collect();
            phases.sort_by(f64::total_cmp);
            let around = phases.iter().skip(1).copied().chain([phases[0] + 1.0]);
            let least = phases.iter().zip(around).map(|(one, next)| next - one).fold(f64::MAX, f64::min);
            assert!(least > apart, "{members} members: {least}");
        }
    }
}
