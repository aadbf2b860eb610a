//! Servers as containers, one each, on a network of their own.
//!
//! Containers are made by docker-compose from a file in the run directory ([`compose`]) and named
//! `<cluster>-<server>`; from then on they are started, killed and paused one by one. A client stays attached to each:
//! its output goes where a local process's would, and its exit code is the container's. What runs in a container is a
//! process of this machine as well, so what it uses is read from `/proc` as for local processes; the daemon must be
//! this machine's.
//!
//! Who drops a [`Docker`] removes the containers and the network; [`Docker::release`] leaves them. Both carry labels
//! with the cluster's name, by which a later testbed finds what a crashed one left.

pub mod compose;
mod daemon;
pub mod doctor;
mod image;
mod subnet;
mod tar;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use shardpay_run::{RunDir, write_whole};

use crate::backend::{Action, Backend, BackendError, Ended, Launch, State};
use crate::procfs::{ProcessId, Usage};
use crate::server::Server;
use compose::{LABEL_ADDRESS, LABEL_CLUSTER, LABEL_STATE, Plan, container};
use daemon::docker;

pub use daemon::DockerError;
pub use image::{Images, PROGRAMS, USER};
pub use subnet::Subnet;

/// A container, as far as it was looked at.
#[derive(Default)]
struct Contained {
    /// The attached client; absent when another testbed started the container.
    client: Option<Child>,
    /// Its process on this machine, once it is known.
    process: RefCell<Option<ProcessId>>,
    paused: bool,
}

/// The containers of a cluster.
pub struct Docker {
    cluster: String,
    servers: BTreeMap<Server, Contained>,
    released: bool,
}

impl Docker {
    /// Makes containers and network; nothing runs yet.
    pub fn create(plan: &Plan<'_>) -> Result<Self, DockerError> {
        let path = compose::file(plan.dir);
        let failed = |error: shardpay_run::RunError| DockerError::Image(error.to_string());
        write_whole(&path, plan.text()?.as_bytes()).map_err(failed)?;
        crate::grafana::write(&plan.dir.root().join("grafana")).map_err(failed)?;
        let file = path.display().to_string();
        let this = Self { cluster: plan.name.to_owned(), servers: BTreeMap::new(), released: false };
        daemon::ask("docker-compose", &["-p", plan.name, "-f", &file, "up", "--no-start", "--no-color"], None)?;
        Ok(this)
    }

    /// Takes over containers that somebody else started.
    pub fn adopt(cluster: &str, servers: impl IntoIterator<Item = Server>) -> Self {
        let servers = servers.into_iter().map(|server| (server, Contained::default())).collect();
        Self { cluster: cluster.to_owned(), servers, released: true }
    }

    /// The processes of the containers that run.
    pub fn ids(&self) -> BTreeMap<Server, ProcessId> {
        self.servers.keys().filter_map(|server| Some((*server, self.process(*server)?))).collect()
    }

    /// Lets the containers live on when this value is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Removes the containers and the network, whatever they do.
    pub fn kill_all(&mut self) {
        // what cannot be removed now stays labelled, and is removed by 'testbed down --all'
        let _ = remove(&format!("{LABEL_CLUSTER}={}", self.cluster));
        for contained in self.servers.values_mut() {
            if let Some(mut client) = contained.client.take() {
                let _ = client.wait();
            }
        }
    }

    fn name(&self, server: Server) -> String {
        container(&self.cluster, server)
    }

    /// What the daemon knows of a container.
    fn inspect(&self, server: Server, what: &str) -> Option<String> {
        docker(&["inspect", "--format", what, &self.name(server)]).ok()
    }

    /// Its process on this machine: asked for once, as it stays the same until the container is started again.
    fn process(&self, server: Server) -> Option<ProcessId> {
        let contained = self.servers.get(&server)?;
        if let Some(known) = *contained.process.borrow() {
            return Some(known);
        }
        let pid: i32 = self.inspect(server, "{{.State.Pid}}")?.parse().ok().filter(|pid| *pid > 0)?;
        let id = ProcessId::of(pid).ok()?;
        *contained.process.borrow_mut() = Some(id);
        Some(id)
    }

    /// The cluster's network.
    fn network(&self) -> Result<String, DockerError> {
        let filter = format!("label={LABEL_CLUSTER}={}", self.cluster);
        docker(&["network", "ls", "--quiet", "--filter", &filter])
    }

    fn disconnect(&self, server: Server) -> Result<(), BackendError> {
        let refused = |error| refused(server, "disconnect", error);
        let network = self.network().map_err(refused)?;
        docker(&["network", "disconnect", &network, &self.name(server)]).map(|_| ()).map_err(refused)
    }

    /// At the address it had: the others know no other.
    fn connect(&self, server: Server) -> Result<(), BackendError> {
        let refused = |error| refused(server, "connect", error);
        let network = self.network().map_err(refused)?;
        let address = format!("{{{{index .Config.Labels {LABEL_ADDRESS:?}}}}}");
        let address = docker(&["inspect", "--format", &address, &self.name(server)]).map_err(refused)?;
        let (alias, name) = (server.to_string(), self.name(server));
        let words = ["network", "connect", "--ip", &address, "--alias", &alias, &network, &name];
        docker(&words).map(|_| ()).map_err(refused)
    }

    fn share(&self, server: Server, share: f64) -> Result<(), BackendError> {
        let (period, quota) = if share > 0.0 {
            let (period, quota) = compose::cpu_quota(share);
            (period.to_string(), quota.to_string())
        } else {
            ("25000".to_owned(), "-1".to_owned())
        };
        self.command(&["update", "--cpu-period", &period, "--cpu-quota", &quota], server, "throttle")
    }

