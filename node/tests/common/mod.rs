//! A network of real node processes without a signaler: keys, genesis plan and addresses are put into their
//! directories before they start.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use shardpay_crypto::{
    Keypair, Signer, chain_id, plan_approval_message, plan_hash, shard_of, shard_of_deposit, transaction_message,
};
use shardpay_types::{
    Amount, Codec, CommitteeId, CommitteePlan, Constants, DepositRef, Epoch, EpochChange, List, MemberIndex, Mint,
    Plan, PlanApproval, PlanHash, PublicKey, Signature, SignedMint, Transaction, Version,
};

/// Everything happens well within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const MEMBERS: usize = 4;

/// Processes that end with the test.
pub(crate) struct Nodes(pub(crate) Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // strace itself takes no signals: the node under it does
            let own = child.id().to_string();
            let below = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
            let pid = below.split_whitespace().next().unwrap_or(&own);
            let _ = Command::new("kill").arg(pid).status();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// The byte of which a member's seed is made.
pub(crate) fn seed_byte(committee: usize, member: usize) -> u8 {
    (committee * 16 + member + 1) as u8
}

/// A member's key.
pub(crate) fn keypair_of(committee: usize, member: usize) -> Keypair {
    Keypair::from_seed(&[seed_byte(committee, member); 32])
}

/// The key of a member of committee 0.
pub(crate) fn keypair(member: usize) -> Keypair {
    keypair_of(0, member)
}

pub(crate) fn issuer() -> Keypair {
    Keypair::from_seed(&[99; 32])
}

/// The genesis plan of so many committees of four.
pub(crate) fn genesis(committees: usize) -> Plan {
    let committee = |(id, (shard_first, shard_count)): (usize, (u16, u16))| {
        let members = List::bounded((0..MEMBERS).map(|member| keypair_of(id, member).public_key()).collect());
        CommitteePlan { shard_first, shard_count, members }
    };
    Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [5; 32],
        issuer: issuer().public_key(),
        constants: Constants::standard(committees),
        committees: List::bounded(Plan::even_shards(committees).into_iter().enumerate().map(committee).collect()),
    }
}

fn approvals(plan: &Plan) -> Vec<PlanApproval> {
    let hash = plan_hash(plan);
    let message = plan_approval_message(&chain_id(plan), &hash, Epoch::ZERO);
    let approval = |(committee, member)| PlanApproval {
        plan: hash,
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(committee),
        member: MemberIndex::at(member),
        signature: keypair_of(committee, member).sign(&message),
    };
    (0..plan.committees.len()).flat_map(|id| (0..MEMBERS).map(move |member| (id, member))).map(approval).collect()
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports(count: usize) -> Vec<SocketAddr> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("an address")).collect()
}

/// The key file of a member of committee 0.
pub(crate) fn write_key(dir: &Path, member: usize) {
    std::fs::create_dir_all(dir).expect("a directory");
    let mut key = File::options().write(true).create_new(true).mode(0o600).open(dir.join("key")).expect("a key file");
    let digits: String = [seed_byte(0, member); 32].iter().map(|byte| format!("{byte:02x}")).collect();
    key.write_all(digits.as_bytes()).expect("written");
}

/// What member `member` of committee 0 needs to start without a signaler; `peers` are that committee's.
pub(crate) fn prepare(dir: &Path, member: usize, plan: &Plan, peers: &[SocketAddr]) {
    write_key(dir, member);
    let change = EpochChange { plan: plan.clone(), approvals: List::bounded(approvals(plan)) };
    std::fs::write(dir.join("genesis"), change.to_bytes()).expect("written");
    let nodes = peers.iter().enumerate().map(|(member, addr)| {
        let key = keypair(member).public_key().to_string();
        serde_json::json!({ "committee": 0, "member": member, "key": key, "addr": addr })
    });
    let nodes = serde_json::json!({ "nodes": nodes.collect::<Vec<_>>() });
    std::fs::write(dir.join("peers.json"), nodes.to_string()).expect("written");
}

/// Adds the arguments of a node on that directory and these ports.
pub(crate) fn run_arguments(command: &mut Command, dir: &Path, peers: SocketAddr, clients: SocketAddr) {
    let dir = dir.to_str().expect("text");
    command.args(["run", "--data-dir", dir, "--signaler", "http://127.0.0.1:9", "--log", "warn"]);
    command.args(["--listen-peers", &peers.to_string(), "--listen-clients", &clients.to_string()]);
}

/// The `n`-th account that lives in `committee`.
pub(crate) fn account(plan: &Plan, committee: usize, n: u8) -> Keypair {
    let keys = (0..=u8::MAX).map(|try_| {
        let mut seed = [n; 32];
        seed[0] = try_;
        Keypair::from_seed(&seed)
    });
    let mut local = keys.filter(|key| plan.owner(shard_of(&key.public_key())).index() == committee);
    local.next().expect("a half of all keys lives in each of two committees")
}

/// The `n`-th mint that committee 0 decides, of so many micro-units.
pub(crate) fn mint(plan: &Plan, recipient: PublicKey, micros: u64, n: usize) -> Transaction {
    let deposits = (0..=u8::MAX).map(|try_| {
        let mut deposit = [try_; 32];
        deposit[..8].copy_from_slice(&n.to_le_bytes());
        DepositRef(deposit)
    });
    let mut decided = deposits.filter(|deposit| plan.owner(shard_of_deposit(deposit)).index() == 0);
    let deposit_ref = decided.next().expect("a half of all references is decided by each of two committees");
    let body = Mint { recipient, amount: Amount::from_micros(micros), deposit_ref };
    let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
    let signature = issuer().sign(&transaction_message(&chain_id(plan), &unsigned));
    Transaction::Mint(SignedMint { body, signature })
}
