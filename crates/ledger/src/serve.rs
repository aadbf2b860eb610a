//! What others are given: packs, blocks, certificates, closing records, receipts.
//!
//! Guarantees: everything is proven under the latest certified header known here, or by a header's own
//! certificate while its epoch runs. A header of a closed epoch counts only as its closing header or by
//! its path in a later `history` (DESIGN §5), so that is how it is sealed.

use std::sync::Arc;

use shardpay_crypto::MerkleLog;
use shardpay_types::{
    CertifiedBlock, CertifiedHeader, ClosingRecord, Codec, CommitteeId, CreditReceipt, Epoch, HeaderSeal, Height,
    HistorySeal, LedgerBlock, LedgerItem, List, PACK_MESSAGES_MAX, Pack, Receipt,
};

use crate::api::{Store, StoreError};
use crate::history;
use crate::leaf::item_leaves;
use crate::ledger::{Certified, Ledger};

/// Most blocks in one answer; see `LedgerResponse`.
const BLOCKS_MAX: usize = 64;

impl<S: Store> Ledger<S> {
    /// Messages for `destination` from index `first` on, proven under the latest certified header: at most
    /// 2,048, about 220 KB. `None` when there are none, or `first` was pruned.
    pub fn pack(&self, destination: CommitteeId, first: u64) -> Result<Option<Pack>, StoreError> {
        let Some(Certified { header, trees }) = &self.certified else { return Ok(None) };
        let (Some(log), Some(path)) = (trees.outbox.leaf(destination), trees.outbox.path(destination)) else {
            return Ok(None);
        };
        let kept = &self.links.outboxes[destination.index()].log;
        if first >= log.count || first < kept.first_provable() {
            return Ok(None);
        }
        let end = log.count.min(first + PACK_MESSAGES_MAX as u64);
        let Some(consistency) = kept.consistency(end, log.count) else { return Ok(None) };
        let messages = self.store.outbox(destination, first, (end - first) as usize)?;
        if messages.len() as u64 != end - first {
            return Err(StoreError(format!("outbox {destination} lacks messages {first}..{end}")));
        }
        Ok(Some(Pack {
            source: self.judge.own,
            destination,
            first,
            messages: List::bounded(messages),
            consistency,
            log: *log,
            path,
            certified: header.clone(),
        }))
    }

    /// The own committee's closing records from epoch `from` on.
    pub fn closings(&self, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        self.store.closings(self.judge.own, from)
    }

    /// Certified blocks from `from` on, without gaps: at least one if there is one, then as many as fit
    /// `bytes_max`, at most 64.
    pub fn blocks(&self, from: Height, bytes_max: usize) -> Result<Vec<CertifiedBlock>, StoreError> {
        let mut blocks: Vec<CertifiedBlock> = Vec::new();
        let mut bytes = 0;
        let mut height = from.max(Height::ZERO.next());
        while height <= self.certified_height() && blocks.len() < BLOCKS_MAX {
            let (Some(block), Some(certificate)) = (self.store.block(height)?, self.store.certificate(height)?) else {
                break;
            };
            let block = CertifiedBlock { block: LedgerBlock::clone(&block), certificate };
            bytes += block.to_bytes().len();
            if bytes > bytes_max && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
            height = height.next();
        }
        Ok(blocks)
    }

    /// Certified headers from `from` on, at most `max`; heights without an own certificate are left out.
    pub fn certificates(&self, from: Height, max: usize) -> Result<Vec<CertifiedHeader>, StoreError> {
        let mut headers = Vec::new();
        let mut height = from.max(Height::ZERO.next());
        while height <= self.certified_height() && headers.len() < max {
            if let Some(certificate) = self.store.certificate(height)?
                && let Some(block) = self.store.block(height)?
            {
                headers.push(CertifiedHeader { header: block.header.clone(), certificate });
            }
            height = height.next();
        }
        Ok(headers)
    }

    /// Proof of what became of the transaction that left leaf `leaf` at `height`. `None` when there is no
    /// such leaf, it is a credit, or the height is not certified yet. For many receipts of one block
    /// take [`Self::proofs`] once.
    pub fn receipt(&self, height: Height, leaf: u32) -> Result<Option<Receipt>, StoreError> {
        Ok(self.proofs(height)?.and_then(|proofs| proofs.receipt(leaf)))
    }

