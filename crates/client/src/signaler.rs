//! The signaler's HTTP interface (`docs/SIGNALER.md`): what is asked, what is answered, what nodes sign.
//!
//! Guarantees: one definition for both sides. Requests refuse unknown fields; replies may grow fields.
//! Signed bytes stand here once, made and checked by the same function.
//!
//! The signaler is not trusted for safety. A reader takes keys and plans from it only as far as a pinned
//! genesis plan and its members' signatures vouch for them; addresses and figures are hints.

mod calls;
mod error;
mod json;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shardpay_crypto::{SignedKind, Signer, signed_message};
use shardpay_types::{
    ChainId, Codec, CommitteeId, DecodeError, Epoch, EpochChange, Height, MemberIndex, Plan, PlanApproval, PlanHash,
    PublicKey, Reader, Round, Signature,
};

pub use calls::{SignalerClient, SignalerError};
pub use error::{ErrorBody, ErrorCode};
pub use json::Hex;
pub(crate) use json::number;

/// Path of registrations (POST).
pub const PATH_NODES: &str = "/v1/nodes";
/// Path of the topology (GET).
pub const PATH_TOPOLOGY: &str = "/v1/topology";
/// Path of proposed plans and completed epoch changes (GET).
pub const PATH_PLANS: &str = "/v1/plans";
/// Path of co-signatures (POST).
pub const PATH_APPROVALS: &str = "/v1/approvals";
/// Path of heartbeats (POST).
pub const PATH_HEARTBEATS: &str = "/v1/heartbeats";
/// Path of the operator's order to close the epoch (POST).
pub const PATH_CLOSE: &str = "/v1/epochs/close";
/// Path of the signaler's own state (GET).
pub const PATH_HEALTH: &str = "/v1/health";

/// Largest body of a request.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Longest time a long poll waits.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// Names a network before it has a ledger: the salt of its genesis plan. It stands in the place of the
/// chain id in what nodes sign for the signaler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 32]);

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl Codec for NetworkId {
    const MIN_LEN: usize = 32;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

/// Where the network stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nodes register; there is no plan yet.
    Registering,
    /// The genesis plan is proposed; members co-sign it.
    Genesis,
    /// An epoch runs.
    Producing,
    /// The next plan is proposed; members of the running epoch co-sign it.
    Closing,
    /// The epoch change has its co-signatures and is handed to the nodes until every committee is past it.
    Handover,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registering => "registering",
            Self::Genesis => "genesis",
            Self::Producing => "producing",
            Self::Closing => "closing",
            Self::Handover => "handover",
        })
    }
}

/// The two sockets of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
}

/// POST [`PATH_NODES`]: a node makes itself known, or tells its new addresses after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The node's key.
    pub key: Hex<PublicKey>,
    /// Higher than in every earlier registration of this key; the time in microseconds will do.
    pub counter: u64,
    /// Where other nodes reach it.
    pub peer_addr: SocketAddr,
    /// Where clients reach it.
    pub client_addr: SocketAddr,
    /// Signature over [`RegisterRequest::message`]: proof that the node holds the key.
    pub proof: Hex<Signature>,
}

impl RegisterRequest {
    /// A registration signed by `signer`.
    pub fn signed(network: &NetworkId, signer: &dyn Signer, counter: u64, addresses: Addresses) -> Self {
        let mut request = Self {
            key: Hex(signer.public_key()),
            counter,
            peer_addr: addresses.peer,
            client_addr: addresses.client,
            proof: Hex(Signature::ZERO),
        };
        request.proof = Hex(signer.sign(&request.message(network)));
        request
    }

    /// The bytes that `proof` covers: kind `Registration` over key ‖ counter ‖ peer address ‖ client address,
    /// an address as text with its length (u32) before it.
    pub fn message(&self, network: &NetworkId) -> Vec<u8> {
        let mut body = Vec::with_capacity(128);
        self.key.encode(&mut body);
        self.counter.encode(&mut body);
        for addr in [self.peer_addr, self.client_addr] {
            let text = addr.to_string();
            u32::try_from(text.len()).expect("addresses are short").encode(&mut body);
            body.extend_from_slice(text.as_bytes());
        }
        signed_message(&ChainId(network.0), SignedKind::Registration, &body)
    }
}

/// A place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The committee.
    #[serde(with = "number")]
    pub committee: CommitteeId,
    /// The position in it.
    #[serde(with = "number")]
    pub member: MemberIndex,
}

