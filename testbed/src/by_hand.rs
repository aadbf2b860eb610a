//! Clusters that stay: `up` leaves one running, the other commands find it in the registry and act on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shardpay_client::signaler::SignalerClient;
use shardpay_client::topology::Topology;
use shardpay_run::{Fault, RunDir, Spec};

use crate::backend::{Action, Backend as _, State};
use crate::cluster::{self, tail};
use crate::conditions::Conditions;
use crate::control::Control;
use crate::deploy::{Wanted, deploy};
use crate::disk;
use crate::failure::Failure;
use crate::faults::Faults;
use crate::interrupt::Interrupt;
use crate::registry::{Cluster, Registry};
use crate::report::bytes;
use crate::running::Running;
use crate::server::{STOP_TURNS, Server};
use crate::services::Services;

/// Servers that were asked to stop get this long.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two looks whether they have.
const POLL: Duration = Duration::from_millis(50);

/// What is started beside signaler and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The demo app.
    Demo,
    /// The demo app, the payment service and the demo shop.
    Services,
}

/// Starts the cluster of a spec and leaves it running. Says where its pages are, when it has some.
pub async fn up(
    spec: &Spec,
    name: String,
    (out, programs, beside): (PathBuf, PathBuf, Beside),
    registry: Registry,
    interrupt: Interrupt,
) -> Result<(Cluster, Option<String>), Failure> {
    if registry.list()?.iter().any(|cluster| cluster.name == name) {
        return Err(Failure::Usage(format!("a cluster {name:?} is up; 'testbed down --cluster {name}' ends it")));
    }
    let with_services = beside == Beside::Services;
    if with_services {
        Services::check_programs(&programs)?;
    }
    let wanted = Wanted { demo: beside != Beside::Nothing, by_hand: true, stack: false };
    let deployment = deploy(spec, &out, &programs, wanted)?;
    let services = with_services.then(|| Services::prepare(&deployment, &programs)).transpose()?;
    let launches = services.iter().flat_map(Services::launches);
    let launches: Vec<_> = deployment.launches.iter().cloned().chain(launches).collect();
    let control = Control::prepare(&deployment, spec, &launches, (&name, registry.dir()), &programs)?;
    let mut running = Running::new(&deployment, launches, control, (name.clone(), registry), interrupt)?;
    running.live.note(&format!("starting {} × {} nodes and the signaler", spec.committees, spec.nodes_per_committee));
    if let Some(url) = &deployment.demo {
        running.live.note(&format!("watch it at {url}"));
    }
    let mut outcome = running.bring_up(spec, &deployment.dir.genesis()).await;
    if let (Ok(()), Some(services)) = (&outcome, &services) {
        outcome = services.open(&mut running).await;
    }
    running.live.end();
    let links = services.map(|services| services.links(deployment.demo.as_deref(), &name));
    match outcome {
        Ok(()) => Ok((running.release()?, links)),
        Err(failure) => {
            running.stop().await?;
            Err(failure)
        }
    }
}

/// What the servers of a cluster do, for people.
pub async fn status(cluster: &Cluster) -> String {
    let mut local = Control::adopt(cluster);
    let topology = match SignalerClient::new(&cluster.signaler) {
        Ok(client) => client.topology().await.ok(),
        Err(_) => None,
    };
    let phase = topology.as_ref().map_or_else(|| "does not answer".to_owned(), |topology| topology.phase.to_string());
    let mut text = format!("cluster {} ({})\n", cluster.name, cluster.dir.display());
    text.push_str(&format!("signaler {} {phase}\n", cluster.signaler));
    for (server, id) in &cluster.processes {
        let doing = match local.state(*server) {
            State::Running => "running",
            State::Paused => "paused",
            State::Ended(_) | State::Absent => "ended",
        };
        let usage = local.usage(*server).unwrap_or_default();
        let (cpu, memory) = (usage.cpu_us as f64 / 1e6, bytes(usage.memory_bytes));
        let far = topology.as_ref().and_then(|topology| progress(topology, *server)).unwrap_or_default();
        let name = server.to_string();
        text.push_str(&format!("  {name:<9} {doing:<8} pid {:<8} CPU {cpu:>7.2} s  {memory:>9}{far}\n", id.pid));
    }
    text
}

fn progress(topology: &Topology, server: Server) -> Option<String> {
    let Server::Node(node) = server else { return None };
    let progress = topology.member(node.committee, node.member)?.progress?;
    Some(format!("  round {}, certified height {}", progress.round, progress.certified))
}

