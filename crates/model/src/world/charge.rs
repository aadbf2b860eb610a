//! What each action costs, in processor time and bytes. Every rule of the model that is about a single node stands here.

use shardpay_replica::verify::CheckedMessage;
use shardpay_replica::{Input, LedgerOrder, Record, Service};
use shardpay_sim::NodeIndex;
use shardpay_types::{Codec, LedgerBlock, LedgerItem, PeerMessage, Transaction};

use super::World;
use super::steps::{payments_in, payments_of};
use crate::machines::{Kind, Work};

/// Bytes of a DAG block without payload and parents, of a parent, of an item of a ledger block, of a credit in one.
const BLOCK_BYTES: usize = 320;
const PARENT_BYTES: usize = 48;
const ITEM_BYTES: usize = 205;
const CREDIT_BYTES: usize = 125;

impl World {
    fn grain(&self) -> f64 {
        self.setup.grain as f64
    }

    /// A message as it would travel: what its payments take counts for as many as they stand for.
    pub(super) fn bytes(&self, message: &PeerMessage) -> f64 {
        let fixed = BLOCK_BYTES + PARENT_BYTES * self.setup.members;
        match message {
            PeerMessage::Blocks(blocks) => {
                let scaled = |raw: usize| raw.min(fixed) as f64 + raw.saturating_sub(fixed) as f64 * self.grain();
                blocks.blocks.iter().map(|raw| scaled(raw.0.len())).sum::<f64>() + 16.0
            }
            PeerMessage::Pack(pack) => {
                let messages = pack.messages.len() as f64;
                1_500.0 + 105.0 * messages * self.grain()
            }
            PeerMessage::Heartbeat(_) | PeerMessage::HeaderVote(_) | PeerMessage::RelayNotice(_) => 160.0,
            PeerMessage::PackRequest(_) => 32.0,
            other => other.to_bytes().len() as f64,
        }
    }

    pub(super) fn batch_bytes(&self, batch: &[Transaction]) -> f64 {
        (batch.len() * Transaction::LEN_MAX) as f64 * self.grain() + 16.0
    }

    pub(super) fn block_bytes(&self, block: &LedgerBlock) -> f64 {
        let of = |item: &LedgerItem| match item {
            LedgerItem::Pack(pack) => 1_500.0 + (pack.credits.len() * CREDIT_BYTES) as f64 * self.grain(),
            _ => ITEM_BYTES as f64 * self.grain(),
        };
        700.0 + block.items.iter().map(of).sum::<f64>()
    }

    /// One end of a message, on a node's network thread.
    pub(super) fn network_work(&self, node: NodeIndex, bytes: f64) -> Work {
        let is_alone = self.machines.sleeps(self.nodes[node].threads.net);
        Work::of(Kind::Network, self.costs.message_end_us(bytes, is_alone))
    }

    /// One end of a message, at the clients.
    pub(super) fn client_message_work(&self, bytes: f64) -> Work {
        Work::of(Kind::Client, self.costs.message_end_us(bytes, self.machines.sleeps(self.client_thread)))
    }

    /// A certificate's signatures, checked one batch of Q.
    fn certificate(&self) -> Work {
        Work::of(Kind::Signatures, self.costs.verify_batch_us(self.setup.quorum() as f64))
    }

    /// A lane's work with a peer's message.
    pub(super) fn check_work(&self, message: &CheckedMessage, bytes: f64) -> Work {
        let items = payments_in(message) as f64 * self.grain();
        let work = Work::of(Kind::Core, self.costs.check.of(items) + bytes * self.costs.hash_byte_us);
        let single = self.costs.verify_batch_us(1.0);
        match message {
            CheckedMessage::Blocks { blocks, .. } => {
                let batch = |payments: usize| payments as f64 * self.grain() + 1.0;
                let signatures = blocks.iter().map(|block| batch(block.block().payload.transactions.len()));
                work.and(Kind::Signatures, signatures.map(|of| self.costs.verify_batch_us(of)).sum())
            }
            CheckedMessage::HeaderVote(_) | CheckedMessage::CheckpointVote(_) => work.and(Kind::Signatures, single),
            CheckedMessage::Pack(_) | CheckedMessage::Cursor(_) | CheckedMessage::Closings(_) => {
                work.and(Kind::Signatures, self.certificate().total_us())
            }
            CheckedMessage::Certificates { headers, .. } => {
                work.and(Kind::Signatures, self.certificate().total_us() * headers.len() as f64)
            }
            _ => work,
        }
    }

