//! More than f members that fork their committee: each of them lives twice with one key.
//!
//! The first lives talk to the left half of the honest members, the second ones to the right half and to all other
//! committees. As long as the two halves do not hear each other (the spec cuts their links), each sees a quorum, and
//! signs: there are two certified headers at one height, and other committees credit what the second ledger sends, which
//! the first one never debited. The protocol promises nothing then; the audit has to find it. Money that is minted in one
//! ledger is minted in the other, too, so that both go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use shardpay_crypto::{Signer as _, Zip215};
use shardpay_node::bends::{Bends, ChoosePeers};
use shardpay_node::config::Config;
use shardpay_node::{genesis, keyfile, run};
use shardpay_transport::PeerAddress;
use shardpay_types::NodeId;

use crate::carry;

/// Between two looks whether the first life has its genesis plan.
const POLL: Duration = Duration::from_millis(50);

/// Who takes part, and who is shown what; nodes as `committee-member`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fork {
    /// Where the second life listens for peers.
    listen_peers: SocketAddr,
    /// Where it listens for clients, whom nobody sends there.
    listen_clients: SocketAddr,
    /// Honest members that are shown the first ledger.
    left: Vec<String>,
    /// Honest members that are shown the second one.
    right: Vec<String>,
    /// Where the second lives of all who take part listen.
    second: BTreeMap<String, SocketAddr>,
}

fn name(node: NodeId) -> String {
    format!("{}-{}", node.committee, node.member)
}

impl Fork {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))
    }

    /// Peers of the first life: the left half and the others' first lives.
    fn first(&self) -> ChoosePeers {
        let fork = self.clone();
        Arc::new(move |peers| {
            let meant = |name: &String| fork.left.contains(name) || fork.second.contains_key(name);
            peers.into_iter().filter(|peer| meant(&name(peer.node))).collect()
        })
    }

    /// Peers of the second life: all but the left half, and the others' second lives.
    fn second(&self) -> ChoosePeers {
        let fork = self.clone();
        Arc::new(move |peers| {
            let moved = |peer: PeerAddress| {
                let addr = fork.second.get(&name(peer.node)).copied().unwrap_or(peer.addr);
                PeerAddress { addr, ..peer }
            };
            let left = |peer: &PeerAddress| fork.left.contains(&name(peer.node));
            peers.into_iter().filter(|peer| !left(peer)).map(moved).collect()
        })
    }
}

/// Lives twice until told to stop.
pub(crate) async fn run(config: Config, fork: Fork) -> anyhow::Result<()> {
    tracing::warn!(left = ?fork.left, right = ?fork.right, "lives twice");
    let first = Bends { peers: Some(fork.first()), ..Bends::default() };
    let bends = Bends { peers: Some(fork.second()), hidden: true, ..Bends::default() };
    let second = second_config(&config, &fork);
    let (key_file, data_dir) = (config.key_file.clone(), config.data_dir.clone());
    let clients = [config.listen_clients, second.listen_clients];
    let files = (data_dir.join("genesis"), second.data_dir.join("genesis"));
    let second_life = async {
        while !files.0.is_file() {
            tokio::time::sleep(POLL).await;
        }
        std::fs::create_dir_all(&second.data_dir).context("the second life's directory")?;
        std::fs::copy(&files.0, &files.1).context("the genesis plan")?;
        let key = keyfile::read(&key_file)?.1.public_key();
        // the first life has checked the plan, with weights nobody can foresee
        let genesis = genesis::stored(&data_dir, &Zip215::new([0; 32], 0))?.context("the genesis plan")?;
        let own = genesis.place_of(&key).context("a place in the genesis plan")?;
        tokio::select! {
            ended = run::run(second, bends) => ended,
            ended = carry::mints(&genesis.plan, own, key, clients) => ended,
        }
    };
    // the first life ends on a signal, and so does the second, unless that never began
    tokio::select! {
        ended = run::run(config, first) => ended,
        ended = second_life => ended,
    }
}

fn second_config(config: &Config, fork: &Fork) -> Config {
    Config {
        data_dir: config.data_dir.join("second"),
        listen_peers: fork.listen_peers,
        listen_clients: fork.listen_clients,
        advertise_peers: None,
        advertise_clients: None,
        control_socket: config.control_socket.with_extension("two"),
        telemetry: None,
        ..config.clone()
    }
}

#[cfg(test)]
mod tests {
    use shardpay_types::{CommitteeId, MemberIndex, PublicKey};

    use super::*;

    #[test]
    fn each_life_has_its_own_peers() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fork.json");
        let text = r#"{"listen_peers":"127.0.0.1:1","listen_clients":"127.0.0.1:2","left":["0-2"],"right":["0-3"],
            "second":{"0-0":"127.0.0.1:1","0-1":"127.0.0.1:11"}}"#;
        std::fs::write(&path, text).expect("written");
        let fork = Fork::read(&path).expect("good");
        let peer = |committee, member| PeerAddress {
            node: NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) },
            key: PublicKey([7; 32]),
            addr: SocketAddr::from(([127, 0, 0, 1], 100 + member as u16)),
        };
        let all = vec![peer(0, 1), peer(0, 2), peer(0, 3), peer(1, 0)];
        let told = |chosen: Vec<PeerAddress>| -> Vec<_> {
            chosen.into_iter().map(|peer| (name(peer.node), peer.addr.port())).collect()
        };
        let named = |node: &str, port| (node.to_owned(), port);
        assert_eq!(told(fork.first()(all.clone())), [named("0-1", 101), named("0-2", 102)]);
        assert_eq!(told(fork.second()(all)), [named("0-1", 11), named("0-3", 103), named("1-0", 100)]);
    }
}
