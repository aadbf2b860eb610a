//! The compose file of a deployment: one container per server, from the same launches as local processes.
//!
//! Each server sees of the run directory what is its own, at the same path as on this machine, so configurations
//! and results are those of a local run. The root file system is read-only and no capability is left. Compose files are
//! YAML, of which JSON is a part. Keys are those that docker-compose 1.29 and compose v2 share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use shardpay_run::{RunDir, Spec};

use super::daemon::DockerError;
use super::image::Images;
use super::subnet::Subnet;
use crate::backend::Launch;
use crate::byzantine;
use crate::grafana::{DATABASE, GRAFANA_IMAGE, INFLUXDB_IMAGE};
use crate::server::Server;
use crate::services;

/// Label of containers and networks: the cluster's name.
pub const LABEL_CLUSTER: &str = "shardpay.cluster";
/// Label: the directory of the registry that knows the cluster.
pub const LABEL_STATE: &str = "shardpay.state";
/// Label: the address of a container, also while it has no network.
pub const LABEL_ADDRESS: &str = "shardpay.address";
/// The kernel gives CPU time in slices of this: a throttled node stands still for at most so long.
const CPU_PERIOD_US: u64 = 25_000;
/// Weight of containers that are no nodes, when nodes have shares; theirs is Docker's 1,024.
const OTHERS_WEIGHT: u64 = 8_192;
/// The smallest slice that the kernel knows.
const CPU_QUOTA_US_MIN: u64 = 1_000;

/// Period and quota that give a share of so many cores, in µs.
pub fn cpu_quota(share: f64) -> (u64, u64) {
    let quota_us = (share * CPU_PERIOD_US as f64).round() as u64;
    if quota_us >= CPU_QUOTA_US_MIN {
        return (CPU_PERIOD_US, quota_us);
    }
    ((CPU_QUOTA_US_MIN as f64 / share).round() as u64, CPU_QUOTA_US_MIN)
}

/// What a compose file is made from.
pub struct Plan<'a> {
    /// The cluster's name; containers are called `<name>-<server>`.
    pub name: &'a str,
    /// The registry's directory.
    pub state: &'a Path,
    /// The run directory.
    pub dir: &'a RunDir,
    /// The experiment.
    pub spec: &'a Spec,
    /// The servers.
    pub launches: &'a [Launch],
    /// Their images.
    pub images: &'a Images,
    /// Their network.
    pub subnet: Subnet,
    /// User and group.
    pub user: (u32, u32),
}

/// The file's name in the run directory.
pub fn file(dir: &RunDir) -> PathBuf {
    dir.root().join("compose.yaml")
}

/// The name of a server's container.
pub fn container(cluster: &str, server: Server) -> String {
    format!("{cluster}-{server}")
}

