//! A user's view of the ledger: trusts the genesis plan, verifies everything else.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use shardpay_crypto::{Zip215, chain_id, shard_of, shard_of_deposit};
use shardpay_ledger::verify::{EpochKeys, TrustAnchor};
use shardpay_transport::ClientConnector;
use shardpay_types::{
    ChainId, ClientReply, ClientRequest, CommitteeId, EpochChain, EpochsRequest, Plan, PublicKey, Transaction,
};
use tokio::runtime::Handle;

use crate::blocks::{BlockStream, Subscription};
use crate::directory::{Directory, Endpoint};
use crate::error::{ClientError, Lie, LinkError};
use crate::keyring::Keyring;
use crate::link::{Links, Stream};
use crate::opaque::{OpaqueEvents, OpaqueSubmitter};
use crate::submit::{SubmitEvents, SubmitOptions, Submitter};

/// How long a member may take to answer a question.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Public keys of members kept decompressed.
const KEY_CACHE: usize = 4_096;
/// How often a question is put to a committee before it counts as unanswered.
pub(crate) const ATTEMPTS_MAX: usize = 16;
/// Pause after every member has been asked once.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// A user's view of the ledger. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

/// A member's answer to come; boxed, so that callers may ask from tasks on any thread.
pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send + 'a>>;

pub(crate) struct Inner {
    pub(crate) anchor: TrustAnchor,
    pub(crate) chain: ChainId,
    pub(crate) links: Links,
    directory: RwLock<Arc<Directory>>,
    keyrings: Mutex<BTreeMap<CommitteeId, Keyring>>,
}

impl Client {
    /// A client of the ledger that starts with `genesis`. Must be called within a tokio runtime.
    pub fn new(genesis: Plan, directory: Directory) -> Result<Self, ClientError> {
        genesis.check().map_err(|error| ClientError::BadDirectory(error.to_string()))?;
        directory.check(&genesis).map_err(ClientError::BadDirectory)?;
        let seed: [u8; 32] = random()?;
        let chain = chain_id(&genesis);
        let anchor = TrustAnchor { genesis, scheme: Arc::new(Zip215::new(seed, KEY_CACHE)) };
        let mut keyrings = BTreeMap::new();
        for committee in anchor.genesis.committee_ids() {
            let keyring = Keyring::new(anchor.clone(), committee);
            keyrings.insert(committee, keyring.map_err(|error| ClientError::BadDirectory(error.to_string()))?);
        }
        let links = Links::new(ClientConnector::new(&Handle::current()), chain, ANSWER_MAX);
        let (directory, keyrings) = (RwLock::new(Arc::new(directory)), Mutex::new(keyrings));
        Ok(Self { inner: Arc::new(Inner { anchor, chain, links, directory, keyrings }) })
    }

    /// The ledger's id.
    pub fn chain(&self) -> &ChainId {
        &self.inner.chain
    }

    /// The genesis plan.
    pub fn genesis(&self) -> &Plan {
        &self.inner.anchor.genesis
    }

    /// Replaces the addresses: members moved, or an epoch brought others.
    pub fn set_directory(&self, directory: Directory) -> Result<(), ClientError> {
        directory.check(self.genesis()).map_err(ClientError::BadDirectory)?;
        *self.inner.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
        Ok(())
    }

    /// The committee that holds an account.
    pub fn holder(&self, key: &PublicKey) -> CommitteeId {
        self.genesis().owner(shard_of(key))
    }

    /// The committee that executes a transaction.
    pub fn decider(&self, transaction: &Transaction) -> CommitteeId {
        match transaction {
            Transaction::Payment(tx) => self.holder(&tx.body.sender),
            Transaction::Redeem(tx) => self.holder(&tx.body.sender),
            Transaction::Mint(tx) => self.genesis().owner(shard_of_deposit(&tx.body.deposit_ref)),
        }
    }

    /// Submits transactions to a committee; see [`Submitter`].
    pub fn submitter(
        &self,
        committee: CommitteeId,
        options: SubmitOptions,
    ) -> Result<(Submitter, SubmitEvents), ClientError> {
        self.known(committee)?;
        Submitter::start(self.inner.clone(), committee, options)
    }