/// Answer to a registration: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterReply {
    /// The signaler's version counter.
    pub version: u64,
    /// The phase.
    pub phase: Phase,
    /// How many nodes have registered.
    pub registered: usize,
    /// How many the network needs.
    pub expected: usize,
    /// The node's place, once it is known.
    pub placement: Option<Placement>,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The epoch it runs.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// Its last own round.
    #[serde(with = "number")]
    pub round: Round,
    /// Its last executed height.
    #[serde(with = "number")]
    pub executed: Height,
    /// Its last certified height.
    #[serde(with = "number")]
    pub certified: Height,
}

/// What a node's process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessFigures {
    /// Its process id.
    pub pid: u32,
    /// Processor time since its start, microseconds.
    pub cpu_us: u64,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// POST [`PATH_HEARTBEATS`]: a node is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// The node's key.
    pub key: Hex<PublicKey>,
    /// The node's time, microseconds since 1970; higher than in every earlier heartbeat.
    pub time_us: u64,
    /// How far it is.
    pub progress: Progress,
    /// What its process uses.
    #[serde(default)]
    pub process: Option<ProcessFigures>,
    /// Signature over [`HeartbeatRequest::message`].
    pub signature: Hex<Signature>,
}

impl HeartbeatRequest {
    /// A heartbeat signed by `signer`.
    pub fn signed(
        network: &NetworkId,
        signer: &dyn Signer,
        time_us: u64,
        progress: Progress,
        process: Option<ProcessFigures>,
    ) -> Self {
        let key = Hex(signer.public_key());
        let mut request = Self { key, time_us, progress, process, signature: Hex(Signature::ZERO) };
        request.signature = Hex(signer.sign(&request.message(network)));
        request
    }

    /// The bytes that `signature` covers: kind `Heartbeat` over key ‖ time ‖ epoch ‖ round ‖ executed ‖
    /// certified ‖ option of (pid as u32 ‖ processor time ‖ memory).
    pub fn message(&self, network: &NetworkId) -> Vec<u8> {
        let mut body = Vec::with_capacity(128);
        self.key.encode(&mut body);
        self.time_us.encode(&mut body);
        let Progress { epoch, round, executed, certified } = self.progress;
        epoch.encode(&mut body);
        round.encode(&mut body);
        executed.encode(&mut body);
        certified.encode(&mut body);
        self.process.is_some().encode(&mut body);
        if let Some(process) = &self.process {
            process.pid.encode(&mut body);
            process.cpu_us.encode(&mut body);
            process.rss_bytes.encode(&mut body);
        }
        signed_message(&ChainId(network.0), SignedKind::Heartbeat, &body)
    }
}

/// Answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The signaler's version counter: when it differs from the one last seen, there is something to read.
    pub version: u64,
    /// The signaler's time, microseconds since 1970.
    pub time_us: u64,
    /// The phase.
    pub phase: Phase,
    /// The running epoch.
    #[serde(with = "number")]
    pub epoch: Epoch,
}

/// A plan that is, or was, up for co-signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The plan's epoch.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// The plan's hash; a reader computes it itself.
    pub hash: Hex<PlanHash>,
    /// The plan.
    pub plan: Hex<Plan>,
    /// Co-signatures so far, ascending by (committee, member).
    pub approvals: Vec<Hex<PlanApproval>>,
    /// Whether Q members of each committee co-signed.
    pub complete: bool,
}

/// A finished epoch change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The epoch that starts.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// The hash of its plan.
    pub hash: Hex<PlanHash>,
    /// Plan and co-signatures.
    pub change: Hex<EpochChange>,
}

/// Query of GET [`PATH_PLANS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlansQuery {
    /// The version last seen; together with `wait`: answer when the version differs from it.
    pub after: Option<u64>,
    /// How many seconds to wait at most (≤ [`WAIT_SECONDS_MAX`]).
    pub wait: Option<u64>,
    /// The reader's epoch: changes to later epochs are returned, oldest first. Without it, the newest.
    pub epoch: Option<u64>,
}

/// Answer of GET [`PATH_PLANS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlansReply {
    /// The signaler's version counter.
    pub version: u64,
    /// The network, before it has a ledger.
    pub network: Hex<NetworkId>,
    /// The phase.
    pub phase: Phase,
    /// The running epoch (0 until genesis is complete).
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// The genesis plan, once all nodes have registered, for ever.
    pub genesis: Option<Proposal>,
    /// The plan of the next epoch while it is to be co-signed.
    pub proposal: Option<Proposal>,
    /// Finished changes.
    pub changes: Vec<Change>,
}

/// POST [`PATH_APPROVALS`]: a member co-signs a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The co-signature.
    pub approval: Hex<PlanApproval>,
}

