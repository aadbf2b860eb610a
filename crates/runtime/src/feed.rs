//! The newest certified blocks, at hand for subscribers.
//!
//! Guarantees: a block is encoded at most once, by the first subscriber that wants it, and never by the
//! core. Older blocks than these are read from the store.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use shardpay_types::{
    Certificate, CertifiedBlock, CertifiedHeader, ClientReply, Codec, Height, LedgerBlock, LedgerItem,
};
use tokio::sync::watch;

/// A certified block.
pub(crate) struct FeedBlock {
    pub(crate) certified: Arc<CertifiedHeader>,
    pub(crate) block: Arc<LedgerBlock>,
    /// When its certificate was complete here; nothing for blocks from the store.
    pub(crate) certified_at: Option<Instant>,
    encoded: OnceLock<Bytes>,
}

impl FeedBlock {
    pub(crate) fn new(
        certified: Arc<CertifiedHeader>,
        block: Arc<LedgerBlock>,
        certified_at: Option<Instant>,
    ) -> Arc<Self> {
        Arc::new(Self { certified, block, certified_at, encoded: OnceLock::new() })
    }

    pub(crate) fn height(&self) -> Height {
        self.certified.header.height
    }

    /// The frame for subscribers to whole blocks.
    pub(crate) fn frame(&self) -> Bytes {
        self.encoded.get_or_init(|| encode_block(&self.block, &self.certified.certificate)).clone()
    }
}

/// The encoding of [`ClientReply::Block`], without a copy of the block.
fn encode_block(block: &LedgerBlock, certificate: &Certificate) -> Bytes {
    let mut bytes = Vec::with_capacity(rough_encoding(block));
    let empty = LedgerBlock { header: block.header.clone(), items: Default::default() };
    ClientReply::Block(Box::new(CertifiedBlock { block: empty, certificate: certificate.clone() })).encode(&mut bytes);
    // only the tag is kept of the empty one
    bytes.truncate(1);
    block.encode(&mut bytes);
    certificate.encode(&mut bytes);
    bytes.into()
}

/// About what an item takes, encoded, unless it is an opaque payload.
const ROUGH_ITEM_BYTES: usize = 256;

/// About what a block takes, encoded.
fn rough_encoding(block: &LedgerBlock) -> usize {
    let opaque = block.items.iter().map(|item| match item {
        LedgerItem::Opaque(payload) => payload.encoded_len(),
        _ => 0,
    });
    ROUGH_ITEM_BYTES * (block.header.leaf_count as usize + 8) + opaque.sum::<usize>()
}

/// The newest blocks and the certified tip.
pub(crate) struct Feed {
    newest: RwLock<Newest>,
    tip: watch::Sender<Height>,
    bytes_max: usize,
}

#[derive(Default)]
struct Newest {
    blocks: VecDeque<Arc<FeedBlock>>,
    bytes: usize,
}

impl Feed {
    pub(crate) fn new(certified: Height, bytes_max: usize) -> Self {
        Self { newest: RwLock::default(), tip: watch::Sender::new(certified), bytes_max }
    }

    /// The next height is certified.
    pub(crate) fn push(&self, block: Arc<FeedBlock>) {
        let height = block.height();
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        newest.bytes += rough_bytes(&block);
        newest.blocks.push_back(block);
        while newest.bytes > self.bytes_max && newest.blocks.len() > 1 {
            let Some(oldest) = newest.blocks.pop_front() else { break };
            newest.bytes -= rough_bytes(&oldest);
        }
        drop(newest);
        self.tip.send_replace(height);
    }

    /// The block at `height`, if it is one of the newest.
    pub(crate) fn get(&self, height: Height) -> Option<Arc<FeedBlock>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        let first = newest.blocks.front()?.height();
        let place = usize::try_from(height.get().checked_sub(first.get())?).ok()?;
        newest.blocks.get(place).filter(|block| block.height() == height).cloned()
    }

    /// The last certified height, now and whenever it grows.
    pub(crate) fn tip(&self) -> watch::Receiver<Height> {
        self.tip.subscribe()
    }

    /// The last certified height.
    pub(crate) fn certified(&self) -> Height {
        *self.tip.borrow()
    }
}

fn rough_bytes(block: &FeedBlock) -> usize {
    // decoded and encoded
    2 * rough_encoding(&block.block)
}