    /// Submits opaque payloads to a committee; see [`OpaqueSubmitter`].
    pub fn opaque_submitter(&self, committee: CommitteeId) -> Result<(OpaqueSubmitter, OpaqueEvents), ClientError> {
        self.known(committee)?;
        Ok(OpaqueSubmitter::start(&self.inner, committee))
    }

    /// Follows a committee's certified blocks; see [`BlockStream`].
    pub fn blocks(&self, subscription: Subscription) -> Result<BlockStream, ClientError> {
        self.known(subscription.committee)?;
        Ok(BlockStream::start(self.inner.clone(), subscription))
    }

    /// A committee's keyset of the newest epoch that a member proves.
    pub async fn epoch_keys(&self, committee: CommitteeId) -> Result<EpochKeys, ClientError> {
        self.known(committee)?;
        let inner = self.inner.clone();
        // given in place: only so is the closure taken for one of all lifetimes
        let asked = self.inner.ask_members(committee, move |stream| {
            let inner = inner.clone();
            Box::pin(async move { inner.learn_epochs(committee, stream).await })
        });
        asked.await?;
        Ok(self.inner.keyring(committee).newest().clone())
    }

    /// A committee's closing records as far as they were learnt here: what a receipt file carries.
    pub fn epoch_chain(&self, committee: CommitteeId) -> Result<EpochChain, ClientError> {
        self.known(committee)?;
        Ok(self.inner.keyring(committee).chain())
    }

    /// Closes all connections; calls under way fail.
    pub async fn close(&self) {
        self.inner.links.shutdown().await;
    }

    pub(crate) fn known(&self, committee: CommitteeId) -> Result<(), ClientError> {
        self.genesis().committee(committee).map(|_| ()).ok_or(ClientError::NoCommittee(committee))
    }
}

impl Inner {
    pub(crate) fn members(&self, committee: CommitteeId) -> Vec<Endpoint> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).members(committee).to_vec()
    }

    /// What is known of a committee's keys, as a copy.
    pub(crate) fn keyring(&self, committee: CommitteeId) -> Keyring {
        let keyrings = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner);
        keyrings.get(&committee).expect("one keyring per committee of the plan").clone()
    }

    /// Puts a question to one member after the other until one gives a valid answer.
    pub(crate) async fn ask_members<T>(
        &self,
        committee: CommitteeId,
        question: impl for<'a> Fn(&'a mut Stream) -> Asked<'a, T>,
    ) -> Result<T, ClientError> {
        let members = self.members(committee);
        let first = usize::from(random::<1>()?[0]);
        for attempt in 0.. {
            let endpoint = &members[(first + attempt) % members.len()];
            let answer = match self.links.open(endpoint).await {
                Ok(mut stream) => question(&mut stream).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(last) if attempt + 1 >= ATTEMPTS_MAX => {
                    return Err(ClientError::NoAnswer { committee, attempts: ATTEMPTS_MAX, last });
                }
                Err(error) => tracing::debug!(%error, "asking another member"),
            }
            if (attempt + 1) % members.len() == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        unreachable!("the loop ends at {ATTEMPTS_MAX} attempts")
    }

    /// Learns the closing records a member has beyond those known here.
    pub(crate) async fn learn_epochs(&self, committee: CommitteeId, stream: &mut Stream) -> Result<(), LinkError> {
        let request = ClientRequest::Epochs(EpochsRequest { from: self.keyring(committee).epoch() });
        let ClientReply::Epochs(answer) = stream.ask(&request, ANSWER_MAX).await? else {
            return Err(stream.incoming.lie(Lie::Unexpected));
        };
        let mut keyrings = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner);
        let keyring = keyrings.get_mut(&committee).expect("one keyring per committee of the plan");
        keyring.extend(&answer.records).map(|_| ()).map_err(|error| stream.incoming.lie(error.into()))
    }

    /// As [`Inner::learn_epochs`], when the member says it is further.
    pub(crate) async fn learn_newer(&self, committee: CommitteeId, stream: &mut Stream) -> Result<(), LinkError> {
        if stream.welcome.epoch > self.keyring(committee).epoch() {
            self.learn_epochs(committee, stream).await?;
        }
        Ok(())
    }

    pub(crate) const fn answer_max(&self) -> Duration {
        ANSWER_MAX
    }
}

/// Bytes nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Randomness(error.to_string()))?;
    Ok(bytes)
}