    /// A lane's work with so many simulated payments of clients.
    pub(super) fn admit_work(&self, payments: usize) -> Work {
        let payments = payments as f64 * self.grain();
        Work::of(Kind::Signatures, self.costs.verify_batch_us(payments)).and(Kind::Core, self.costs.admit.of(payments))
    }

    /// The core's work with inputs.
    pub(super) fn core_work(&self, inputs: &[Input]) -> Work {
        let of = |input: &Input| match input {
            // each payment that a client submits is an input of its own
            Input::Submitted { .. } => self.costs.core.of(1.0) * self.grain(),
            other => self.costs.core.of(payments_of(other) as f64 * self.grain()),
        };
        Work::of(Kind::Core, inputs.iter().map(of).sum())
    }

    /// Writing a record; own ones were signed before. The records of a turn are one write, which the last one is charged.
    pub(super) fn record_work(&self, record: &Record, is_own: bool, is_write: bool) -> Work {
        let fixed = if is_write { self.costs.record.fixed_us } else { 0.0 };
        let bytes = match record {
            Record::Block(block) => block.raw().0.len() as f64 * self.grain(),
            Record::HeaderVote { .. } | Record::PlanApproval { .. } => 64.0,
        };
        let work = Work::of(Kind::Store, fixed + self.costs.record.each_us * bytes);
        if is_own {
            work.and(Kind::Signatures, self.costs.sign_us).and(Kind::Core, bytes * self.costs.hash_byte_us)
        } else {
            work
        }
    }

    /// The ledger's work with an order, its store's included.
    pub(super) fn order_work(&self, order: &LedgerOrder) -> Work {
        match order {
            LedgerOrder::Execute(commit) => {
                let (mut items, mut packs) = (0, 0);
                for block in &commit.blocks {
                    let payload = &block.block().payload;
                    items += payload.transactions.len();
                    items += payload.packs.iter().map(|pack| pack.messages.len()).sum::<usize>();
                    packs += payload.packs.len();
                }
                let payments = items as f64 * self.grain();
                let store = if items > 0 { self.costs.store.of(payments) } else { 0.0 };
                let proofs = self.certificate().total_us() * packs as f64;
                Work::of(Kind::Execute, self.costs.execute.of(payments))
                    .and(Kind::Store, store)
                    .and(Kind::Signatures, proofs)
            }
            LedgerOrder::Certify(_) => Work::of(Kind::Store, self.costs.record.fixed_us),
            LedgerOrder::Acknowledge(_) => self.certificate().and(Kind::Store, self.costs.record.fixed_us),
            LedgerOrder::Serve { what: Service::Pack { .. }, .. } => {
                Work::of(Kind::Execute, self.costs.execute.fixed_us)
            }
            LedgerOrder::Serve { .. } => Work::of(Kind::Execute, self.costs.core.fixed_us),
            LedgerOrder::Replay(_) | LedgerOrder::StoreCheckpoint(_) | LedgerOrder::Checkpoint => Work::default(),
        }
    }

    /// The clients' work with a certified block: reading it, its certificate, its leaves.
    pub(super) fn client_work(&self, block: &LedgerBlock) -> Work {
        let payments = f64::from(block.header.leaf_count) * self.grain();
        let us = self.costs.client.of(payments) + self.certificate().total_us();
        self.client_message_work(self.block_bytes(block)).and(Kind::Client, us)
    }
}
