//! Checks what a block stream delivers, without any I/O.
//!
//! Guarantees of what comes out: the header carries Q valid signatures of its epoch's members; heights have no
//! gap; each header names the one below as its parent; an epoch ends with the closing header that the
//! committee's closing records name. Of a whole block moreover: the items give exactly the leaves the header
//! commits to, so nothing is missing or added. Of a part: each proof verifies under the part's own header;
//! that none was left out cannot be known.
//!
//! Each item is hashed once; a certificate is checked once per block.

use shardpay_crypto::{header_hash, opaque_id, root, txid};
use shardpay_ledger::verify::{CreditFacts, ReceiptFacts, verify_credit_receipt, verify_receipt};
use shardpay_ledger::{item_leaves, opaque_leaf, transaction_leaf};
use shardpay_types::{
    BlockPart, CertifiedBlock, CertifiedHeader, ChainId, CreditReceipt, Epoch, Hash, HeaderHash, Height, LedgerItem,
    PublicKey, Receipt, TxId,
};

use crate::error::Lie;
use crate::keyring::Keyring;

/// A certified block that was checked in full.
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    /// The header and its certificate.
    pub certified: CertifiedHeader,
    /// The header's hash.
    pub hash: HeaderHash,
    /// The items, in execution order.
    pub items: Vec<LedgerItem>,
    /// Ids of the transactions and opaque payloads among `items`, in the same order.
    pub txids: Vec<TxId>,
}

/// A certified header with the proofs for some accounts.
#[derive(Debug, Clone)]
pub struct VerifiedPart {
    /// The header and its certificate.
    pub certified: CertifiedHeader,
    /// The header's hash.
    pub hash: HeaderHash,
    /// Transactions, with what their proofs say.
    pub receipts: Vec<(Receipt, ReceiptFacts)>,
    /// Credits from other committees, with what their proofs say.
    pub credits: Vec<(CreditReceipt, CreditFacts)>,
}

/// Where a stream stands, and what it may deliver next.
pub(crate) struct Checker {
    chain: ChainId,
    keyring: Keyring,
    /// The height that comes next; zero: any.
    next: Height,
    /// The header delivered last.
    last: Option<(Epoch, HeaderHash)>,
}

impl Checker {
    pub(crate) fn new(keyring: Keyring, next: Height) -> Self {
        let chain = *keyring.newest().chain();
        Self { chain, keyring, next, last: None }
    }

    /// The height that comes next; zero: not settled yet.
    pub(crate) fn next(&self) -> Height {
        self.next
    }

    /// Settles or takes back where the stream starts, as long as it has delivered nothing.
    pub(crate) fn start_at(&mut self, height: Height) {
        if self.last.is_none() {
            self.next = height;
        }
    }

    /// The newest epoch known.
    pub(crate) fn epoch(&self) -> Epoch {
        self.keyring.epoch()
    }

    /// Takes over what was learnt of later epochs.
    pub(crate) fn adopt(&mut self, keyring: Keyring) {
        self.keyring = keyring;
    }

    /// Checks the next whole block.
    pub(crate) fn block(&mut self, block: CertifiedBlock) -> Result<VerifiedBlock, Lie> {
        let certified = CertifiedHeader { header: block.block.header, certificate: block.certificate };
        let items = block.block.items.into_vec();
        let header = &certified.header;
        let hash = self.follows(&certified)?;
        let (leaves, txids) = leaves_of(&self.chain, &items).ok_or(Lie::WrongItems(header.height))?;
        if leaves.len() as u64 != u64::from(header.leaf_count) || root(&leaves) != header.leaves {
            return Err(Lie::WrongItems(header.height));
        }
        self.keyring.of(header.epoch)?.verify_header(&certified)?;
        self.advance(&certified, hash);
        Ok(VerifiedBlock { certified, hash, items, txids })
    }

    /// Checks the next part for a filter of `accounts`.
    pub(crate) fn part(&mut self, part: BlockPart, accounts: &[PublicKey]) -> Result<VerifiedPart, Lie> {
        let BlockPart { certified, receipts, credits } = part;
        let height = certified.header.height;
        let hash = self.follows(&certified)?;
        let keys = self.keyring.of(certified.header.epoch)?;
        keys.verify_header(&certified)?;
        let asked = |touched: bool| if touched { Ok(()) } else { Err(Lie::NotAskedFor(height)) };
        let mut proven_receipts = Vec::with_capacity(receipts.len());
        for receipt in receipts.into_vec() {
            let facts = verify_receipt(keys, &receipt)?;
            let transaction = &receipt.executed.transaction;
            let touches = |key: &PublicKey| accounts.contains(key);
            let payer = transaction.debit().is_some_and(|(key, _)| touches(&key));
            asked(facts.header == hash && (payer || transaction.recipient().is_some_and(|key| touches(&key))))?;
            proven_receipts.push((receipt, facts));
        }
        let mut proven_credits = Vec::with_capacity(credits.len());
        for credit in credits.into_vec() {
            let facts = verify_credit_receipt(keys, &credit)?;
            let message = &credit.message;
            let touches = accounts.contains(&message.payee) || accounts.contains(&message.payer);
            asked(facts.header == hash && touches)?;
            proven_credits.push((credit, facts));
        }
        self.advance(&certified, hash);
        Ok(VerifiedPart { certified, hash, receipts: proven_receipts, credits: proven_credits })
    }

    /// Whether a header continues the chain delivered so far.
    fn follows(&self, certified: &CertifiedHeader) -> Result<HeaderHash, Lie> {
        let header = &certified.header;
        if self.next != Height::ZERO && header.height != self.next {
            return Err(Lie::Gap { expected: self.next, found: header.height });
        }
        if let Some((epoch, parent)) = self.last {
            if header.parent != parent {
                return Err(Lie::WrongParent(header.height));
            }
            if header.epoch != epoch && (header.epoch != epoch.next() || self.keyring.closing(epoch) != Some(parent)) {
                // The keys of the new epoch come with the record that names the closing header.
                let learnt = self.keyring.epoch() >= header.epoch;
                return Err(if learnt { Lie::WrongClosing(epoch) } else { unknown(header.epoch) });
            }
        }
        Ok(header_hash(header))
    }

    fn advance(&mut self, certified: &CertifiedHeader, hash: HeaderHash) {
        self.next = certified.header.height.next();
        self.last = Some((certified.header.epoch, hash));
    }
}

fn unknown(epoch: Epoch) -> Lie {
    Lie::Proof(shardpay_ledger::verify::ProofError::UnknownEpoch(epoch))
}

/// The leaves of all items and the ids of their transactions and opaque payloads; `None` when a pack lists another number of
/// results than messages.
fn leaves_of(chain: &ChainId, items: &[LedgerItem]) -> Option<(Vec<Hash>, Vec<TxId>)> {
    let mut leaves = Vec::with_capacity(items.iter().map(LedgerItem::leaf_count).sum());
    let mut txids = Vec::with_capacity(items.len());
    for item in items {
        match item {
            LedgerItem::Transaction(executed) => {
                let id = txid(chain, &executed.transaction);
                leaves.push(transaction_leaf(&id, executed));
                txids.push(id);
            }
            LedgerItem::Opaque(payload) => {
                let id = opaque_id(chain, payload);
                leaves.push(opaque_leaf(&id));
                txids.push(id);
            }
            LedgerItem::Pack(executed) => {
                if executed.pack.messages.len() != executed.credits.len() {
                    return None;
                }
                leaves.extend(item_leaves(chain, item));
            }
            LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
        }
    }
    Some((leaves, txids))
}