    fn command(&self, words: &[&str], server: Server, action: &'static str) -> Result<(), BackendError> {
        let name = self.name(server);
        let all: Vec<&str> = words.iter().copied().chain([name.as_str()]).collect();
        docker(&all).map(|_| ()).map_err(|error| refused(server, action, error))
    }
}

fn refused(server: Server, action: &'static str, error: DockerError) -> BackendError {
    BackendError::Refused { server, action, source: io::Error::other(error) }
}

impl Backend for Docker {
    fn start(&mut self, launch: &Launch) -> Result<(), BackendError> {
        let server = launch.server;
        if matches!(self.state(server), State::Running | State::Paused) {
            return Err(BackendError::Running { server });
        }
        let client = attach(&self.name(server), launch).map_err(|source| BackendError::Start {
            server,
            program: launch.program.clone(),
            source,
        })?;
        let contained = Contained { client: Some(client), ..Contained::default() };
        self.servers.insert(server, contained);
        Ok(())
    }

    fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError> {
        let state = self.state(server);
        // a network can be given back to a container that has ended meanwhile
        if !matches!(state, State::Running | State::Paused) && action != Action::Connect {
            return Err(BackendError::NotRunning { server, action: action.name() });
        }
        match action {
            Action::Disconnect => return self.disconnect(server),
            Action::Connect => return self.connect(server),
            Action::CpuShare(share) => return self.share(server, share),
            _ => {}
        }
        // a paused container takes no signal
        if state == State::Paused && action != Action::Pause {
            self.command(&["unpause"], server, action.name())?;
        }
        match action {
            Action::Stop => self.command(&["kill", "--signal", "TERM"], server, action.name())?,
            Action::Kill => self.command(&["kill"], server, action.name())?,
            Action::Pause if state == State::Paused => {}
            Action::Pause => self.command(&["pause"], server, action.name())?,
            Action::Resume | Action::Disconnect | Action::Connect | Action::CpuShare(_) => {}
        }
        if let Some(contained) = self.servers.get_mut(&server) {
            contained.paused = action == Action::Pause;
        }
        Ok(())
    }

    fn state(&mut self, server: Server) -> State {
        let Some(contained) = self.servers.get_mut(&server) else { return State::Absent };
        match contained.client.as_mut().map(Child::try_wait) {
            Some(Ok(None)) if contained.paused => State::Paused,
            Some(Ok(None)) => State::Running,
            Some(Ok(Some(status))) => State::Ended(ended(status.code().unwrap_or(-1))),
            Some(Err(_)) | None => {
                let state = self.inspect(server, "{{.State.Status}} {{.State.ExitCode}}").unwrap_or_default();
                match state.split_once(' ') {
                    Some(("running", _)) => State::Running,
                    Some(("paused", _)) => State::Paused,
                    Some(("exited" | "dead", code)) => State::Ended(ended(code.parse().unwrap_or(-1))),
                    _ => State::Absent,
                }
            }
        }
    }

    fn usage(&self, server: Server) -> Option<Usage> {
        self.process(server)?.usage().ok()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if !self.released {
            self.kill_all();
        }
    }
}

/// Starts a container with a client that writes down what it prints and ends with its exit code.
fn attach(name: &str, launch: &Launch) -> io::Result<Child> {
    let log = append_to(&launch.log)?;
    let output = launch.output.as_deref().map_or_else(|| log.try_clone(), append_to)?;
    Command::new("docker")
        .args(["start", "--attach", name])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .process_group(0)
        .spawn()
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn ended(code: i32) -> Ended {
    let how = match code {
        0 => "ended in order".to_owned(),
        137 => "killed (signal 9)".to_owned(),
        code => format!("exit code {code}"),
    };
    Ended { clean: code == 0, how }
}

/// Removes all containers, networks and volumes with a label.
fn remove(label: &str) -> Result<(), DockerError> {
    let filter = format!("label={label}");
    let found = |words: &[&str]| -> Result<Vec<String>, DockerError> {
        let all: Vec<&str> = words.iter().copied().chain(["--quiet", "--filter", &filter]).collect();
        Ok(docker(&all)?.lines().map(str::to_owned).collect())
    };
    for (list, end) in [
        (&["ps", "--all"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm"]),
    ] {
        let these = found(list)?;
        if !these.is_empty() {
            let all: Vec<&str> = end.iter().copied().chain(these.iter().map(String::as_str)).collect();
            docker(&all)?;
        }
    }
    Ok(())
}

/// Runs `docker` and returns what it prints.
pub(crate) fn command(arguments: &[&str]) -> Result<String, DockerError> {
    docker(arguments)
}

/// Whether there is a daemon that can be asked.
pub fn is_there() -> bool {
    docker(&["info", "--format", "{{.ID}}"]).is_ok()
}

/// Removes everything that testbeds with this registry ever made and left.
pub fn remove_all(state: &Path) -> Result<(), DockerError> {
    remove(&format!("{LABEL_STATE}={}", state.display()))
}

/// Gives a run directory to the user of the containers, so that programs that are not root can use it. Only root can,
/// and only root has to: everybody else's containers run as themselves.
pub fn hand_over(dir: &RunDir, processes: usize) -> io::Result<(u32, u32)> {
    for process in 0..processes {
        fs::create_dir_all(dir.loadgen_process(process))?;
    }
    let (own, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    if own != 0 {
        return Ok((own, group));
    }
    give(dir.root(), USER)?;
    Ok(USER)
}

fn give(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    std::os::unix::fs::chown(path, Some(user), Some(group))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), (user, group))?;
        }
    }
    Ok(())
}