    /// Proof of what became of the message that left leaf `leaf` at `height`; `None` as in [`Self::receipt`].
    pub fn credit_receipt(&self, height: Height, leaf: u32) -> Result<Option<CreditReceipt>, StoreError> {
        Ok(self.proofs(height)?.and_then(|proofs| proofs.credit_receipt(leaf)))
    }

    /// Everything that receipts of the block at `height` have in common.
    pub fn proofs(&self, height: Height) -> Result<Option<BlockProofs>, StoreError> {
        if height == Height::ZERO || height > self.certified_height() {
            return Ok(None);
        }
        let Some(block) = self.store.block(height)? else { return Ok(None) };
        let Some(seal) = self.seal(&block)? else { return Ok(None) };
        let mut tree = MerkleLog::new();
        let mut firsts = Vec::with_capacity(block.items.len());
        for item in &block.items {
            firsts.push(tree.count());
            item_leaves(&self.judge.chain, item).into_iter().for_each(|leaf| tree.append(leaf));
        }
        assert_eq!(tree.root(), block.header.leaves, "a stored block's items give its leaves");
        Ok(Some(BlockProofs { block, tree, firsts, seal }))
    }

    fn seal(&self, block: &LedgerBlock) -> Result<Option<HeaderSeal>, StoreError> {
        let Some(certified) = &self.certified else { return Ok(None) };
        let (header, later) = (&block.header, &certified.header);
        let runs = header.epoch == self.running.plan.epoch;
        if (runs || header.is_closing())
            && let Some(certificate) = self.store.certificate(header.height)?
        {
            return Ok(Some(HeaderSeal::Certified(certificate)));
        }
        let (index, count) = (header.height.previous().get(), later.header.height.previous().get());
        let path = history::inclusion(index, count, |(level, at)| self.store.history_node(level, at))?;
        Ok(path.map(|path| HeaderSeal::History(Box::new(HistorySeal { path, later: later.clone() }))))
    }
}

/// A certified block with the tree over its leaves: makes any number of receipts.
#[derive(Debug, Clone)]
pub struct BlockProofs {
    block: Arc<LedgerBlock>,
    tree: MerkleLog,
    /// First leaf of each item.
    firsts: Vec<u64>,
    seal: HeaderSeal,
}

impl BlockProofs {
    /// The block.
    pub fn block(&self) -> &Arc<LedgerBlock> {
        &self.block
    }

    /// Proof of what became of the transaction that left leaf `leaf`.
    pub fn receipt(&self, leaf: u32) -> Option<Receipt> {
        let (LedgerItem::Transaction(executed), _) = self.item(leaf)? else { return None };
        Some(Receipt {
            executed: executed.clone(),
            path: self.tree.inclusion(u64::from(leaf), self.tree.count())?,
            header: self.block.header.clone(),
            seal: self.seal.clone(),
        })
    }

    /// Proof of what became of the message that left leaf `leaf`.
    pub fn credit_receipt(&self, leaf: u32) -> Option<CreditReceipt> {
        let (LedgerItem::Pack(executed), within) = self.item(leaf)? else { return None };
        Some(CreditReceipt {
            source: executed.pack.source,
            index: executed.pack.first + within as u64,
            message: *executed.pack.messages.get(within)?,
            executed: executed.credits.get(within)?.clone(),
            path: self.tree.inclusion(u64::from(leaf), self.tree.count())?,
            header: self.block.header.clone(),
            seal: self.seal.clone(),
        })
    }

    /// The item that left a leaf, and which of its leaves it is.
    fn item(&self, leaf: u32) -> Option<(&LedgerItem, usize)> {
        let leaf = u64::from(leaf);
        if leaf >= self.tree.count() {
            return None;
        }
        // The last item that starts at or below the leaf: those without leaves start where the next does.
        let at = self.firsts.partition_point(|first| *first <= leaf) - 1;
        Some((&self.block.items[at], usize::try_from(leaf - self.firsts[at]).ok()?))
    }
}
