//! The same spec for more than one host: a stack file for Docker Swarm, and a kustomize base for Kubernetes.
//!
//! [`write()`] makes a run directory with keys, configurations and both; the scheduler of the cluster starts, places and
//! restarts the servers then, not the testbed. [`collect`] fetches what they left, and gives the verdict. Servers
//! listen on all addresses and tell the one from which they reach the signaler.

mod collect;
mod kustomize;
mod swarm;

use std::fs;
use std::path::{Path, PathBuf};

use shardpay_run::{RunDir, Spec, node_name, write_whole};
use shardpay_types::NodeId;

use crate::deploy::{Deployment, Wanted, deploy, node_settings, nodes};
use crate::docker::Images;
use crate::experiment::write_record;
use crate::failure::Failure;

pub use collect::collect;

/// Where a server keeps what it has, in its container.
const DATA: &str = "/data";
/// Where its configuration is.
const ETC: &str = "/etc/shardpay";
/// Ports in containers.
const SIGNALER_PORT: u16 = 7_000;
const PEERS_PORT: u16 = 7_100;
const CLIENTS_PORT: u16 = 7_200;
/// The signaler's port on the host that it runs on.
const PUBLISHED_PORT: u16 = 17_000;

/// What both kinds of files are made from.
struct Parts<'a> {
    spec: &'a Spec,
    dir: &'a RunDir,
    images: &'a Images,
    /// Hosts over which the members of a committee are spread.
    hosts: usize,
}

impl Parts<'_> {
    fn image(&self, program: &str) -> &str {
        self.images.of(program).unwrap_or("missing")
    }
}

/// Writes a run directory with `stack.yaml` and `kustomize/`; says what to do with them.
pub fn write(spec: &Spec, out: &Path, programs: &Path, hosts: usize) -> Result<String, Failure> {
    if !spec.faults.is_empty() || !spec.byzantine.is_empty() || spec.has_shaped_links() || spec.node.disk_mb > 0 {
        let why = "a stack runs as its scheduler wants: take faults, byzantine, network and node.disk_mb out of the spec \
                   (--set 'faults=[]'), or use --backend docker on one host";
        return Err(Failure::Usage(why.to_owned()));
    }
    if hosts == 0 {
        return Err(Failure::Usage("--hosts must be at least 1".to_owned()));
    }
    let deployment = deploy(spec, out, programs, Wanted { stack: true, ..Wanted::default() })?;
    let Deployment { dir, .. } = &deployment;
    write_record(spec, dir)?;
    let images = Images::build(programs, ["node", "signaler", "loadgen"])?;
    for node in nodes(spec) {
        write_whole(&config_file(dir, node), node_text(spec).as_bytes())?;
    }
    write_whole(&dir.root().join("stack/signaler.toml"), signaler_text(dir)?.as_bytes())?;
    let parts = Parts { spec, dir, images: &images, hosts };
    write_whole(&dir.root().join("stack.yaml"), swarm::text(&parts).as_bytes())?;
    kustomize::write(&parts)?;
    Ok(told(&parts))
}

fn config_file(dir: &RunDir, node: NodeId) -> PathBuf {
    dir.root().join("stack").join(format!("node-{}.toml", node_name(node)))
}

/// A node's configuration: where its key is, the environment says.
fn node_text(spec: &Spec) -> String {
    let mut config = node_settings(spec);
    let mut set = |key: &str, value: String| config.insert(key.to_owned(), value.into());
    set("data_dir", DATA.to_owned());
    set("signaler", format!("http://signaler:{SIGNALER_PORT}"));
    set("listen_peers", format!("0.0.0.0:{PEERS_PORT}"));
    set("listen_clients", format!("0.0.0.0:{CLIENTS_PORT}"));
    config.to_string()
}

/// The signaler's configuration, with the places of its container.
fn signaler_text(dir: &RunDir) -> Result<String, Failure> {
    let path = dir.signaler().join("config.toml");
    let text = fs::read_to_string(&path).map_err(Failure::io("the signaler's configuration"))?;
    let mut config: toml::Table =
        toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    config.insert("listen".to_owned(), format!("0.0.0.0:{SIGNALER_PORT}").into());
    config.insert("data_dir".to_owned(), DATA.into());
    if let Some(toml::Value::Table(network)) = config.get_mut("network") {
        network.insert("allow_list".to_owned(), format!("{ETC}/allow-list").into());
    }
    Ok(config.to_string())
}

