//! Timelines against a back end that only notes what it was asked.

use std::collections::BTreeMap;

use shardpay_run::Spec;

use super::*;
use crate::backend::{Ended, Launch, State};
use crate::procfs::Usage;

#[derive(Default)]
struct Noted {
    asked: Vec<String>,
    states: BTreeMap<Server, State>,
    /// How many looks it takes until a killed process has ended.
    slow: usize,
}

fn killed() -> State {
    State::Ended(Ended { clean: false, how: "killed".to_owned() })
}

impl Backend for Noted {
    fn start(&mut self, launch: &Launch) -> Result<(), BackendError> {
        self.asked.push(format!("start {}", launch.server));
        self.states.insert(launch.server, State::Running);
        Ok(())
    }

    fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError> {
        if !matches!(self.states.get(&server), Some(State::Running | State::Paused)) {
            return Err(BackendError::NotRunning { server, action: action.name() });
        }
        self.asked.push(format!("{} {server}", action.name()));
        let state = match action {
            Action::Kill | Action::Stop if self.slow > 0 => State::Running,
            Action::Kill | Action::Stop => killed(),
            Action::Pause => State::Paused,
            Action::Resume | Action::Disconnect | Action::Connect | Action::CpuShare(_) => State::Running,
        };
        self.states.insert(server, state);
        Ok(())
    }

    fn state(&mut self, server: Server) -> State {
        if self.slow > 0 {
            self.slow -= 1;
            if self.slow == 0 {
                self.states.insert(server, killed());
            }
        }
        self.states.get(&server).cloned().unwrap_or(State::Absent)
    }

    fn usage(&self, _: Server) -> Option<Usage> {
        None
    }
}

fn setup(faults: &str) -> (Faults, Cluster<Noted>, tempfile::TempDir) {
    let text = format!("name = 't'\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 60\n{faults}");
    let spec = Spec::parse("t.toml", &text, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let servers: Vec<Server> = (0..8).map(|index| Server::node(index / 4, index % 4).unwrap()).collect();
    let launch = |server: &Server| Launch {
        server: *server,
        program: "node".into(),
        args: Vec::new(),
        log: dir.path().join(server.to_string()),
        output: None,
        store: Some(dir.path().join("nodes").join(server.to_string()).join("store")),
    };
    for server in &servers {
        std::fs::create_dir_all(dir.path().join("nodes").join(server.to_string()).join("store")).unwrap();
    }
    let conditions = Conditions::new(&shardpay_run::RunDir::new(dir.path()), &spec);
    conditions.begin().unwrap();
    let launches = servers.iter().map(launch).collect();
    let mut cluster = Cluster::new(Noted::default(), launches, &dir.path().join("resources.csv")).unwrap();
    for server in servers {
        cluster.start(server).unwrap();
    }
    cluster.backend().asked.clear();
    (Faults::new(&spec.timeline(), conditions), cluster, dir)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_kill_is_followed_by_a_restart() {
    let (mut faults, mut cluster, _dir) = setup(
        "[[faults]]\nat_s = 10\naction = 'kill'\nnodes = '*-f'\ndown_s = 5\nrepeat = { every_s = 20, times = 2 }",
    );
    assert!(faults.advance(seconds(9), &mut cluster).unwrap().is_empty());
    assert_eq!(faults.advance(seconds(10), &mut cluster).unwrap(), ["kill 0-0", "kill 1-0"]);
    assert_eq!(cluster.unexpected_ends(), [], "a killed node is no surprise");
    assert_eq!(faults.advance(seconds(15), &mut cluster).unwrap(), ["restart 0-0", "restart 1-0"]);
    assert_eq!(faults.advance(seconds(36), &mut cluster).unwrap().len(), 4, "what is late is done at once");
    assert!(faults.is_done());
    let asked = cluster.backend().asked.clone();
    assert_eq!(asked[..4], ["kill 0-0", "kill 1-0", "start 0-0", "start 1-0"]);
    assert_eq!(asked[4..], ["kill 0-1", "kill 1-1", "start 0-1", "start 1-1"]);
}

#[test]
fn a_restart_waits_until_the_killed_process_has_ended() {
    let (mut faults, mut cluster, _dir) = setup("[[faults]]\nat_s = 1\naction = 'restart'\nnodes = '1-2'");
    cluster.backend().slow = 4;
    faults.advance(seconds(1), &mut cluster).unwrap();
    assert_eq!(cluster.backend().asked, ["kill 1-2"]);
    assert!(!faults.is_done());
    for _ in 0..4 {
        faults.advance(seconds(1), &mut cluster).unwrap();
    }
    assert_eq!(cluster.backend().asked, ["kill 1-2", "start 1-2"]);
    assert!(faults.is_done());
}

#[test]
fn pauses_and_whole_committees() {
    let (mut faults, mut cluster, _dir) = setup(
        "[[faults]]\nat_s = 1\naction = 'pause'\nnodes = '0-3'\ndown_s = 1\n\
         [[faults]]\nat_s = 3\naction = 'stop-committee'\nnodes = '1-*'\ndown_s = 10\n\
         [[faults]]\nat_s = 4\naction = 'kill'\nnodes = '1-0'",
    );
    faults.advance(seconds(20), &mut cluster).unwrap();
    let asked = cluster.backend().asked.clone();
    assert_eq!(asked[..2], ["pause 0-3", "resume 0-3"]);
    assert_eq!(asked[2..6], ["kill 1-0", "kill 1-1", "kill 1-2", "kill 1-3"]);
    assert_eq!(asked[6..], ["start 1-0", "start 1-1", "start 1-2", "start 1-3"]);
}

#[test]
fn a_server_that_ends_by_itself_is_found_once() {
    let (_, mut cluster, _dir) = setup("");
    let server = Server::node(0, 2).unwrap();
    cluster.backend().states.insert(server, State::Ended(Ended { clean: false, how: "exit code 3".to_owned() }));
    let found = cluster.unexpected_ends();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].server, found[0].how.as_str()), (server, "exit code 3"));
    assert_eq!(cluster.unexpected_ends(), []);
}

