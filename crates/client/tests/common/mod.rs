//! A ledger without consensus behind real client ports: each committee has one shared ledger and four
//! member ports with keys of their own; what is submitted is executed and certified every few milliseconds,
//! packs go from ledger to ledger. Each member can be told to misbehave.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shardpay_client::{Client, Directory, Endpoint};
use shardpay_crypto::{
    Commit, Keypair, SealedBlock, Signer, Zip215, balance_message, chain_id, header_message, sha256, shard_of,
    transaction_message, txid,
};
use shardpay_ledger::{Config, Ledger, MemStore, TxReject, Verdict};
use shardpay_transport::{
    ClientHandler, ClientLimits, ClientServer, ConnectionInfo, Identity, ReplySender, RequestReceiver, TransportRefusal,
};
use shardpay_types::*;
use tokio::sync::watch;

const MEMBERS: usize = 4;
const TICK: Duration = Duration::from_millis(5);

/// What a member does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    None,
    /// Answers `Busy` to every submission.
    Busy,
    /// Says it does not propose.
    NotProposing,
    /// Ends the stream instead of answering a submission.
    Drop,
    /// Takes submissions and forgets them.
    Forget,
    /// Says `Executed` and forgets them.
    SayExecuted,
    /// Delivers no block.
    Silent,
    /// Takes a transaction out of each block.
    Omit,
    /// Certificates with one good signature.
    Forge,
    /// Leaves out every other block.
    Gap,
    /// Another balance, well signed.
    Rich,
}

pub fn seed(parts: &[&[u8]]) -> [u8; 32] {
    sha256(parts)
}

pub fn member_seed(committee: usize, member: usize) -> [u8; 32] {
    seed(&[b"member", &[committee as u8, member as u8]])
}

pub const ISSUER_SEED: [u8; 32] = [42; 32];

struct Committee {
    ledger: Ledger<MemStore>,
    keys: Vec<Keypair>,
    pending: Vec<(Transaction, watch::Sender<Option<TxAnswer>>)>,
    round: u64,
    leaders: Vec<BlockRef>,
}

struct World {
    chain: ChainId,
    committees: Vec<Committee>,
    time: u64,
}

/// The fake cluster. Stops with its runtime.
pub struct Cluster {
    pub plan: Arc<Plan>,
    world: Arc<Mutex<World>>,
    twists: Arc<Mutex<BTreeMap<NodeId, Twist>>>,
    servers: Vec<(NodeId, ClientServer)>,
    pub submissions: Arc<AtomicU64>,
}

