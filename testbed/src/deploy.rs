//! Everything a cluster needs before its first process starts: keys, allow-list, configurations, ports.
//!
//! Guarantees: nothing is started here, and a run directory that holds a run already is left alone. Keys
//! are drawn new for each cluster; the allow-list has them in the order of their places, so member m of
//! committee c is the node whose directory is `nodes/<c>-<m>`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use shardpay_crypto::{Keypair, Signer as _};
use shardpay_run::{RunDir, Spec, write_whole};
use shardpay_types::{CommitteeId, MemberIndex, NodeId, PublicKey};
use thiserror::Error;

use crate::backend::Launch;
use crate::byzantine;
use crate::conditions::{self, Conditions};
use crate::demo::{self, Demo};
use crate::docker::{DockerError, Subnet};
use crate::places::Places;
use crate::ports::NoPorts;
use crate::server::Server;

/// Free MiB below which no run begins.
const ROOM_MB_MIN: u64 = 200;
/// Longest path that a Unix socket can have.
const SOCKET_PATH_MAX: usize = 107;

/// Why a cluster cannot be prepared.
#[derive(Debug, Error)]
pub enum DeployError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory is in use.
    #[error("{} holds a run already; choose another --out, or remove it", path.display())]
    Occupied {
        /// Which one.
        path: PathBuf,
    },
    /// The disk is full, or nearly.
    #[error(
        "{} has {free_mb} MB free, and a run needs at least {ROOM_MB_MIN}: free some, or choose another --out",
        path.display()
    )]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// MiB that are left.
        free_mb: u64,
    },
    /// A program was not built.
    #[error(
        "{} is missing: build everything with 'cargo build --release --workspace --bins', or say with --programs \
         where it lies",
        path.display()
    )]
    Program {
        /// Where it should be.
        path: PathBuf,
    },
    /// The run directory writes by its own rules.
    #[error(transparent)]
    Run(#[from] shardpay_run::RunError),
    /// No ports.
    #[error(transparent)]
    Ports(#[from] NoPorts),
    /// No network for containers.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// No randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> DeployError + use<> {
    let path = path.to_owned();
    |source| DeployError::Io { path, source }
}

/// A cluster ready to be started.
#[derive(Debug)]
pub struct Deployment {
    /// Its run directory, with an absolute path.
    pub dir: RunDir,
    /// URL of its signaler.
    pub signaler: String,
    /// How the signaler and the nodes are started.
    pub launches: Vec<Launch>,
    /// The issuer's seed.
    pub issuer_seed: PathBuf,
    /// URL of the demo app, when there is one.
    pub demo: Option<String>,
    /// The network of its containers; absent when its servers are local processes.
    pub subnet: Option<Subnet>,
}

/// What is prepared beside signaler and nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A demo app, to which all servers push.
    pub demo: bool,
    /// Nodes that follow their conditions, whether or not the spec changes any.
    pub by_hand: bool,
    /// Servers that a scheduler places: they listen everywhere.
    pub stack: bool,
}

