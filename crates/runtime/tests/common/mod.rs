//! A committee of real nodes in this process (QUIC on loopback, RocksDB in temporary directories), and a
//! client that speaks the bare protocol to one of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shardpay_crypto::{Keypair, Signer, Zip215, chain_id, shard_of_deposit, transaction_message};
use shardpay_runtime::{Node, NodeParts, Ports, PortsConfig, RuntimeConfig};
use shardpay_storage::{Durability, NodeStore, StoreIdentity, StoreOptions};
use shardpay_telemetry::{Recorder, ServerTag};
use shardpay_transport::{
    ClientConnection, ClientConnector, ClientLimits, FrameReceiver, FrameSender, Identity, PeerAddress, PeerConfig,
};
use shardpay_types::{
    Amount, ChainId, ClientReply, ClientRequest, Codec, CommitteeId, CommitteePlan, Constants, DepositRef, Epoch,
    Hello, List, MemberIndex, Mint, NodeId, Payment, Plan, PlanHash, PublicKey, Reference, Sequence, Signature,
    SignedMint, SignedPayment, Submit, Timestamp, Transaction, TxAnswer, TxId, Version,
};

/// Everything in these tests happens well within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const MEMBERS: usize = 4;

/// A member, running or not.
pub(crate) struct Member {
    dir: tempfile::TempDir,
    seed: [u8; 32],
    running: Option<(Node, NodeStore)>,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) client_addr: SocketAddr,
    recorder: Recorder,
}

/// One committee.
pub(crate) struct Cluster {
    pub(crate) plan: Arc<Plan>,
    pub(crate) chain: ChainId,
    pub(crate) members: Vec<Member>,
    pub(crate) issuer: Keypair,
    tune: fn(&mut RuntimeConfig),
}

