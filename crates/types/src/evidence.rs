//! What a client shows and checks: receipts, credits, balances. `shardpay-ledger` makes and verifies.

use crate::amount::Amount;
use crate::block::Block;
use crate::codec::List;
use crate::header::{
    AccountState, Certificate, CertifiedHeader, Checkpoint, ExecutedCredit, ExecutedTransaction, LedgerHeader,
};
use crate::ids::{ChainId, CommitteeId, Epoch, Height, PublicKey, Sequence};
use crate::message::{ClosingRecord, OutboxMessage};
use crate::proof::MerklePath;
use crate::{wire_enum, wire_struct};

wire_enum! {
    /// Why a header is to be believed.
    pub enum HeaderSeal {
        /// Signatures by Q members over this very header.
        1 => Certified(Certificate),
        /// A later certified header whose `history` holds this one.
        2 => History(Box<HistorySeal>),
    }
}

wire_struct! {
    /// A path from an older header's hash to a later certified header's history root.
    pub struct HistorySeal {
        /// Position of the older header (height − 1) under the later one's `history`.
        pub path: MerklePath,
        /// The later header.
        pub later: CertifiedHeader,
    }

    /// Proof of what became of a transaction at its deciding committee.
    pub struct Receipt {
        /// The transaction, its outcome and the accounts it touched: gives the leaf.
        pub executed: ExecutedTransaction,
        /// From the leaf to the header's leaves root.
        pub path: MerklePath,
        /// The header.
        pub header: LedgerHeader,
        /// Why the header is to be believed.
        pub seal: HeaderSeal,
    }

    /// Proof that a cross-committee payment arrived.
    pub struct CreditReceipt {
        /// The committee it came from.
        pub source: CommitteeId,
        /// Its index in the source's log.
        pub index: u64,
        /// The message.
        pub message: OutboxMessage,
        /// What became of it.
        pub executed: ExecutedCredit,
        /// From the leaf to the header's leaves root.
        pub path: MerklePath,
        /// The header of the destination.
        pub header: LedgerHeader,
        /// Why the header is to be believed.
        pub seal: HeaderSeal,
    }

    /// A committee's closing headers from genesis on: teaches a client the keyset of each epoch.
    #[derive(Default)]
    pub struct EpochChain {
        /// Ascending epochs from 0, no gap.
        pub closings: List<ClosingRecord, 4_096>,
    }

    /// A balance as one member states it.
    pub struct BalanceStatement {
        /// The ledger.
        pub chain: ChainId,
        /// The committee.
        pub committee: CommitteeId,
        /// The epoch whose members sign.
        pub epoch: Epoch,
        /// Certified height the statement is about.
        pub height: Height,
        /// The account.
        pub key: PublicKey,
        /// Its balance after that height.
        pub balance: Amount,
        /// Its next sequence after that height.
        pub next_sequence: Sequence,
        /// Chosen by who asked.
        pub nonce: [u8; 16],
    }

    /// The same statement signed by f + 1 members, one of them honest.
    pub struct CertifiedBalance {
        /// The statement.
        pub statement: BalanceStatement,
        /// Signatures over it.
        pub certificate: Certificate,
    }

    /// A checkpoint with the signatures of Q members.
    pub struct CertifiedCheckpoint {
        /// The checkpoint.
        pub checkpoint: Checkpoint,
        /// Signatures over it.
        pub certificate: Certificate,
    }

    /// Two blocks of one author in one slot: proof of equivocation.
    pub struct EquivocationProof {
        /// The one seen first.
        pub first: Block,
        /// The other.
        pub second: Block,
    }

    /// Two headers of one height, each certified: proof that more than f members are faulty.
    pub struct ForkProof {
        /// One certified header.
        pub first: CertifiedHeader,
        /// The other.
        pub second: CertifiedHeader,
    }
}

impl BalanceStatement {
    /// The account's state.
    pub const fn state(&self) -> AccountState {
        AccountState { balance: self.balance, next_sequence: self.next_sequence }
    }
}