/// Writes keys and configurations of `spec` into `root`.
pub fn deploy(spec: &Spec, root: &Path, programs: &Path, wanted: Wanted) -> Result<Deployment, DeployError> {
    let with_demo = wanted.demo;
    check_room(root)?;
    byzantine::check_program(spec, programs)?;
    let always = [Server::Signaler, Server::Loadgen(0), Server::node(0, 0).expect("the first node")];
    for server in always.into_iter().chain(with_demo.then_some(Server::Demo)) {
        let path = programs.join(server.program());
        if !path.is_file() {
            return Err(DeployError::Program { path });
        }
    }
    let dir = make_dir(root)?;
    let issuer_seed = dir.root().join("issuer.seed");
    let issuer = new_key(&issuer_seed)?;
    let mut start = [0; 2];
    getrandom::fill(&mut start).map_err(DeployError::Random)?;
    let start = u16::from_le_bytes(start);
    let mut places = if wanted.stack { Places::Anywhere } else { Places::find(spec, start)? };

    let listen = places.signaler()?;
    let signaler = format!("http://{listen}");
    let mut launches = vec![signaler_launch(&dir, programs)];
    let mut demo = None;
    if with_demo {
        let page = Demo::prepare(&dir, places.demo()?)?;
        launches.push(page.launch(&dir, programs));
        demo = Some(page);
    }
    let push = demo.as_ref().map(Demo::push);
    let told = places.signaler_url(&signaler);
    let conditions = wanted.by_hand || conditions::are_needed(spec);
    let mut allowed = String::new();
    for node in nodes(spec) {
        let data_dir = dir.node(node);
        fs::create_dir_all(&data_dir).map_err(failed(&data_dir))?;
        let key = new_key(&data_dir.join("key"))?;
        allowed.push_str(&format!("{key}  # {}\n", Server::Node(node)));
        let (peers, clients) = places.node(node)?;
        let settings = NodeSettings { signaler: &told, peers, clients, push: push.as_ref(), conditions };
        write_whole(&dir.node_config(node), node_config(spec, &data_dir, &settings).as_bytes())?;
        launches.push(byzantine::bend(spec, &dir, node, node_launch(&dir, node, programs)));
    }
    byzantine::write_forks(spec, &dir, &mut places)?;
    if conditions {
        Conditions::new(&dir, spec).begin()?;
    }
    write_signaler(spec, &dir, SignalerSettings { listen, issuer: &issuer, push: push.as_ref() }, &allowed)?;
    write_whole(&dir.spec(), spec.to_toml().as_bytes())?;
    let demo = demo.map(|page| page.url());
    Ok(Deployment { dir, signaler, launches, issuer_seed, demo, subnet: places.subnet() })
}

/// All nodes of a spec, by committee.
pub fn nodes(spec: &Spec) -> impl Iterator<Item = NodeId> + use<> {
    let members = spec.nodes_per_committee;
    let node = move |index: usize| NodeId {
        committee: CommitteeId::at(index / members),
        member: MemberIndex::at(index % members),
    };
    (0..spec.committees * members).map(node)
}

/// How a load generator of this cluster is started.
pub fn loadgen_launch(deployment: &Deployment, spec: &Spec, process: usize, programs: &Path) -> Launch {
    let Deployment { dir, signaler, issuer_seed, .. } = deployment;
    let path = |path: &Path| path.display().to_string();
    let share = format!("{process}/{}", spec.load.processes);
    let args = [
        ("--topology", signaler.clone()),
        ("--spec", path(&dir.spec())),
        ("--out", path(dir.root())),
        ("--process", share),
        ("--issuer-seed", path(issuer_seed)),
        ("--progress", "json".to_owned()),
    ];
    let push = deployment.demo.as_ref().map(|url| ("--telemetry-push", demo::push_word(url, dir)));
    let args = args.into_iter().chain(push).flat_map(|(flag, value)| [flag.to_owned(), value]);
    Launch {
        server: Server::Loadgen(process),
        program: programs.join("loadgen"),
        args: ["run".to_owned()].into_iter().chain(args).collect(),
        log: dir.loadgen_process(process).join("log"),
        output: Some(progress_file(dir, process)),
        store: None,
    }
}

/// Where a load generator tells how far it is.
pub fn progress_file(dir: &RunDir, process: usize) -> PathBuf {
    dir.loadgen_process(process).join("progress.jsonl")
}

/// Refuses to begin where a run cannot end.
fn check_room(root: &Path) -> Result<(), DeployError> {
    let there = root.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("."));
    // a file system that does not say has room as far as is known
    let Ok(found) = rustix::fs::statvfs(there) else { return Ok(()) };
    let free_mb = found.f_bavail.saturating_mul(found.f_frsize) >> 20;
    if free_mb < ROOM_MB_MIN {
        return Err(DeployError::NoRoom { path: there.to_owned(), free_mb });
    }
    Ok(())
}