impl Cluster {
    pub async fn start(committees: usize) -> Self {
        let plan = Arc::new(plan(committees));
        let chain = chain_id(&plan);
        let open = |c: usize| Committee {
            ledger: Ledger::open(config(&plan, c), MemStore::new()).expect("a fresh store opens"),
            keys: (0..MEMBERS).map(|m| Keypair::from_seed(&member_seed(c, m))).collect(),
            pending: Vec::new(),
            round: 0,
            leaders: Vec::new(),
        };
        let committees: Vec<_> = (0..committees).map(open).collect();
        let world = Arc::new(Mutex::new(World { chain, committees, time: 1 }));
        let (changed, watcher) = watch::channel(0u64);
        let twists = Arc::new(Mutex::new(BTreeMap::new()));
        let submissions = Arc::new(AtomicU64::new(0));
        let mut servers = Vec::new();
        for node in nodes(&plan) {
            let member = Member {
                node,
                chain,
                world: world.clone(),
                twists: twists.clone(),
                changed: watcher.clone(),
                submissions: submissions.clone(),
            };
            let identity = Identity::from_seed(member_seed(node.committee.index(), node.member.index()));
            let (runtime, listen) = (tokio::runtime::Handle::current(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            let limits = ClientLimits { attempts_per_address_per_second: 10_000, ..ClientLimits::default() };
            let server = ClientServer::start(&runtime, listen, limits, &identity, Arc::new(Port(Arc::new(member))));
            servers.push((node, server.expect("a loopback port")));
        }
        let ticked = world.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                ticked.lock().expect("no panic inside").step();
                changed.send_modify(|version| *version += 1);
            }
        });
        Self { plan, world, twists, servers, submissions }
    }

    pub fn twist(&self, committee: usize, member: usize, twist: Twist) {
        let node = NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) };
        self.twists.lock().expect("no panic inside").insert(node, twist);
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        let key = |node: &NodeId| self.plan.committees[node.committee.index()].members[node.member.index()];
        self.servers
            .iter()
            .map(|(node, server)| Endpoint { node: *node, key: key(node), addr: server.local_addr() })
            .collect()
    }

    pub fn client(&self) -> Client {
        Client::new((*self.plan).clone(), Directory::new(self.endpoints())).expect("directory and plan fit")
    }

    /// The `n`-th account that lives in `committee`.
    pub fn account(&self, committee: usize, n: u64) -> Keypair {
        let keys = (0u64..).map(|i| Keypair::from_seed(&seed(&[b"account", &n.to_le_bytes(), &i.to_le_bytes()])));
        let mut local = keys.filter(|key| self.plan.owner(shard_of(&key.public_key())).index() == committee);
        local.next().expect("every committee owns shards")
    }

    pub fn pay(&self, sender: &Keypair, recipient: &Keypair, sequence: u64) -> Transaction {
        let body = Payment {
            sender: sender.public_key(),
            recipient: recipient.public_key(),
            amount: Amount::from_micros(10),
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::ZERO,
            reference: Reference::ZERO,
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let signature = sender.sign(&transaction_message(&chain_id(&self.plan), &unsigned));
        Transaction::Payment(SignedPayment { body, signature })
    }

    pub fn mint(&self, recipient: &Keypair, n: u64) -> Transaction {
        let home = self.plan.owner(shard_of(&recipient.public_key()));
        let refs = (0u64..).map(|i| DepositRef(seed(&[b"deposit", &n.to_le_bytes(), &i.to_le_bytes()])));
        let mut local = refs.filter(|deposit| self.plan.owner(shardpay_crypto::shard_of_deposit(deposit)) == home);
        let deposit_ref = local.next().expect("every committee owns shards");
        let body = Mint { recipient: recipient.public_key(), amount: Amount::from_micros(1_000_000), deposit_ref };
        let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
        let signature = Keypair::from_seed(&ISSUER_SEED).sign(&transaction_message(&chain_id(&self.plan), &unsigned));
        Transaction::Mint(SignedMint { body, signature })
    }

    pub fn balance(&self, committee: usize, key: &Keypair) -> AccountState {
        self.world.lock().expect("no panic inside").committees[committee].ledger.account(&key.public_key())
    }
}

fn nodes(plan: &Plan) -> Vec<NodeId> {
    plan.committee_ids()
        .flat_map(|committee| (0..MEMBERS).map(move |m| NodeId { committee, member: MemberIndex::at(m) }))
        .collect()
}

fn plan(committees: usize) -> Plan {
    let shards = Plan::even_shards(committees);
    let committee = |(c, (shard_first, shard_count)): (usize, &(u16, u16))| CommitteePlan {
        shard_first: *shard_first,
        shard_count: *shard_count,
        members: List::bounded((0..MEMBERS).map(|m| Keypair::from_seed(&member_seed(c, m)).public_key()).collect()),
    };
    Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [7; 32],
        issuer: Keypair::from_seed(&ISSUER_SEED).public_key(),
        constants: Constants::standard(committees),
        committees: List::bounded(shards.iter().enumerate().map(committee).collect()),
    }
}

fn config(plan: &Arc<Plan>, committee: usize) -> Config {
    let scheme = Arc::new(Zip215::new([committee as u8; 32], 1_024));
    Config { genesis: plan.clone(), committee: CommitteeId::at(committee), scheme, hash_seed: 1 }
}