impl Plan<'_> {
    /// The file's text.
    pub fn text(&self) -> Result<String, DockerError> {
        let mut services = Map::new();
        for launch in self.launches {
            services.insert(launch.server.to_string(), self.service(launch)?);
        }
        self.metrics(&mut services);
        let labels = self.labels();
        let all = json!({
            "services": services,
            "networks": { "default": { "labels": labels, "ipam": { "config": [{ "subnet": self.subnet.cidr() }] } } },
            "volumes": { "influxdb": { "labels": labels }, "grafana": { "labels": labels } },
        });
        let mut text = serde_json::to_string_pretty(&all).expect("plain data");
        text.push('\n');
        Ok(text)
    }

    fn labels(&self) -> Value {
        json!({ LABEL_CLUSTER: self.name, LABEL_STATE: self.state.display().to_string() })
    }

    fn service(&self, launch: &Launch) -> Result<Value, DockerError> {
        let server = launch.server;
        let program = byzantine::program_of(launch);
        let image = self.images.of(program);
        let image = image.ok_or_else(|| DockerError::Image(format!("there is none of {program}")))?;
        let (user, group) = self.user;
        let mut labels = self.labels();
        labels[LABEL_ADDRESS] = json!(self.subnet.address(server).to_string());
        let mut service = json!({
            "image": image,
            "container_name": container(self.name, server),
            "command": launch.args.iter().map(|argument| literal(argument)).collect::<Vec<_>>(),
            "user": format!("{user}:{group}"),
            "labels": labels,
            "read_only": true,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "tmpfs": ["/tmp:mode=1777"],
            "stop_grace_period": "20s",
            "volumes": self.mounts(server),
            "networks": { "default": { "ipv4_address": self.subnet.address(server).to_string() } },
        });
        let mut set = |key: &str, value: Value| service[key] = value;
        if let Server::Node(_) = server {
            let options = &self.spec.node;
            if options.cpu_share > 0.0 {
                let (period_us, quota_us) = cpu_quota(options.cpu_share);
                set("cpu_period", json!(period_us));
                set("cpu_quota", json!(quota_us));
            }
            if options.memory_mb > 0 {
                set("mem_limit", json!(format!("{}m", options.memory_mb)));
            }
            set("depends_on", json!({ "signaler": { "condition": "service_healthy" } }));
        } else if self.spec.node.cpu_share > 0.0 {
            // who measures gets the CPU before those whose share is limited
            set("cpu_shares", json!(OTHERS_WEIGHT));
        }
        if let Some(test) = health(launch) {
            let check = json!({ "test": test, "interval": "5s", "timeout": "3s", "retries": 3, "start_period": "20s" });
            set("healthcheck", check);
        }
        Ok(service)
    }

    /// What a server sees of the run directory, at the same place.
    fn mounts(&self, server: Server) -> Vec<Value> {
        let root = self.dir.root();
        let mut mounts = BTreeMap::new();
        let own = match server {
            Server::Signaler => self.dir.signaler(),
            Server::Node(node) => self.dir.node(node),
            Server::Loadgen(process) => self.dir.loadgen_process(process),
            Server::Service | Server::Shop => root.join(services::DIR).join(server.program()),
            Server::Demo => root.join(server.program()),
        };
        mounts.insert(own, false);
        let token = root.join("demo").join("token");
        if server != Server::Demo && self.launches.iter().any(|launch| launch.server == Server::Demo) {
            mounts.insert(token, true);
        }
        let issuer = (root.join("issuer.seed"), true);
        match server {
            Server::Loadgen(_) => mounts.extend([(self.dir.spec(), true), issuer]),
            Server::Service => mounts.extend([issuer]),
            _ => {}
        }
        let mount = |(path, read_only): (PathBuf, bool)| {
            let path = literal(&path.display().to_string());
            json!({ "type": "bind", "source": path, "target": path, "read_only": read_only })
        };
        mounts.into_iter().map(mount).collect()
    }

    /// `--profile metrics`: the official images, with the files that 'testbed grafana' writes.
    fn metrics(&self, services: &mut Map<String, Value>) {
        let files = self.dir.root().join("grafana");
        let mount = |from: &str, to: &str| json!({ "type": "bind", "source": literal(&files.join(from).display().to_string()), "target": to, "read_only": true });
        let token = "${SHARDPAY_INFLUXDB_TOKEN:-shardpay-on-loopback}";
        services.insert(
            "influxdb".to_owned(),
            json!({
                "image": INFLUXDB_IMAGE,
                "profiles": ["metrics"],
                "labels": self.labels(),
                "environment": {
                    "DOCKER_INFLUXDB_INIT_MODE": "setup",
                    "DOCKER_INFLUXDB_INIT_USERNAME": "shardpay",
                    "DOCKER_INFLUXDB_INIT_PASSWORD": token,
                    "DOCKER_INFLUXDB_INIT_ORG": DATABASE,
                    "DOCKER_INFLUXDB_INIT_BUCKET": DATABASE,
                    "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": token,
                },
                "ports": ["127.0.0.1:${SHARDPAY_INFLUXDB_PORT:-8086}:8086"],
                "volumes": ["influxdb:/var/lib/influxdb2", mount("influxdb", "/docker-entrypoint-initdb.d")],
            }),
        );
        services.insert(
            "grafana".to_owned(),
            json!({
                "image": GRAFANA_IMAGE,
                "profiles": ["metrics"],
                "labels": self.labels(),
                "environment": {
                    "SHARDPAY_INFLUXDB_URL": "http://influxdb:8086",
                    "SHARDPAY_INFLUXDB_TOKEN": token,
                },
                "depends_on": ["influxdb"],
                "ports": ["127.0.0.1:${SHARDPAY_GRAFANA_PORT:-3000}:3000"],
                "volumes": [
                    "grafana:/var/lib/grafana",
                    mount("provisioning", "/etc/grafana/provisioning"),
                    mount("dashboards", "/var/lib/grafana/dashboards/shardpay"),
                ],
            }),
        );
    }
}