/// Stops a cluster in order and forgets it; what does not stop is killed.
pub async fn down(registry: &Registry, cluster: &Cluster) -> Result<(), Failure> {
    let mut local = Control::adopt(cluster);
    for number in 0..STOP_TURNS {
        let turn = cluster.processes.keys().copied().filter(|server| server.stop_turn() == number);
        let turn: Vec<Server> = turn.collect();
        for server in &turn {
            // those that ended already need nothing
            let _ = local.act(*server, Action::Stop);
        }
        let deadline = Instant::now() + STOP_WAIT_MAX;
        let alive =
            |local: &mut Control, server: &Server| matches!(local.state(*server), State::Running | State::Paused);
        while turn.iter().any(|server| alive(&mut local, server)) && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
    }
    local.kill_all();
    disk::release(&cluster.dir).map_err(Failure::io("the nodes' disks"))?;
    Ok(registry.remove(&cluster.name)?)
}

/// Kills, pauses or resumes a server.
pub fn act(cluster: &Cluster, server: Server, action: Action) -> Result<(), Failure> {
    own_hands(cluster)?;
    Ok(Control::adopt(cluster).act(server, action)?)
}

/// Starts a server again, after killing it when it runs.
pub async fn restart(registry: &Registry, mut cluster: Cluster, server: Server) -> Result<(), Failure> {
    own_hands(&cluster)?;
    let unknown = || Failure::Usage(format!("cluster {} has no server {server}", cluster.name));
    let launch = cluster.launches.iter().find(|launch| launch.server == server).cloned().ok_or_else(unknown)?;
    let mut local = Control::adopt(&cluster);
    let deadline = Instant::now() + STOP_WAIT_MAX;
    while matches!(local.state(server), State::Running | State::Paused) {
        // it may end at this very moment
        let _ = local.act(server, Action::Kill);
        if Instant::now() > deadline {
            let what = format!("{server} ends after it was killed");
            return Err(Failure::TooSlow { what, seconds: STOP_WAIT_MAX.as_secs_f64() });
        }
        tokio::time::sleep(POLL).await;
    }
    local.start(&launch)?;
    cluster.processes = local.ids();
    Ok(registry.save(&cluster)?)
}

/// Does one fault of a spec, and waits until it is done.
pub async fn fault(registry: &Registry, mut cluster: Cluster, fault: Fault) -> Result<(), Failure> {
    own_hands(&cluster)?;
    let dir = RunDir::new(cluster.dir.clone());
    let spec = Spec::load(&dir.spec(), &[])?.with_fault(fault)?;
    let control = Control::adopt(&cluster);
    let nowhere = Path::new("/dev/null");
    let mut servers =
        cluster::Cluster::new(control, cluster.launches.clone(), nowhere).map_err(Failure::io("/dev/null"))?;
    let timeline = spec.timeline();
    let mut faults = Faults::new(&timeline, Conditions::new(&dir, &spec));
    let began = Instant::now();
    let end = timeline.last().map_or(Duration::ZERO, |last| last.at) + STOP_WAIT_MAX;
    while !faults.is_done() {
        for done in faults.advance(began.elapsed(), &mut servers)? {
            println!("{done}");
        }
        if began.elapsed() > end {
            let what = "what was killed has ended".to_owned();
            return Err(Failure::TooSlow { what, seconds: STOP_WAIT_MAX.as_secs_f64() });
        }
        tokio::time::sleep(POLL).await;
    }
    cluster.processes = servers.backend().ids();
    Ok(registry.save(&cluster)?)
}

/// The end of a server's log.
pub fn logs(cluster: &Cluster, server: Server, lines: usize) -> Result<Vec<String>, Failure> {
    let launch = cluster.launches.iter().find(|launch| launch.server == server);
    let launch = launch.ok_or_else(|| Failure::Usage(format!("cluster {} has no server {server}", cluster.name)))?;
    Ok(tail(&launch.log, lines))
}

/// The faults of a run stand in its spec: by hand they would be taken for a server that died.
fn own_hands(cluster: &Cluster) -> Result<(), Failure> {
    match cluster.owner {
        None => Ok(()),
        Some(_) => {
            Err(Failure::Usage(format!("cluster {} belongs to a run: its faults stand in its spec", cluster.name)))
        }
    }
}