impl World {
    fn step(&mut self) {
        self.time += 5_000;
        for c in 0..self.committees.len() {
            let waiting = self.committees[c].pending.len().min(BLOCK_TRANSACTIONS_MAX);
            let pending: Vec<_> = self.committees[c].pending.drain(..waiting).collect();
            let packs: Vec<Pack> =
                (0..self.committees.len()).filter(|s| *s != c).filter_map(|s| self.pack(s, c)).collect();
            if !pending.is_empty() || !packs.is_empty() {
                self.commit(c, pending, packs);
            }
        }
    }

    fn pack(&self, source: usize, destination: usize) -> Option<Pack> {
        let first = self.committees[destination].ledger.view().cursors[source].count;
        self.committees[source].ledger.pack(CommitteeId::at(destination), first).expect("memory does not fail")
    }

    fn commit(&mut self, c: usize, pending: Vec<(Transaction, watch::Sender<Option<TxAnswer>>)>, packs: Vec<Pack>) {
        let (chain, time) = (self.chain, self.time);
        let committee = &mut self.committees[c];
        committee.round += 1;
        let author = (committee.round % MEMBERS as u64) as usize;
        let transactions = List::bounded(pending.iter().map(|(transaction, _)| *transaction).collect());
        let block = Block {
            version: Version,
            chain,
            epoch: Epoch::ZERO,
            committee: CommitteeId::at(c),
            author: MemberIndex::at(author),
            round: Round::new(committee.round),
            timestamp: Timestamp::from_micros(time),
            parents: List::default(),
            payload: Payload { transactions, packs: List::bounded(packs), ..Payload::default() },
            signature: Signature::ZERO,
        };
        let sealed = SealedBlock::sign(block, &committee.keys[author]);
        let anchor = sealed.reference();
        committee.leaders.push(anchor);
        committee.leaders.retain(|leader| leader.round.get() + 60 > anchor.round.get());
        let leaders = committee.leaders.clone();
        let commit = Commit { anchor, median_time: Timestamp::from_micros(time), leaders, blocks: vec![sealed] };
        let executed = committee.ledger.execute(&commit).expect("memory does not fail");
        for made in &executed.blocks {
            let certificate = certificate(&committee.keys, &header_message(&chain, &made.hash), 3);
            let certified = CertifiedHeader { header: made.block.header.clone(), certificate };
            committee.ledger.certify(&certified).expect("memory does not fail");
        }
        let verdicts: BTreeMap<TxId, Verdict> = executed.verdicts.into_iter().rev().collect();
        for (transaction, answer) in pending {
            if let Some(verdict) = verdicts.get(&txid(&chain, &transaction)) {
                answer.send_replace(Some(answer_of(*verdict)));
            }
        }
    }
}

fn certificate(keys: &[Keypair], message: &[u8], good: usize) -> Certificate {
    let signed = keys.iter().enumerate().take(3).map(|(m, key)| MemberSignature {
        member: MemberIndex::at(m),
        signature: if m < good { key.sign(message) } else { Signature([9; 64]) },
    });
    Certificate::new(signed.collect()).expect("distinct members")
}

fn answer_of(verdict: Verdict) -> TxAnswer {
    match verdict {
        Verdict::Executed { height, leaf, outcome } => TxAnswer::Executed(ExecutedAt { height, leaf, outcome }),
        Verdict::Dropped(TxReject::SequenceUsed) => TxAnswer::Rejected(RejectReason::SequenceUsed),
        Verdict::Dropped(TxReject::SequenceGap) => TxAnswer::Rejected(RejectReason::SequenceGap),
        Verdict::Dropped(TxReject::DepositUsed) => TxAnswer::Rejected(RejectReason::DepositUsed),
        Verdict::Dropped(_) => TxAnswer::Rejected(RejectReason::WrongCommittee),
    }
}

struct Member {
    node: NodeId,
    chain: ChainId,
    world: Arc<Mutex<World>>,
    twists: Arc<Mutex<BTreeMap<NodeId, Twist>>>,
    changed: watch::Receiver<u64>,
    submissions: Arc<AtomicU64>,
}

struct Port(Arc<Member>);

impl ClientHandler for Port {
    fn open(&self, _: ConnectionInfo, send: ReplySender, requests: RequestReceiver) {
        let member = self.0.clone();
        tokio::spawn(async move { member.serve(Arc::new(send), requests).await });
    }
    fn refused(&self, _: TransportRefusal, _: SocketAddr) {}
}