/// Answer to a co-signature: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalReply {
    /// The signaler's version counter.
    pub version: u64,
    /// How many co-signatures the plan has.
    pub approvals: usize,
    /// Whether Q members of each committee co-signed.
    pub complete: bool,
}

/// POST [`PATH_CLOSE`]: the operator ends an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The epoch to end; an epoch that has ended or is ending is no error.
    #[serde(with = "number")]
    pub epoch: Epoch,
}

/// Answer to the operator: the order is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseReply {
    /// The signaler's version counter.
    pub version: u64,
    /// The phase.
    pub phase: Phase,
    /// The running epoch.
    #[serde(with = "number")]
    pub epoch: Epoch,
}

/// Answer of GET [`PATH_HEALTH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The program's version.
    pub program: String,
    /// The signaler's version counter.
    pub version: u64,
    /// The phase.
    pub phase: Phase,
    /// The running epoch.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// The signaler's time, microseconds since 1970.
    pub time_us: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Nodes that have registered.
    pub registered: usize,
    /// Nodes the network needs.
    pub expected: usize,
    /// Nodes whose heartbeats arrive.
    pub up: usize,
}

#[cfg(test)]
mod tests {
    use shardpay_crypto::{Keypair, SignatureScheme, Zip215};

    use super::*;

    const NETWORK: NetworkId = NetworkId([9; 32]);
    const PROGRESS: Progress =
        Progress { epoch: Epoch::ZERO, round: Round::ZERO, executed: Height::ZERO, certified: Height::ZERO };

    fn registration() -> RegisterRequest {
        let addresses = Addresses {
            peer: "127.0.0.1:4001".parse().expect("an address"),
            client: "[::1]:4002".parse().expect("an address"),
        };
        RegisterRequest::signed(&NETWORK, &Keypair::from_seed(&[1; 32]), 7, addresses)
    }

    #[test]
    fn a_registration_is_signed_over_every_field() {
        let scheme = Zip215::new([0; 32], 16);
        let good =
            |request: &RegisterRequest, network| scheme.verify(&request.key, &request.message(network), &request.proof);
        let request = registration();
        assert!(good(&request, &NETWORK));
        assert!(!good(&request, &NetworkId([8; 32])));
        let changed = [
            RegisterRequest { counter: 8, ..request.clone() },
            RegisterRequest { peer_addr: request.client_addr, ..request.clone() },
            RegisterRequest { client_addr: request.peer_addr, ..request.clone() },
            RegisterRequest { key: Hex(Keypair::from_seed(&[2; 32]).public_key()), ..request.clone() },
        ];
        assert!(changed.iter().all(|request| !good(request, &NETWORK)));
    }

    #[test]
    fn signed_layouts_are_as_documented() {
        let request = registration();
        let mut body = request.key.0.0.to_vec();
        body.extend(7u64.to_le_bytes());
        body.extend(14u32.to_le_bytes());
        body.extend(b"127.0.0.1:4001");
        body.extend(10u32.to_le_bytes());
        body.extend(b"[::1]:4002");
        assert_eq!(request.message(&NETWORK), signed_message(&ChainId([9; 32]), SignedKind::Registration, &body));

        let progress = Progress { epoch: Epoch::new(1), round: Round::new(2), ..PROGRESS };
        let process = ProcessFigures { pid: 3, cpu_us: 4, rss_bytes: 5 };
        let signer = Keypair::from_seed(&[1; 32]);
        let request = HeartbeatRequest::signed(&NETWORK, &signer, 6, progress, Some(process));
        let mut body = request.key.0.0.to_vec();
        for number in [6u64, 1, 2, 0, 0] {
            body.extend(number.to_le_bytes());
        }
        body.push(1);
        body.extend(3u32.to_le_bytes());
        body.extend(4u64.to_le_bytes());
        body.extend(5u64.to_le_bytes());
        assert_eq!(request.message(&NETWORK), signed_message(&ChainId([9; 32]), SignedKind::Heartbeat, &body));
    }

    #[test]
    fn requests_refuse_unknown_fields_and_replies_do_not() {
        let mut json = serde_json::to_value(registration()).expect("serialises");
        assert!(serde_json::from_value::<RegisterRequest>(json.clone()).is_ok());
        json["extra"] = 1.into();
        assert!(serde_json::from_value::<RegisterRequest>(json).is_err());
        let reply = r#"{"version":1,"phase":"closing","epoch":2,"new":3}"#;
        assert_eq!(serde_json::from_str::<CloseReply>(reply).expect("reads").phase, Phase::Closing);
        let error = r#"{"error":"from_the_future","field":null,"detail":"x"}"#;
        assert_eq!(serde_json::from_str::<ErrorBody>(error).expect("reads").error, ErrorCode::Other);
    }
}