/// An empty or new directory, by its absolute path.
fn make_dir(root: &Path) -> Result<RunDir, DeployError> {
    fs::create_dir_all(root).map_err(failed(root))?;
    let root = root.canonicalize().map_err(failed(root))?;
    if fs::read_dir(&root).map_err(failed(&root))?.next().is_some() {
        return Err(DeployError::Occupied { path: root });
    }
    Ok(RunDir::new(root))
}

/// Draws a secret key into a file that only its owner reads.
fn new_key(path: &Path) -> Result<PublicKey, DeployError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(DeployError::Random)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", hex::encode(seed))
    };
    write().map_err(failed(path))?;
    Ok(Keypair::from_seed(&seed).public_key())
}

/// What the signaler's configuration says beside the spec.
struct SignalerSettings<'a> {
    listen: SocketAddr,
    issuer: &'a PublicKey,
    push: Option<&'a toml::Value>,
}

fn write_signaler(spec: &Spec, dir: &RunDir, settings: SignalerSettings<'_>, allowed: &str) -> Result<(), DeployError> {
    let SignalerSettings { listen, issuer, push } = settings;
    let own = dir.signaler();
    write_whole(&own.join("allow-list"), allowed.as_bytes())?;
    let network = toml::toml! { allow_list = "allow-list" };
    let mut network = network;
    network.insert("committees".into(), integer(spec.committees));
    network.insert("members".into(), integer(spec.nodes_per_committee));
    network.insert("issuer".into(), issuer.to_string().into());
    let mut config = toml::Table::new();
    config.insert("listen".into(), listen.to_string().into());
    config.insert("data_dir".into(), "data".into());
    config.insert("network".into(), network.into());
    if spec.load.payload > 0 {
        let constants = toml::Table::from_iter([("opaque_bytes_max".to_owned(), integer(spec.load.payload))]);
        config.insert("constants".into(), constants.into());
    }
    if let Some(push) = push {
        config.insert("telemetry".into(), toml::Table::from_iter([("push".to_owned(), push.clone())]).into());
    }
    Ok(write_whole(&own.join("config.toml"), config.to_string().as_bytes())?)
}

fn signaler_launch(dir: &RunDir, programs: &Path) -> Launch {
    let own = dir.signaler();
    let config = own.join("config.toml").display().to_string();
    Launch {
        server: Server::Signaler,
        program: programs.join("signaler"),
        args: vec!["run".to_owned(), "--config".to_owned(), config],
        log: own.join("log"),
        output: None,
        store: Some(own.join("data")),
    }
}

fn node_launch(dir: &RunDir, node: NodeId, programs: &Path) -> Launch {
    let config = dir.node_config(node).display().to_string();
    Launch {
        server: Server::Node(node),
        program: programs.join("node"),
        args: vec!["run".to_owned(), "--config".to_owned(), config],
        log: dir.node_log(node),
        output: None,
        store: Some(dir.node_store(node)),
    }
}

/// Where a node listens and whom it asks.
struct NodeSettings<'a> {
    signaler: &'a str,
    peers: SocketAddr,
    clients: SocketAddr,
    push: Option<&'a toml::Value>,
    /// Whether it follows a file of conditions.
    conditions: bool,
}

/// What the spec says of every node.
pub(crate) fn node_settings(spec: &Spec) -> toml::Table {
    let mut config = toml::Table::new();
    let mut set = |key: &str, value: toml::Value| config.insert(key.to_owned(), value);
    set("durability", spec.durability.name().into());
    set("log", spec.node.log.clone().into());
    set("network_threads", integer(spec.node.tokio_workers));
    set("peer_lanes", integer(spec.node.lanes));
    set("client_lanes", integer(spec.node.lanes));
    set("memtable_mb", integer(spec.node.memtable_mb));
    set("direct_io", spec.node.direct_io.into());
    set("min_round_delay_ms", toml::Value::Integer(i64::try_from(spec.node.min_round_delay_ms).unwrap_or(i64::MAX)));
    config
}