impl Member {
    fn twist(&self) -> Twist {
        self.twists.lock().expect("no panic inside").get(&self.node).copied().unwrap_or(Twist::None)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic inside")
    }

    async fn serve(self: Arc<Self>, send: Arc<ReplySender>, mut requests: RequestReceiver) {
        let Ok(Some(hello)) = requests.next().await else { return };
        if Hello::from_bytes(hello.bytes()).is_ok_and(|hello| hello.chain != self.chain) {
            let refused = Refused { reason: RefuseReason::WrongChain, retry_after_ms: 0 };
            let _ = send.send(ClientReply::Refused(refused).to_bytes().into()).await;
            return;
        }
        let status = self.world().committees[self.node.committee.index()].ledger.status();
        let welcome = Welcome {
            committee: self.node.committee,
            member: self.node.member,
            epoch: status.epoch,
            executed: status.height,
            certified: status.certified,
            proposing: true,
        };
        let _ = send.send(ClientReply::Welcome(welcome).to_bytes().into()).await;
        while let Ok(Some(frame)) = requests.next().await {
            match ClientRequest::from_bytes(frame.bytes()).expect("own client encodes well") {
                ClientRequest::Submit(submit) => {
                    if self.twist() == Twist::Drop {
                        send.abort();
                        return;
                    }
                    self.submissions.fetch_add(submit.transactions.len() as u64, Ordering::Relaxed);
                    tokio::spawn(self.clone().execute(submit.transactions.into_vec(), send.clone()));
                }
                ClientRequest::Opaque(_) => unreachable!("this ledger is for payments"),
                ClientRequest::Subscribe(subscribe) => {
                    tokio::spawn(self.clone().deliver(subscribe, send.clone()));
                }
                ClientRequest::Receipt(request) => {
                    let reply = self.receipt(request);
                    let _ = send.send(reply.to_bytes().into()).await;
                }
                ClientRequest::Balance(request) => {
                    let reply = self.balance(request);
                    let _ = send.send(reply.to_bytes().into()).await;
                }
                ClientRequest::Epochs(_) => {
                    let records = EpochRecords { records: List::default() };
                    let _ = send.send(ClientReply::Epochs(records).to_bytes().into()).await;
                }
            }
        }
    }

    async fn execute(self: Arc<Self>, transactions: Vec<Transaction>, send: Arc<ReplySender>) {
        let same = |answer: TxAnswer| {
            let result = |transaction| TxResult { txid: txid(&self.chain, transaction), answer };
            Some(transactions.iter().map(result).collect::<Vec<_>>())
        };
        let at = ExecutedAt { height: Height::new(1), leaf: 0, outcome: Outcome::Applied };
        let results = match self.twist() {
            Twist::Busy => same(TxAnswer::Busy(10)),
            Twist::NotProposing => same(TxAnswer::Rejected(RejectReason::NotProposing)),
            Twist::SayExecuted => same(TxAnswer::Executed(at)),
            Twist::Forget => return,
            _ => None,
        };
        let results = match results {
            Some(results) => results,
            None => self.executed(&transactions).await,
        };
        let results = Results { results: List::bounded(results) };
        let _ = send.send(ClientReply::Results(results).to_bytes().into()).await;
    }

    async fn executed(&self, transactions: &[Transaction]) -> Vec<TxResult> {
        let mut answers = Vec::new();
        {
            let mut world = self.world();
            for transaction in transactions {
                let (sender, receiver) = watch::channel(None);
                world.committees[self.node.committee.index()].pending.push((*transaction, sender));
                answers.push((txid(&self.chain, transaction), receiver));
            }
        }
        let mut results = Vec::new();
        for (txid, mut receiver) in answers {
            if let Ok(answer) = receiver.wait_for(Option::is_some).await {
                results.push(TxResult { txid, answer: answer.expect("waited for") });
            }
        }
        results
    }

