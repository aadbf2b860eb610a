//! `kustomize/`: a base for Kubernetes, one StatefulSet per committee. Manifests are JSON, which is YAML.
//!
//! A pod's name is its node's name (`c0-3`); of its committee's secret it mounts its own key only. Members of a committee
//! go to different hosts where there are enough. Nobody but members reaches the peer ports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use shardpay_run::write_whole;
use shardpay_types::{CommitteeId, MemberIndex, NodeId};

use super::{CLIENTS_PORT, DATA, ETC, PEERS_PORT, Parts, SIGNALER_PORT, config_file};
use crate::docker::USER;
use crate::failure::Failure;

/// Size of a node's volume.
const NODE_VOLUME: &str = "20Gi";
/// Size of the others'.
const SMALL_VOLUME: &str = "1Gi";

/// Writes the base.
pub(super) fn write(parts: &Parts<'_>) -> Result<(), Failure> {
    let base = parts.dir.root().join("kustomize");
    let files = base.join("files");
    let copy = |from: &Path, name: &str| {
        let to = files.join(name);
        fs::create_dir_all(to.parent().unwrap_or(&files))?;
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))
    };
    let failed = || Failure::io("files of the kustomize base");
    let first = NodeId { committee: CommitteeId::at(0), member: MemberIndex::at(0) };
    let dir = parts.dir;
    copy(&dir.root().join("stack/signaler.toml"), "signaler.toml").map_err(failed())?;
    copy(&dir.signaler().join("allow-list"), "allow-list").map_err(failed())?;
    copy(&dir.spec(), "spec.toml").map_err(failed())?;
    copy(&dir.root().join("issuer.seed"), "issuer.seed").map_err(failed())?;
    copy(&config_file(dir, first), "node.toml").map_err(failed())?;
    let mut resources = vec!["namespace.yaml", "signaler.yaml", "loadgen.yaml", "network-policy.yaml"];
    let committees: Vec<String> = (0..parts.spec.committees).map(|index| format!("committee-{index}.yaml")).collect();
    resources.extend(committees.iter().map(String::as_str));
    let mut secrets = vec![json!({ "name": "issuer", "files": ["issuer.seed=files/issuer.seed"] })];
    for (index, file) in committees.iter().enumerate() {
        let mut keys = Vec::new();
        for member in 0..parts.spec.nodes_per_committee {
            let node = NodeId { committee: CommitteeId::at(index), member: MemberIndex::at(member) };
            let name = format!("c{index}-{member}");
            copy(&dir.node(node).join("key"), &format!("keys/{name}")).map_err(failed())?;
            keys.push(format!("{name}=files/keys/{name}"));
        }
        secrets.push(json!({ "name": format!("keys-c{index}"), "files": keys }));
        put(&base, file, &list(&[headless(&format!("c{index}"), &member_ports()), committee(parts, index)]))?;
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "shardpay",
        "resources": resources,
        "configMapGenerator": [
            { "name": "signaler", "files": ["config.toml=files/signaler.toml", "allow-list=files/allow-list"] },
            { "name": "node", "files": ["config.toml=files/node.toml"] },
            { "name": "spec", "files": ["spec.toml=files/spec.toml"] },
        ],
        "secretGenerator": secrets,
    });
    put(
        &base,
        "namespace.yaml",
        &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shardpay" } }),
    )?;
    put(&base, "signaler.yaml", &list(&[signaler_service(), signaler(parts)]))?;
    put(&base, "loadgen.yaml", &list(&[loadgen_claim(), loadgen(parts)]))?;
    put(&base, "network-policy.yaml", &list(&policies()))?;
    put(&base, "kustomization.yaml", &kustomization)
}

fn put(base: &Path, name: &str, value: &Value) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    text.push('\n');
    Ok(write_whole(&base.join(name), text.as_bytes())?)
}

fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn labels(role: &str) -> Value {
    json!({ "app": "shardpay", "role": role })
}

fn member_ports() -> Value {
    json!([
        { "name": "peers", "protocol": "UDP", "port": PEERS_PORT },
        { "name": "clients", "protocol": "UDP", "port": CLIENTS_PORT },
    ])
}

/// The service that a StatefulSet's pods have their names from.
fn headless(name: &str, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "labels": labels("node") },
        "spec": { "clusterIP": "None", "publishNotReadyAddresses": true, "selector": { "committee": name }, "ports": ports },
    })
}

fn signaler_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "signaler", "labels": labels("signaler") },
        "spec": { "selector": labels("signaler"), "ports": [{ "name": "http", "port": SIGNALER_PORT }] },
    })
}

/// What every pod may, and may not.
fn pod(containers: Value, volumes: Value) -> Value {
    let (user, group) = USER;
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 20,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": user, "runAsGroup": group, "fsGroup": group,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": containers,
        "volumes": volumes,
    })
}

fn container(parts: &Parts<'_>, program: &str, args: Value, mut mounts: Vec<Value>) -> Value {
    mounts.push(json!({ "name": "data", "mountPath": DATA }));
    mounts.push(json!({ "name": "tmp", "mountPath": "/tmp" }));
    json!({
        "name": program,
        "image": parts.image(program),
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "securityContext": {
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    })
}

fn file(volume: &str, name: &str) -> Value {
    json!({ "name": volume, "mountPath": format!("{ETC}/{name}"), "subPath": name, "readOnly": true })
}

fn probes(container: &mut Value, program: &str) {
    let command = [format!("/bin/{program}"), "health".to_owned(), "--config".to_owned(), format!("{ETC}/config.toml")];
    let probe = |failures: u32, period: u32| json!({ "exec": { "command": command }, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures });
    container["startupProbe"] = probe(60, 5);
    container["readinessProbe"] = probe(3, 10);
    container["livenessProbe"] = probe(6, 10);
}

fn claim(size: &str) -> Value {
    json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } })
}