/// The slot of a member: committees start at different ones, so that hosts hold alike many nodes.
fn slot(node: NodeId, hosts: usize) -> usize {
    (node.committee.index() + node.member.index()) % hosts
}

fn told(parts: &Parts<'_>) -> String {
    let root = parts.dir.root().display();
    let name = &parts.spec.name;
    let labels: Vec<String> = (0..parts.hosts).map(|slot| format!("--label-add shardpay.slot-{slot}=true")).collect();
    let labels = labels.join(" ");
    format!(
        "Docker Swarm ({root}/stack.yaml), on a manager (docs/CLUSTER.md for several hosts):\n  \
         docker swarm init\n  \
         docker node update {labels} HOST     # each slot on one host; one host may have all\n  \
         docker stack deploy --compose-file {root}/stack.yaml {name}\n  \
         testbed collect {root} --stack {name}     # waits for the load, fetches the stores, gives the verdict\n\
         Kubernetes ({root}/kustomize):\n  \
         kubectl apply --kustomize {root}/kustomize\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn members_are_spread_and_see_their_own_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let programs = dir.path().join("bin");
        fs::create_dir_all(&programs).unwrap();
        ["node", "signaler", "loadgen"].iter().for_each(|name| fs::write(programs.join(name), "").unwrap());
        let text = "name = 't'\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 5\n[node]\ncpu_share = 0.5";
        let spec = Spec::parse("t.toml", text, &[]).unwrap();
        let wanted = Wanted { stack: true, ..Wanted::default() };
        let Deployment { dir: run, .. } = deploy(&spec, &dir.path().join("run"), &programs, wanted).unwrap();
        nodes(&spec).for_each(|node| write_whole(&config_file(&run, node), node_text(&spec).as_bytes()).unwrap());
        write_whole(&run.root().join("stack/signaler.toml"), signaler_text(&run).unwrap().as_bytes()).unwrap();
        let images = Images::named(&[("node", "i/node:1"), ("signaler", "i/signaler:1"), ("loadgen", "i/loadgen:1")]);
        let parts = Parts { spec: &spec, dir: &run, images: &images, hosts: 3 };
        let stack: Value = serde_json::from_str(&swarm::text(&parts)).unwrap();
        let node = &stack["services"]["node-1-2"];
        assert_eq!(node["deploy"]["placement"]["constraints"][0], "node.labels.shardpay.slot-0 == true");
        assert_eq!(node["deploy"]["resources"]["limits"]["cpus"], "0.5");
        assert_eq!((&node["secrets"][0]["source"], node["secrets"].as_array().unwrap().len()), (&"node-1-2".into(), 1));
        assert_eq!(stack["services"].as_object().unwrap().len(), 10);
        let config = node_text(&spec);
        assert!(config.contains("0.0.0.0:7100") && !config.contains(&run.root().display().to_string()), "{config}");

        kustomize::write(&parts).unwrap();
        let base = run.root().join("kustomize");
        let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(base.join(name)).unwrap()).unwrap() };
        let set = &read("committee-1.yaml")["items"][1];
        assert_eq!((&set["kind"], &set["spec"]["replicas"]), (&"StatefulSet".into(), &4.into()));
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["volumeMounts"][1]["subPathExpr"], "$(POD_NAME)");
        assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        for file in read("kustomization.yaml")["resources"].as_array().unwrap() {
            assert!(base.join(file.as_str().unwrap()).is_file(), "{file}");
        }
    }

    #[test]
    fn what_a_scheduler_does_not_do_is_refused() {
        let text = "name = 't'\ncommittees = 1\nnodes_per_committee = 4\nduration_s = 5\n\
                    [[faults]]\nat_s = 1\naction = 'kill'\nnodes = '0-0'";
        let spec = Spec::parse("t.toml", text, &[]).unwrap();
        let error = write(&spec, Path::new("/nowhere"), Path::new("/nowhere"), 1).unwrap_err();
        assert!(error.to_string().contains("--set 'faults=[]'"), "{error}");
    }
}