    async fn deliver(self: Arc<Self>, subscribe: Subscribe, send: Arc<ReplySender>) {
        let mut changed = self.changed.clone();
        let mut next = subscribe.from;
        loop {
            let twist = self.twist();
            let blocks = match twist {
                Twist::Silent => Vec::new(),
                _ => self.world().committees[self.node.committee.index()].ledger.blocks(next, 1 << 20).expect("memory"),
            };
            for block in blocks {
                next = block.block.header.height.next();
                if twist == Twist::Gap && next.get().is_multiple_of(2) {
                    continue;
                }
                let reply = match &subscribe.accounts {
                    None => ClientReply::Block(Box::new(self.twisted(twist, block))),
                    Some(accounts) => self.part(&block, accounts),
                };
                if send.send(reply.to_bytes().into()).await.is_err() {
                    return;
                }
            }
            if changed.changed().await.is_err() || !send.is_open() {
                return;
            }
        }
    }

    fn twisted(&self, twist: Twist, mut block: CertifiedBlock) -> CertifiedBlock {
        match twist {
            Twist::Omit => {
                let mut items = block.block.items.into_vec();
                items.pop();
                block.block.items = List::bounded(items);
            }
            Twist::Forge => {
                block.block.header.ledger_time = Timestamp::from_micros(1);
                let hash = shardpay_crypto::header_hash(&block.block.header);
                let world = self.world();
                let keys = &world.committees[self.node.committee.index()].keys;
                block.certificate = certificate(keys, &header_message(&self.chain, &hash), 1);
            }
            _ => {}
        }
        block
    }

    fn part(&self, block: &CertifiedBlock, accounts: &[PublicKey]) -> ClientReply {
        let world = self.world();
        let ledger = &world.committees[self.node.committee.index()].ledger;
        let height = block.block.header.height;
        let (mut receipts, mut credits) = (Vec::new(), Vec::new());
        for leaf in 0..block.block.header.leaf_count {
            if let Some(receipt) = ledger.receipt(height, leaf).expect("memory") {
                let transaction = &receipt.executed.transaction;
                let keys = transaction.debit().map(|(key, _)| key).into_iter().chain(transaction.recipient());
                if keys.into_iter().any(|key| accounts.contains(&key)) {
                    receipts.push(receipt);
                }
            } else if let Some(credit) = ledger.credit_receipt(height, leaf).expect("memory")
                && accounts.contains(&credit.message.payee)
            {
                credits.push(credit);
            }
        }
        let certified = CertifiedHeader { header: block.block.header.clone(), certificate: block.certificate.clone() };
        let (receipts, credits) = (List::bounded(receipts), List::bounded(credits));
        ClientReply::Part(Box::new(BlockPart { certified, receipts, credits }))
    }

    fn receipt(&self, request: ReceiptRequest) -> ClientReply {
        let world = self.world();
        let ledger = &world.committees[self.node.committee.index()].ledger;
        if let Some(receipt) = ledger.receipt(request.height, request.leaf).expect("memory") {
            return ClientReply::Receipt(Box::new(receipt));
        }
        match ledger.credit_receipt(request.height, request.leaf).expect("memory") {
            Some(receipt) => ClientReply::CreditReceipt(Box::new(receipt)),
            None => ClientReply::Refused(Refused { reason: RefuseReason::NoSuchLeaf, retry_after_ms: 10 }),
        }
    }

    fn balance(&self, request: BalanceRequest) -> ClientReply {
        let world = self.world();
        let committee = &world.committees[self.node.committee.index()];
        let (state, status) = (committee.ledger.account(&request.key), committee.ledger.status());
        let rich = self.twist() == Twist::Rich;
        let statement = BalanceStatement {
            chain: self.chain,
            committee: self.node.committee,
            epoch: status.epoch,
            height: status.certified,
            key: request.key,
            balance: if rich { Amount::from_micros(1 << 40) } else { state.balance },
            next_sequence: state.next_sequence,
            nonce: request.nonce,
        };
        let signature = committee.keys[self.node.member.index()].sign(&balance_message(&statement));
        ClientReply::Balance(Box::new(SignedBalance { statement, member: self.node.member, signature }))
    }
}
