//! A subscription: certified blocks from a height on, in order, without gaps.
//!
//! It pulls: the newest blocks are at hand in the feed, older ones are read from the store, one piece at a
//! time, when the stream has taken the last one. So a slow reader costs one block of memory; it is given up
//! when it stands still, or when it has been at the tip and falls far behind.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shardpay_ledger::BlockProofs;
use shardpay_telemetry::{Stage, names};
use shardpay_transport::ReplySender;
use shardpay_types::{
    BlockPart, CertifiedHeader, ClientReply, Codec, CreditReceipt, Height, LedgerBlock, LedgerItem, List, PublicKey,
    Receipt, RefuseReason, Subscribe,
};
use tokio::sync::oneshot;

use super::Front;
use crate::execution::{Ask, refused};
use crate::feed::FeedBlock;

/// A reader may let a block wait that long.
const STALL: Duration = Duration::from_secs(10);
/// A reader that was at the tip may fall that many blocks behind.
const LAG_MAX: u64 = 1_024;
/// Wait before the ledger is asked again when its queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// One subscription.
pub(super) struct Subscription {
    front: Arc<Front>,
    send: ReplySender,
    next: Height,
    accounts: Option<HashSet<PublicKey>>,
}

/// Why it ended.
enum End {
    /// The stream is gone, or the node stops.
    Gone,
    /// The reader is too slow.
    TooSlow,
}

impl Subscription {
    pub(super) fn new(front: Arc<Front>, send: ReplySender, subscribe: Subscribe) -> Result<Self, RefuseReason> {
        let certified = front.feed.certified();
        let next = if subscribe.from == Height::ZERO { certified.next() } else { subscribe.from };
        if next > certified.next() {
            return Err(RefuseReason::HeightTooFar);
        }
        let accounts = subscribe.accounts.map(|accounts| accounts.into_vec().into_iter().collect());
        Ok(Self { front, send, next, accounts })
    }

    pub(super) async fn run(mut self) {
        if let Err(End::TooSlow) = self.follow().await {
            self.front.metrics.refuse(names::CLIENT_REFUSED, &RefuseReason::TooSlow.to_string());
            // it may not even read this
            let farewell = refused(RefuseReason::TooSlow).to_bytes().into();
            let _ = tokio::time::timeout(STALL, self.send.send(farewell)).await;
            self.send.abort();
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        let mut tip = self.front.feed.tip();
        let mut was_at_tip = false;
        loop {
            let certified = *tip.borrow_and_update();
            if self.next > certified {
                was_at_tip = true;
                tip.changed().await.map_err(|_| End::Gone)?;
                continue;
            }
            if was_at_tip && certified.get() - self.next.get() > LAG_MAX {
                return Err(End::TooSlow);
            }
            match self.front.feed.get(self.next) {
                Some(block) => self.pass_on(&block).await?,
                None => self.read_on().await?,
            }
        }
    }

    /// Sends a piece of the past.
    async fn read_on(&mut self) -> Result<(), End> {
        let from = self.next;
        let blocks = self.ask(|reply| Ask::Blocks { from, reply }).await?;
        for block in blocks {
            let header = CertifiedHeader { header: block.block.header.clone(), certificate: block.certificate };
            self.pass_on(&FeedBlock::new(Arc::new(header), Arc::new(block.block), None)).await?;
        }
        if self.next == from {
            // certified, but the ledger does not know it yet
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    async fn pass_on(&mut self, block: &FeedBlock) -> Result<(), End> {
        let frame = match &self.accounts {
            None => block.frame(),
            Some(accounts) => self.part(block, accounts).await?,
        };
        match tokio::time::timeout(STALL, self.send.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Gone),
            Err(_) => return Err(End::TooSlow),
        }
        if let Some(certified_at) = block.certified_at {
            self.front.metrics.stage(Stage::Notified).record_duration(certified_at.elapsed());
        }
        self.front.metrics.blocks_sent.add(1);
        self.next = block.height().next();
        Ok(())
    }

    /// What a block holds for the subscription's accounts.
    async fn part(&self, block: &FeedBlock, accounts: &HashSet<PublicKey>) -> Result<Bytes, End> {
        let leaves = touching(&block.block, accounts);
        let (mut receipts, mut credits) = (Vec::new(), Vec::new());
        if !leaves.is_empty() {
            let proofs = self.proofs(block.height()).await?;
            receipts = leaves.iter().filter_map(|leaf| proofs.receipt(*leaf)).collect::<Vec<Receipt>>();
            credits = leaves.iter().filter_map(|leaf| proofs.credit_receipt(*leaf)).collect::<Vec<CreditReceipt>>();
        }
        let part = BlockPart {
            certified: CertifiedHeader::clone(&block.certified),
            receipts: List::bounded(receipts),
            credits: List::bounded(credits),
        };
        Ok(ClientReply::Part(Box::new(part)).to_bytes().into())
    }

    async fn proofs(&self, height: Height) -> Result<Arc<BlockProofs>, End> {
        loop {
            if let Some(proofs) = self.ask(|reply| Ask::Proofs { height, reply }).await? {
                return Ok(proofs);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask<T>(&self, make: impl Fn(oneshot::Sender<T>) -> Ask) -> Result<T, End> {
        loop {
            let (reply, answer) = oneshot::channel();
            match self.front.asks.try_send(make(reply)) {
                Ok(()) => return answer.await.map_err(|_| End::Gone),
                Err(error) if error.is_full() => tokio::time::sleep(ASK_AGAIN).await,
                Err(_) => return Err(End::Gone),
            }
        }
    }
}

/// The leaves of a block that debit or credit one of the accounts.
fn touching(block: &LedgerBlock, accounts: &HashSet<PublicKey>) -> Vec<u32> {
    let mut leaves = Vec::new();
    let mut leaf = 0;
    for item in &block.items {
        match item {
            LedgerItem::Transaction(done) => {
                let debited = done.transaction.debit().map(|(account, _)| account);
                let touched = [debited, done.transaction.recipient()];
                if touched.into_iter().flatten().any(|account| accounts.contains(&account)) {
                    leaves.push(leaf);
                }
            }
            LedgerItem::Pack(done) => {
                let places = (leaf..).zip(done.pack.messages.iter());
                leaves.extend(places.filter(|(_, message)| accounts.contains(&message.payee)).map(|(at, _)| at));
            }
            LedgerItem::Opaque(_) | LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
        }
        leaf += item.leaf_count() as u32;
    }
    leaves
}