fn stateful_set(name: &str, role: &Value, replicas: usize, (pod, size): (Value, &str)) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": name, "labels": role },
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": role },
            "template": { "metadata": { "labels": role }, "spec": pod },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim(size) }],
        },
    })
}

fn committee(parts: &Parts<'_>, index: usize) -> Value {
    let name = format!("c{index}");
    let mounts = vec![
        file("config", "config.toml"),
        json!({ "name": "keys", "mountPath": format!("{ETC}/key"), "subPathExpr": "$(POD_NAME)", "readOnly": true }),
    ];
    let path = format!("{ETC}/config.toml");
    let mut node = container(parts, "node", json!(["run", "--config", path]), mounts);
    node["env"] = json!([
        { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        { "name": "SHARDPAY_NODE_KEY_FILE", "value": format!("{ETC}/key") },
    ]);
    node["ports"] = json!([
        { "name": "peers", "containerPort": PEERS_PORT, "protocol": "UDP" },
        { "name": "clients", "containerPort": CLIENTS_PORT, "protocol": "UDP" },
    ]);
    let options = &parts.spec.node;
    let mut limits = serde_json::Map::new();
    if options.cpu_share > 0.0 {
        limits.insert("cpu".to_owned(), json!(format!("{}m", (options.cpu_share * 1_000.0).round())));
    }
    if options.memory_mb > 0 {
        limits.insert("memory".to_owned(), json!(format!("{}Mi", options.memory_mb)));
    }
    if !limits.is_empty() {
        node["resources"] = json!({ "limits": limits });
    }
    probes(&mut node, "node");
    let volumes = json!([
        { "name": "config", "configMap": { "name": "node" } },
        { "name": "keys", "secret": { "secretName": format!("keys-{name}"), "defaultMode": 0o440 } },
        { "name": "tmp", "emptyDir": { "sizeLimit": "64Mi" } },
    ]);
    let mut spec = pod(json!([node]), volumes);
    let apart = json!({
        "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "committee": name } },
    });
    spec["affinity"] = json!({ "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": apart }],
    } });
    let mut role = labels("node");
    role["committee"] = json!(name);
    stateful_set(&name, &role, parts.spec.nodes_per_committee, (spec, NODE_VOLUME))
}

fn signaler(parts: &Parts<'_>) -> Value {
    let mounts = vec![file("config", "config.toml"), file("config", "allow-list")];
    let path = format!("{ETC}/config.toml");
    let mut signaler = container(parts, "signaler", json!(["run", "--config", path]), mounts);
    signaler["ports"] = json!([{ "name": "http", "containerPort": SIGNALER_PORT }]);
    probes(&mut signaler, "signaler");
    let volumes = json!([
        { "name": "config", "configMap": { "name": "signaler" } },
        { "name": "tmp", "emptyDir": { "sizeLimit": "64Mi" } },
    ]);
    stateful_set("signaler", &labels("signaler"), 1, (pod(json!([signaler]), volumes), SMALL_VOLUME))
}

fn loadgen_claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "loadgen", "labels": labels("loadgen") },
        "spec": claim(SMALL_VOLUME),
    })
}

fn loadgen(parts: &Parts<'_>) -> Value {
    let topology = format!("http://signaler:{SIGNALER_PORT}");
    let (spec, seed) = (format!("{ETC}/spec.toml"), format!("{ETC}/issuer.seed"));
    let args = json!([
        "run",
        "--topology",
        topology,
        "--spec",
        spec,
        "--set",
        "load.processes=1",
        "--out",
        DATA,
        "--issuer-seed",
        seed,
        "--progress",
        "json",
    ]);
    let container = container(parts, "loadgen", args, vec![file("spec", "spec.toml"), file("issuer", "issuer.seed")]);
    let volumes = json!([
        { "name": "spec", "configMap": { "name": "spec" } },
        { "name": "issuer", "secret": { "secretName": "issuer", "defaultMode": 0o440 } },
        { "name": "data", "persistentVolumeClaim": { "claimName": "loadgen" } },
        { "name": "tmp", "emptyDir": { "sizeLimit": "64Mi" } },
    ]);
    let mut spec = pod(json!([container]), volumes);
    // until the network produces there is nothing to load
    spec["restartPolicy"] = json!("OnFailure");
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "loadgen", "labels": labels("loadgen") },
        "spec": { "backoffLimit": 30, "template": { "metadata": { "labels": labels("loadgen") }, "spec": spec } },
    })
}

/// Nothing comes in but what is named here.
fn policies() -> Vec<Value> {
    let policy = |name: &str, selector: Value, ingress: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": name },
            "spec": { "podSelector": { "matchLabels": selector }, "policyTypes": ["Ingress"], "ingress": ingress },
        })
    };
    let from = |role: &str| json!([{ "podSelector": { "matchLabels": labels(role) } }]);
    vec![
        policy("nothing", json!({ "app": "shardpay" }), json!([])),
        policy(
            "nodes",
            labels("node"),
            json!([
                { "from": from("node"), "ports": [{ "protocol": "UDP", "port": PEERS_PORT }] },
                { "from": from("loadgen"), "ports": [{ "protocol": "UDP", "port": CLIENTS_PORT }] },
            ]),
        ),
        policy(
            "signaler",
            labels("signaler"),
            json!([{
                "from": [{ "podSelector": { "matchLabels": { "app": "shardpay" } } }],
                "ports": [{ "protocol": "TCP", "port": SIGNALER_PORT }],
            }]),
        ),
    ]
}
