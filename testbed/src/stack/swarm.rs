//! `stack.yaml`: a compose file of version 3.8 (JSON, which is YAML) for `docker stack deploy`.
//!
//! Members are pinned to hosts by labels, because their volumes stay where they were made. Keys are secrets that only
//! their own node sees. Swarm gives CPU shares in periods of 100 ms; nothing else can be asked of it.

use serde_json::{Map, Value, json};
use shardpay_run::node_name;
use shardpay_types::NodeId;

use super::{DATA, ETC, PUBLISHED_PORT, Parts, SIGNALER_PORT, config_file, slot};
use crate::deploy::nodes;
use crate::docker::USER;

/// Where a secret of ours is in a container.
const KEY: &str = "/run/secrets/key";

/// The file's text.
pub(super) fn text(parts: &Parts<'_>) -> String {
    let (spec, dir) = (parts.spec, parts.dir);
    let (mut services, mut volumes) = (Map::new(), Map::new());
    let (mut configs, mut secrets) = (Map::new(), Map::new());
    let mut file = |name: &str, path: std::path::PathBuf| {
        configs.insert(name.to_owned(), json!({ "file": path.display().to_string() }));
    };
    file("signaler", dir.root().join("stack/signaler.toml"));
    file("allow-list", dir.signaler().join("allow-list"));
    file("spec", dir.spec());
    let mut secret = |name: String, path: std::path::PathBuf| {
        secrets.insert(name, json!({ "file": path.display().to_string() }));
    };
    secret("issuer".to_owned(), dir.root().join("issuer.seed"));
    services.insert("signaler".to_owned(), signaler(parts));
    volumes.insert("signaler".to_owned(), json!({}));
    for node in nodes(spec) {
        let name = format!("node-{}", node_name(node));
        file(&name, config_file(dir, node));
        secret(name.clone(), dir.node(node).join("key"));
        volumes.insert(name.clone(), json!({}));
        services.insert(name.clone(), member(parts, node, &name));
    }
    for process in 0..spec.load.processes {
        let name = format!("loadgen-{process}");
        volumes.insert(name.clone(), json!({}));
        services.insert(name.clone(), loadgen(parts, process, &name));
    }
    let all = json!({
        "version": "3.8",
        "services": services,
        "volumes": volumes,
        "configs": configs,
        "secrets": secrets,
        "networks": { "default": { "driver": "overlay" } },
    });
    let mut text = serde_json::to_string_pretty(&all).expect("plain data");
    text.push('\n');
    text
}

/// What all services have in common.
fn service(image: &str, command: &[&str], volume: &str, deploy: Value) -> Value {
    let (user, group) = USER;
    json!({
        "image": image,
        "command": command,
        "user": format!("{user}:{group}"),
        "read_only": true,
        "cap_drop": ["ALL"],
        "volumes": [{ "type": "volume", "source": volume, "target": DATA }, { "type": "tmpfs", "target": "/tmp" }],
        "stop_grace_period": "20s",
        "deploy": deploy,
    })
}

fn config(source: &str, name: &str) -> Value {
    json!({ "source": source, "target": format!("{ETC}/{name}") })
}

fn secret(source: &str) -> Value {
    let (user, group) = USER;
    json!({ "source": source, "target": "key", "uid": user.to_string(), "gid": group.to_string(), "mode": 0o400 })
}

fn health(program: &str) -> Value {
    let test = ["CMD", &format!("/bin/{program}"), "health", "--config", &format!("{ETC}/config.toml")];
    json!({ "test": test, "interval": "5s", "timeout": "3s", "retries": 6, "start_period": "60s" })
}

fn signaler(parts: &Parts<'_>) -> Value {
    let deploy = json!({
        "endpoint_mode": "dnsrr",
        "placement": { "constraints": ["node.role == manager"] },
        "restart_policy": { "condition": "any", "delay": "1s" },
    });
    let path = format!("{ETC}/config.toml");
    let mut service = service(parts.image("signaler"), &["run", "--config", &path], "signaler", deploy);
    service["configs"] = json!([config("signaler", "config.toml"), config("allow-list", "allow-list")]);
    service["healthcheck"] = health("signaler");
    service["ports"] =
        json!([{ "target": SIGNALER_PORT, "published": PUBLISHED_PORT, "protocol": "tcp", "mode": "host" }]);
    service
}

fn member(parts: &Parts<'_>, node: NodeId, name: &str) -> Value {
    let mut limits = Map::new();
    let options = &parts.spec.node;
    if options.cpu_share > 0.0 {
        limits.insert("cpus".to_owned(), json!(format!("{}", options.cpu_share)));
    }
    if options.memory_mb > 0 {
        limits.insert("memory".to_owned(), json!(format!("{}M", options.memory_mb)));
    }
    let label = format!("node.labels.shardpay.slot-{} == true", slot(node, parts.hosts));
    let mut deploy = json!({
        "endpoint_mode": "dnsrr",
        "placement": { "constraints": [label] },
        "restart_policy": { "condition": "any", "delay": "1s" },
    });
    if !limits.is_empty() {
        deploy["resources"] = json!({ "limits": limits });
    }
    let path = format!("{ETC}/config.toml");
    let mut service = service(parts.image("node"), &["run", "--config", &path], name, deploy);
    service["environment"] = json!({ "SHARDPAY_NODE_KEY_FILE": KEY });
    service["configs"] = json!([config(name, "config.toml")]);
    service["secrets"] = json!([secret(name)]);
    service["healthcheck"] = health("node");
    service
}

fn loadgen(parts: &Parts<'_>, process: usize, name: &str) -> Value {
    let deploy = json!({
        "endpoint_mode": "dnsrr",
        "placement": { "constraints": ["node.role == manager"] },
        // until the network produces there is nothing to load
        "restart_policy": { "condition": "on-failure", "delay": "2s" },
    });
    let topology = format!("http://signaler:{SIGNALER_PORT}");
    let (share, spec) = (format!("{process}/{}", parts.spec.load.processes), format!("{ETC}/spec.toml"));
    let words = ["run", "--topology", &topology, "--spec", &spec, "--out", DATA, "--process", &share];
    let words = [&words[..], &["--issuer-seed", KEY, "--progress", "json"]].concat();
    let mut service = service(parts.image("loadgen"), &words, name, deploy);
    service["configs"] = json!([config("spec", "spec.toml")]);
    service["secrets"] = json!([secret("issuer")]);
    service
}