pub(crate) fn id(member: usize) -> NodeId {
    NodeId { committee: CommitteeId::at(0), member: MemberIndex::at(member) }
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Cluster {
    /// Four nodes that know each other. `tune` changes their configuration.
    pub(crate) async fn start(tune: fn(&mut RuntimeConfig)) -> Self {
        Self::start_allowing(0, tune).await
    }

    /// The same on a ledger that orders opaque payloads of so many bytes.
    pub(crate) async fn start_allowing(opaque_bytes_max: u32, tune: fn(&mut RuntimeConfig)) -> Self {
        let seeds: Vec<[u8; 32]> = (1..=MEMBERS).map(|n| [n as u8; 32]).collect();
        let keys = seeds.iter().map(|seed| Keypair::from_seed(seed).public_key()).collect();
        let (shard_first, shard_count) = Plan::even_shards(1)[0];
        let issuer = Keypair::from_seed(&[99; 32]);
        let plan = Arc::new(Plan {
            version: Version,
            epoch: Epoch::ZERO,
            previous: PlanHash::ZERO,
            salt: [7; 32],
            issuer: issuer.public_key(),
            constants: Constants { opaque_bytes_max, ..Constants::standard(1) },
            committees: List::bounded(vec![CommitteePlan { shard_first, shard_count, members: List::bounded(keys) }]),
        });
        let recorder = |member| Recorder::new(ServerTag::node(id(member).committee, id(member).member));
        let members = seeds.into_iter().enumerate().map(|(member, seed)| Member {
            dir: tempfile::tempdir().expect("a directory"),
            seed,
            running: None,
            peer_addr: listen(),
            client_addr: listen(),
            recorder: recorder(member),
        });
        let mut cluster = Self { chain: chain_id(&plan), plan, members: members.collect(), issuer, tune };
        for member in 0..MEMBERS {
            cluster.start_member(member).await;
        }
        cluster.introduce();
        cluster
    }

    /// Starts a member on what its directory holds.
    pub(crate) async fn start_member(&mut self, at: usize) {
        let member = &self.members[at];
        let identity = Identity::from_seed(member.seed);
        let keypair = Arc::new(Keypair::from_seed(&member.seed));
        let config = PortsConfig {
            peers: PeerConfig::standard(listen()),
            clients: listen(),
            client_limits: ClientLimits::default(),
        };
        let runtime = tokio::runtime::Handle::current();
        let ports = Ports::open(&runtime, config, &identity, &member.recorder).expect("ports");
        let (peer_addr, client_addr) = (ports.peer_addr(), ports.client_addr());
        let owner = StoreIdentity { chain: self.chain, node_key: keypair.public_key(), committee: id(at).committee };
        let opened = open(member.dir.path(), owner);
        let mut config = RuntimeConfig::standard(id(at), self.chain, 2);
        config.replica.consensus.min_round_delay = Duration::from_millis(5);
        (self.tune)(&mut config);
        let parts = NodeParts {
            config,
            genesis: self.plan.clone(),
            keypair,
            scheme: Arc::new(Zip215::new([at as u8; 32], 1_024)),
            ledger: opened.ledger,
            records: opened.records,
            ports,
            recorder: member.recorder.clone(),
            bend: None,
        };
        let (node, _events) = Node::start(parts).expect("starts");
        let member = &mut self.members[at];
        (member.peer_addr, member.client_addr) = (peer_addr, client_addr);
        member.running = Some((node, opened.store));
    }

    /// Tells everybody where everybody is.
    pub(crate) fn introduce(&self) {
        for (at, member) in self.members.iter().enumerate() {
            let others = self.members.iter().enumerate().filter(|(other, _)| *other != at);
            let peers = others.map(|(other, member)| PeerAddress {
                node: id(other),
                key: Keypair::from_seed(&member.seed).public_key(),
                addr: member.peer_addr,
            });
            if let Some((node, _)) = &member.running {
                node.set_peers(peers.collect());
            }
        }
    }

    /// Stops a member in good order.
    pub(crate) async fn stop_member(&mut self, at: usize) {
        let (node, store) = self.members[at].running.take().expect("runs");
        assert_eq!(node.shutdown().await, None, "nothing broke");
        store.close().expect("closes");
    }

    pub(crate) async fn stop(mut self) {
        for member in 0..MEMBERS {
            if self.members[member].running.is_some() {
                self.stop_member(member).await;
            }
        }
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.members[at].running.as_ref().expect("runs").0
    }

    pub(crate) async fn client(&self, at: usize) -> Client {
        let expected = Keypair::from_seed(&self.members[at].seed).public_key();
        Client::connect(self.members[at].client_addr, expected, self.chain).await
    }

    /// A mint that this committee decides (there is no other).
    pub(crate) fn mint(&self, recipient: PublicKey, amount: u64, deposit: u8) -> Transaction {
        let deposit_ref = DepositRef([deposit; 32]);
        assert_eq!(self.plan.owner(shard_of_deposit(&deposit_ref)), id(0).committee);
        let body = Mint { recipient, amount: Amount::from_micros(amount), deposit_ref };
        let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
        let signature = self.issuer.sign(&transaction_message(&self.chain, &unsigned));
        Transaction::Mint(SignedMint { body, signature })
    }

    pub(crate) fn payment(&self, payer: &Keypair, recipient: PublicKey, amount: u64, sequence: u64) -> Transaction {
        let body = Payment {
            sender: payer.public_key(),
            recipient,
            amount: Amount::from_micros(amount),
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::ZERO,
            reference: Reference([0; 16]),
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let signature = payer.sign(&transaction_message(&self.chain, &unsigned));
        Transaction::Payment(SignedPayment { body, signature })
    }
}

fn open(dir: &Path, owner: StoreIdentity) -> shardpay_storage::Opened {
    NodeStore::open(dir, owner, StoreOptions::standard(Durability::Fsync)).expect("a store")
}

/// A stream to a node.
pub(crate) struct Client {
    _connector: ClientConnector,
    _connection: ClientConnection,
    send: FrameSender,
    receive: FrameReceiver,
}

impl Client {
    /// Connects and says hello.
    pub(crate) async fn connect(addr: SocketAddr, expected: PublicKey, chain: ChainId) -> Self {
        let mut client = Self::connect_silently(addr, expected).await;
        client.send(Hello { version: Version, chain }.to_bytes()).await;
        let ClientReply::Welcome(_) = client.reply().await else { panic!("no welcome") };
        client
    }

    pub(crate) async fn connect_silently(addr: SocketAddr, expected: PublicKey) -> Self {
        let connector = ClientConnector::new(&tokio::runtime::Handle::current());
        let connection = connector.connect(addr, expected).await.expect("connects");
        let (send, receive) = connection.open().await.expect("a stream");
        Self { _connector: connector, _connection: connection, send, receive }
    }

    pub(crate) async fn send(&self, frame: Vec<u8>) {
        self.send.send(Bytes::from(frame)).await.expect("sent");
    }

    pub(crate) async fn request(&self, request: ClientRequest) {
        self.send(request.to_bytes()).await;
    }

    pub(crate) async fn submit(&self, transactions: Vec<Transaction>) {
        self.request(ClientRequest::Submit(Submit { transactions: List::bounded(transactions) })).await;
    }

    pub(crate) async fn reply(&mut self) -> ClientReply {
        self.next_reply().await.expect("the stream goes on")
    }

    /// The next reply; `None` when the stream has ended.
    pub(crate) async fn next_reply(&mut self) -> Option<ClientReply> {
        let frame = tokio::time::timeout(PATIENCE, self.receive.next()).await.expect("an answer in time");
        frame.ok().flatten().map(|frame| ClientReply::from_bytes(frame.bytes()).expect("canonical"))
    }

    /// The next `count` answers about transactions.
    pub(crate) async fn answers(&mut self, count: usize) -> Vec<(TxId, TxAnswer)> {
        let mut answers = Vec::new();
        while answers.len() < count {
            let ClientReply::Results(results) = self.reply().await else { panic!("not a result") };
            answers.extend(results.results.iter().map(|result| (result.txid, result.answer)));
        }
        answers
    }
}