#[test]
fn a_wiped_disk_is_empty_before_the_node_starts_again() {
    let (mut faults, mut cluster, dir) = setup("[[faults]]\nat_s = 1\naction = 'wipe-disk'\nnodes = '0-1'\ndown_s = 1");
    let store = dir.path().join("nodes/0-1/store/1.sst");
    std::fs::write(&store, "x").unwrap();
    cluster.backend().slow = 6;
    faults.advance(seconds(1), &mut cluster).unwrap();
    faults.advance(seconds(2), &mut cluster).unwrap();
    assert!(store.exists() && !cluster.backend().asked.contains(&"start 0-1".to_owned()), "it has not ended yet");
    for _ in 0..8 {
        faults.advance(seconds(2), &mut cluster).unwrap();
    }
    assert!(!store.exists() && faults.is_done());
    assert_eq!(cluster.backend().asked.last().map(String::as_str), Some("start 0-1"));
}

#[test]
fn a_full_disk_may_end_a_node_which_then_starts_again() {
    let (mut faults, mut cluster, dir) =
        setup("node.disk_mb = 16\n[[faults]]\nat_s = 1\naction = 'free-disk'\nnodes = '0-1'");
    let server = Server::node(0, 1).unwrap();
    std::fs::write(dir.path().join("nodes/0-1/store/filler"), "x").unwrap();
    cluster.may_end(server);
    cluster.backend().states.insert(server, killed());
    assert_eq!(cluster.unexpected_ends(), [], "for lack of room");
    assert_eq!(faults.advance(seconds(1), &mut cluster).unwrap(), ["free-disk 0-1"]);
    assert_eq!(cluster.backend().asked, ["start 0-1"]);
    assert!(!dir.path().join("nodes/0-1/store/filler").exists());
}

#[test]
fn clocks_links_shares_and_networks() {
    let (mut faults, mut cluster, dir) = setup(
        "backend = 'docker'\n\
         [[faults]]\nat_s = 1\naction = 'skew-clock'\nnodes = '0-1'\nskew_ms = 2000\ndown_s = 9\n\
         [[faults]]\nat_s = 2\naction = 'cut'\nnodes = '0-0,1'\nto = '0-2'\nboth_ways = true\ndown_s = 7\n\
         [[faults]]\nat_s = 3\naction = 'disconnect'\nnodes = '1-0'\ndown_s = 1\n\
         [[faults]]\nat_s = 5\naction = 'throttle'\nnodes = '1-1'\ncpu_share = 0.1\ndown_s = 1",
    );
    let told =
        |node: &str| std::fs::read_to_string(dir.path().join("nodes").join(node).join("conditions.json")).unwrap();
    faults.advance(seconds(8), &mut cluster).unwrap();
    assert_eq!(cluster.backend().asked, ["disconnect 1-0", "connect 1-0", "throttle 1-1", "throttle 1-1"]);
    assert!(told("0-1").contains("2000") && told("0-1").contains("0-2"), "{}", told("0-1"));
    assert!(told("0-2").contains("0-0") && told("0-2").contains("0-1"), "{}", told("0-2"));
    faults.advance(seconds(10), &mut cluster).unwrap();
    assert!(faults.is_done());
    for node in ["0-0", "0-1", "0-2"] {
        assert!(!told(node).contains("loss") && !told(node).contains("2000"), "{}", told(node));
    }
}
