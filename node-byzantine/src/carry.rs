//! Money for both ledgers of a fork: what the issuer mints in one is handed in at the other.
//!
//! A client gives a mint to one member, so one ledger would hear of it, and the other have nobody who can pay. It would
//! stay as it began, and there would be no fork to find.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use shardpay_client::{
    BlockStream, Client, Directory, Endpoint, SubmitOptions, Submitter, Subscription, Verified, VerifiedBlock,
};
use shardpay_crypto::{IdentifiedTransaction, chain_id};
use shardpay_types::{ChainId, Height, LedgerItem, NodeId, Plan, PublicKey, Transaction, TxId};

/// One of the two lives, as its clients see it.
struct Life {
    blocks: BlockStream,
    submitter: Submitter,
}

impl Life {
    fn of(plan: &Plan, own: NodeId, key: PublicKey, addr: SocketAddr) -> anyhow::Result<Self> {
        // a directory lists every committee; nobody but the own one is asked
        let endpoint = |committee| Endpoint { node: NodeId { committee, ..own }, key, addr: reached(addr) };
        let client = Client::new(plan.clone(), Directory::new(plan.committee_ids().map(endpoint)))?;
        let (submitter, mut events) = client.submitter(own.committee, SubmitOptions::default())?;
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let blocks = client.blocks(Subscription::whole(own.committee, Height::ZERO.next()))?;
        Ok(Self { blocks, submitter })
    }
}

/// Where somebody who listens on an address is reached from here.
fn reached(addr: SocketAddr) -> SocketAddr {
    let here = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(here, addr.port())
}

/// Hands in at each life what is minted in the other, as long as both are there.
pub(crate) async fn mints(plan: &Plan, own: NodeId, key: PublicKey, lives: [SocketAddr; 2]) -> anyhow::Result<()> {
    let mut left = Life::of(plan, own, key, lives[0])?;
    let mut right = Life::of(plan, own, key, lives[1])?;
    let chain = chain_id(plan);
    let mut carried: HashSet<TxId> = HashSet::new();
    loop {
        let (verified, here, other) = tokio::select! {
            verified = left.blocks.next() => (verified?, &left.submitter, &right.submitter),
            verified = right.blocks.next() => (verified?, &right.submitter, &left.submitter),
        };
        let Verified::Block(block) = verified else { continue };
        let minted = mints_of(&chain, &block);
        here.settle(minted.iter().map(|mint| mint.txid).collect());
        let fresh = minted.into_iter().filter(|mint| carried.insert(mint.txid)).map(|mint| mint.transaction);
        other.submit(fresh.collect()).await.context("mints of the other ledger")?;
    }
}

fn mints_of(chain: &ChainId, block: &VerifiedBlock) -> Vec<IdentifiedTransaction> {
    let mint = |item: &LedgerItem| match item {
        LedgerItem::Transaction(executed) if matches!(executed.transaction, Transaction::Mint(_)) => {
            Some(IdentifiedTransaction::new(chain, executed.transaction))
        }
        _ => None,
    };
    block.items.iter().filter_map(mint).collect()
}