fn node_config(spec: &Spec, data_dir: &Path, settings: &NodeSettings<'_>) -> String {
    let mut config = node_settings(spec);
    let mut set = |key: &str, value: toml::Value| config.insert(key.to_owned(), value);
    set("data_dir", data_dir.display().to_string().into());
    set("signaler", settings.signaler.into());
    set("listen_peers", settings.peers.to_string().into());
    set("listen_clients", settings.clients.to_string().into());
    if let Some(push) = settings.push {
        set("telemetry_push", push.clone());
    }
    if settings.conditions {
        set("conditions", data_dir.join("conditions.json").display().to_string().into());
    }
    if data_dir.join("control.sock").as_os_str().len() > SOCKET_PATH_MAX {
        // a path that is short and belongs to this node only: its client port is nobody else's
        let name = format!("shardpay-{}.sock", settings.clients.port());
        set("control_socket", std::env::temp_dir().join(name).display().to_string().into());
    }
    config.to_string()
}

fn integer(value: usize) -> toml::Value {
    toml::Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn programs(dir: &Path) -> PathBuf {
        let programs = dir.join("bin");
        fs::create_dir_all(&programs).unwrap();
        for name in ["node", "signaler", "loadgen"] {
            fs::write(programs.join(name), "").unwrap();
        }
        programs
    }

    fn spec() -> Spec {
        let text = "name = 't'\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 5\ndurability = 'os'";
        Spec::parse("t.toml", text, &[]).unwrap()
    }

    #[test]
    fn every_node_gets_a_key_a_place_and_ports_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let deployment = deploy(&spec(), &dir.path().join("run"), &programs(dir.path()), Wanted::default()).unwrap();
        assert_eq!(deployment.launches.len(), 9);
        let run = &deployment.dir;
        let allowed = fs::read_to_string(run.signaler().join("allow-list")).unwrap();
        let mut addresses = std::collections::BTreeSet::new();
        for (node, line) in nodes(&spec()).zip(allowed.lines()) {
            let key = run.node(node).join("key");
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
            let mut seed = [0; 32];
            hex::decode_to_slice(fs::read_to_string(&key).unwrap().trim(), &mut seed).unwrap();
            let public = Keypair::from_seed(&seed).public_key();
            assert_eq!(line, format!("{public}  # {}", Server::Node(node)));
            let config: toml::Table = fs::read_to_string(run.node_config(node)).unwrap().parse().unwrap();
            assert_eq!(config["durability"].as_str(), Some("os"));
            for key in ["listen_peers", "listen_clients"] {
                assert!(addresses.insert(config[key].as_str().unwrap().to_owned()));
            }
        }
        let read = Spec::load(&run.spec(), &[]).unwrap();
        assert_eq!(read, spec());
    }

    #[test]
    fn a_run_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let programs = programs(dir.path());
        let out = dir.path().join("run");
        deploy(&spec(), &out, &programs, Wanted::default()).unwrap();
        assert!(matches!(deploy(&spec(), &out, &programs, Wanted::default()), Err(DeployError::Occupied { .. })));
    }

    #[test]
    fn a_missing_program_is_named_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let programs = programs(dir.path());
        fs::remove_file(programs.join("signaler")).unwrap();
        let error = deploy(&spec(), &dir.path().join("run"), &programs, Wanted::default()).unwrap_err();
        assert!(error.to_string().contains("bin/signaler is missing: build everything"), "{error}");
        assert!(!dir.path().join("run").exists());
    }

    #[test]
    fn a_deep_directory_gets_a_short_control_socket() {
        let settings = NodeSettings {
            signaler: "http://127.0.0.1:7000",
            peers: "127.0.0.1:1".parse().unwrap(),
            clients: "127.0.0.1:2".parse().unwrap(),
            push: None,
            conditions: false,
        };
        let deep = format!("/{}", "x".repeat(120));
        let config: toml::Table = node_config(&spec(), Path::new(&deep), &settings).parse().unwrap();
        assert!(config["control_socket"].as_str().unwrap().ends_with("shardpay-2.sock"));
        let short: toml::Table = node_config(&spec(), Path::new("/run"), &settings).parse().unwrap();
        assert!(!short.contains_key("control_socket"));
    }
}