/// A text in which compose replaces no variables.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The question that a program asks about itself, with the configuration it runs with. Load generators end by themselves,
/// and the shop is looked at by whoever shops there.
fn health(launch: &Launch) -> Option<Vec<String>> {
    let flag = |name: &str| {
        launch
            .args
            .iter()
            .skip_while(|argument| *argument != name)
            .take(2)
            .map(|word| literal(word))
            .collect::<Vec<_>>()
    };
    let asked = match launch.server {
        Server::Signaler | Server::Node(_) | Server::Service => [vec!["health".to_owned()], flag("--config")].concat(),
        Server::Demo => [vec!["--health".to_owned()], flag("--listen")].concat(),
        Server::Loadgen(_) | Server::Shop => return None,
    };
    let program = format!("/bin/{}", byzantine::program_of(launch));
    Some(["CMD".to_owned(), program].into_iter().chain(asked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(server: Server) -> Launch {
        let args = vec!["run".to_owned(), "--config".to_owned(), "/r/a$b".to_owned()];
        Launch { server, program: "/x".into(), args, log: "/r/log".into(), output: None, store: None }
    }

    #[test]
    fn nodes_have_limits_places_and_a_health_check() {
        let text = "name = 't'\ncommittees = 1\nnodes_per_committee = 4\nduration_s = 5\n[node]\ncpu_share = 0.05\nmemory_mb = 256";
        let spec = Spec::parse("t.toml", text, &[]).unwrap();
        let dir = RunDir::new(PathBuf::from("/r"));
        let launches = [launch(Server::Signaler), launch(Server::node(0, 3).unwrap())];
        let images = Images::named(&[("node", "i/node:1"), ("signaler", "i/signaler:1")]);
        let subnet = Subnet::find(1, 4, 0, "").unwrap();
        let (state, user) = (Path::new("/s"), (7, 8));
        let plan =
            Plan { name: "c", state, dir: &dir, spec: &spec, launches: &launches, images: &images, subnet, user };
        let file: Value = serde_json::from_str(&plan.text().unwrap()).unwrap();
        let node = &file["services"]["0-3"];
        assert_eq!(
            (&node["cpu_period"], &node["cpu_quota"], &node["mem_limit"]),
            (&json!(25_000), &json!(1_250), &json!("256m"))
        );
        assert_eq!(node["container_name"], "c-0-3");
        assert_eq!(node["user"], "7:8");
        assert_eq!((&node["read_only"], &node["cap_drop"][0]), (&json!(true), &json!("ALL")));
        assert_eq!(node["networks"]["default"]["ipv4_address"], "10.64.0.35");
        assert_eq!(node["volumes"][0]["target"], "/r/nodes/0-3");
        assert_eq!(node["healthcheck"]["test"], json!(["CMD", "/bin/node", "health", "--config", "/r/a$$b"]));
        assert_eq!(node["depends_on"]["signaler"]["condition"], "service_healthy");
        let signaler = &file["services"]["signaler"];
        assert_eq!((&signaler["cpu_quota"], &signaler["cpu_shares"]), (&Value::Null, &json!(8_192)));
        assert_eq!(cpu_quota(0.02), (50_000, 1_000), "the kernel knows no smaller slice");
        assert_eq!(file["services"]["grafana"]["profiles"][0], "metrics");
        let launches = [launch(Server::Demo)];
        let plan = Plan { launches: &launches, ..plan };
        assert!(plan.text().unwrap_err().to_string().contains("there is none of demo"));
    }
}
