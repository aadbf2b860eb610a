//! Deterministic sample values: `Sample::sample` draws every field from one xorshift generator, with a
//! liking for zero, one and the largest value. What a decoder refuses is never drawn.

use std::sync::Arc;

use shardpay_types::*;

use super::fields::{Fields, hex};

/// xorshift64*: small enough to be written again in any language.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
    /// How many lists we are inside of; deeper lists are shorter.
    depth: usize,
}

impl Rng {
    /// A generator; equal seeds give equal values.
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1, depth: 0 }
    }

    /// A generator for the type called `name` (FNV-1a of it is the seed).
    pub fn for_type(name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self::new(name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| (self.next() >> 56) as u8)
    }

    /// A number of at most `max`: often an edge of the range.
    pub fn edgy(&mut self, max: u128) -> u128 {
        match self.below(8) {
            0 => 0,
            1 => 1.min(max),
            2 => max,
            3 => u128::from(self.next() % 1_000).min(max),
            _ => {
                let wide = u128::from(self.next()) << 64 | u128::from(self.next());
                if max == u128::MAX { wide } else { wide % (max + 1) }
            }
        }
    }

    fn nested<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let value = draw(self);
        self.depth -= 1;
        value
    }

    fn list_len(&mut self, max: usize) -> usize {
        let most = [4, 3, 2].get(self.depth).copied().unwrap_or(1);
        self.below(most.min(max) + 1)
    }
}

/// A type whose values can be drawn and taken apart.
pub trait Sample: Codec {
    /// Draws a value that its decoder accepts.
    fn sample(rng: &mut Rng) -> Self;
    /// The value's fields.
    fn fields(&self) -> Fields;
}

macro_rules! sample_integers {
    ($($int:ty),*) => {$(
        impl Sample for $int {
            fn sample(rng: &mut Rng) -> Self {
                <$int>::try_from(rng.edgy(<$int>::MAX as u128)).expect("drawn in range")
            }
            fn fields(&self) -> Fields {
                Fields::leaf(self)
            }
        }
    )*};
}
sample_integers!(u8, u16, u32, u64, u128);

macro_rules! sample_counters {
    ($($name:ident),*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                Self::new(rng.edgy(COUNTER_MAX.into()) as u64)
            }
            fn fields(&self) -> Fields {
                Fields::leaf(self.get())
            }
        }
    )*};
}
sample_counters!(Round, Height, Epoch, Sequence);

macro_rules! sample_indices {
    ($($name:ident < $bound:expr),*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                Self::at(rng.edgy($bound as u128 - 1) as usize)
            }
            fn fields(&self) -> Fields {
                Fields::leaf(self.index())
            }
        }
    )*};
}
sample_indices!(MemberIndex < MEMBERS_MAX, CommitteeId < COMMITTEES_MAX, ShardId < SHARDS);

macro_rules! sample_byte_strings {
    ($($name:ident),*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                Self(rng.bytes())
            }
            fn fields(&self) -> Fields {
                Fields::Leaf(hex(&self.0))
            }
        }
    )*};
}
sample_byte_strings!(
    PublicKey,
    Signature,
    Hash,
    TxId,
    BlockDigest,
    HeaderHash,
    PlanHash,
    ChainId,
    DepositRef,
    PayoutRef,
    Reference
);

macro_rules! sample_structs {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                Self { $($field: Sample::sample(rng)),* }
            }
            fn fields(&self) -> Fields {
                Fields::Object(vec![$((stringify!($field), self.$field.fields())),*])
            }
        }
    )*};
}

macro_rules! sample_enums {
    ($($name:ident { $($variant:ident),* $(,)? })*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                let variants: &[fn(&mut Rng) -> Self] = &[$(|rng| Self::$variant(Sample::sample(rng))),*];
                variants[rng.below(variants.len())](rng)
            }
            fn fields(&self) -> Fields {
                match self {
                    $(Self::$variant(value) => Fields::Object(vec![(stringify!($variant), value.fields())]),)*
                }
            }
        }
    )*};
}

macro_rules! sample_unit_enums {
    ($($name:ident { $($variant:ident),* $(,)? })*) => {$(
        impl Sample for $name {
            fn sample(rng: &mut Rng) -> Self {
                let variants = [$(Self::$variant),*];
                variants[rng.below(variants.len())]
            }
            fn fields(&self) -> Fields {
                match self { $(Self::$variant => Fields::leaf(stringify!($variant)),)* }
            }
        }
    )*};
}

impl Sample for bool {
    fn sample(rng: &mut Rng) -> Self {
        rng.below(2) == 1
    }
    fn fields(&self) -> Fields {
        Fields::leaf(self)
    }
}

impl<const N: usize> Sample for [u8; N] {
    fn sample(rng: &mut Rng) -> Self {
        rng.bytes()
    }
    fn fields(&self) -> Fields {
        Fields::Leaf(hex(self))
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut Rng) -> Self {
        (rng.below(3) == 0).then(|| rng.nested(T::sample))
    }
    fn fields(&self) -> Fields {
        self.as_ref().map_or(Fields::Null, T::fields)
    }
}

impl<T: Sample> Sample for Box<T> {
    fn sample(rng: &mut Rng) -> Self {
        Self::new(T::sample(rng))
    }
    fn fields(&self) -> Fields {
        T::fields(self)
    }
}

impl<T: Sample> Sample for Arc<T> {
    fn sample(rng: &mut Rng) -> Self {
        Self::new(T::sample(rng))
    }
    fn fields(&self) -> Fields {
        T::fields(self)
    }
}

impl<T: Sample, const MAX: usize> Sample for List<T, MAX> {
    fn sample(rng: &mut Rng) -> Self {
        let len = rng.list_len(MAX);
        Self::bounded(rng.nested(|rng| (0..len).map(|_| T::sample(rng)).collect()))
    }
    fn fields(&self) -> Fields {
        Fields::List(self.iter().map(T::fields).collect())
    }
}

impl Sample for Amount {
    fn sample(rng: &mut Rng) -> Self {
        Self::from_micros(u64::sample(rng))
    }
    fn fields(&self) -> Fields {
        Fields::leaf(self.micros())
    }
}

impl Sample for Total {
    fn sample(rng: &mut Rng) -> Self {
        Self::from_micros(u128::sample(rng))
    }
    fn fields(&self) -> Fields {
        Fields::leaf(self.micros())
    }
}

impl Sample for Timestamp {
    fn sample(rng: &mut Rng) -> Self {
        Self::from_micros(rng.edgy(COUNTER_MAX.into()) as u64)
    }
    fn fields(&self) -> Fields {
        Fields::leaf(self.micros())
    }
}

impl Sample for Version {
    fn sample(_: &mut Rng) -> Self {
        Self
    }
    fn fields(&self) -> Fields {
        Fields::leaf(PROTOCOL_VERSION)
    }
}

impl Sample for RawBlock {
    fn sample(rng: &mut Rng) -> Self {
        let len = rng.below(48);
        Self((0..len).map(|_| (rng.next() >> 56) as u8).collect())
    }
    fn fields(&self) -> Fields {
        Fields::Leaf(hex(&self.0))
    }
}

impl Sample for Opaque {
    fn sample(rng: &mut Rng) -> Self {
        let len = rng.below(48);
        Self((0..len).map(|_| (rng.next() >> 56) as u8).collect())
    }
    fn fields(&self) -> Fields {
        Fields::Leaf(hex(&self.0))
    }
}

impl Sample for Certificate {
    fn sample(rng: &mut Rng) -> Self {
        let first = rng.below(MEMBERS_MAX - 8);
        let members: Vec<usize> = (first..first + 8).filter(|_| rng.below(3) == 0).collect();
        let sign = |member| MemberSignature { member: MemberIndex::at(member), signature: Signature(rng.bytes()) };
        Self::new(members.into_iter().map(sign).collect()).expect("distinct members")
    }
    fn fields(&self) -> Fields {
        Fields::List(self.signatures().iter().map(Sample::fields).collect())
    }
}

impl Sample for Constants {
    fn sample(rng: &mut Rng) -> Self {
        let gc_depth = 8 + rng.edgy(1_016) as u16;
        Self {
            gc_depth,
            anchor_rounds: 1 + rng.edgy(u128::from(gc_depth) - 1) as u16,
            leaves_max: 4_096 + rng.edgy(61_440) as u32,
            block_bytes_max: (1 << 20) + rng.edgy(7 << 20) as u32,
            amount_min: Amount::from_micros(1 + rng.edgy(1_000_000) as u64),
            mint_cap: Amount::from_micros(rng.edgy((1 << 63) / 4) as u64),
            future_sequences_max: rng.edgy(256) as u16,
            opaque_bytes_max: rng.edgy(OPAQUE_BYTES_MAX as u128) as u32,
        }
    }
    fn fields(&self) -> Fields {
        Fields::Object(vec![
            ("gc_depth", self.gc_depth.fields()),
            ("anchor_rounds", self.anchor_rounds.fields()),
            ("leaves_max", self.leaves_max.fields()),
            ("block_bytes_max", self.block_bytes_max.fields()),
            ("amount_min", self.amount_min.fields()),
            ("mint_cap", self.mint_cap.fields()),
            ("future_sequences_max", self.future_sequences_max.fields()),
            ("opaque_bytes_max", self.opaque_bytes_max.fields()),
        ])
    }
}

impl Sample for Plan {
    /// One to four committees of one, four or five members; the slices are uneven.
    fn sample(rng: &mut Rng) -> Self {
        let count = 1 + rng.below(4);
        let mut bounds: Vec<u16> = (1..count).map(|i| (i * 1_024 + rng.below(1_024)) as u16).collect();
        bounds.insert(0, 0);
        bounds.push(SHARDS);
        let committees = bounds
            .windows(2)
            .map(|pair| CommitteePlan {
                shard_first: pair[0],
                shard_count: pair[1] - pair[0],
                members: List::bounded((0..[1, 4, 5][rng.below(3)]).map(|_| PublicKey::sample(rng)).collect()),
            })
            .collect();
        let epoch = Epoch::sample(rng);
        let previous = if epoch == Epoch::ZERO { PlanHash::ZERO } else { Sample::sample(rng) };
        Self {
            version: Version,
            epoch,
            previous,
            salt: rng.bytes(),
            issuer: Sample::sample(rng),
            constants: Sample::sample(rng),
            committees: List::bounded(committees),
        }
    }
    fn fields(&self) -> Fields {
        Fields::Object(vec![
            ("version", self.version.fields()),
            ("epoch", self.epoch.fields()),
            ("previous", self.previous.fields()),
            ("salt", self.salt.fields()),
            ("issuer", self.issuer.fields()),
            ("constants", self.constants.fields()),
            ("committees", self.committees.fields()),
        ])
    }
}

sample_structs! {
    Payment { sender, recipient, amount, sequence, valid_until, reference }
    Redeem { sender, amount, sequence, valid_until, payout_ref }
    Mint { recipient, amount, deposit_ref }
    SignedPayment { body, signature }
    SignedRedeem { body, signature }
    SignedMint { body, signature }
    MerklePath { index, count, siblings }
    ConsistencyProof { hashes }
    CommitteePlan { shard_first, shard_count, members }
    PlanApproval { plan, epoch, committee, member, signature }
    EpochChange { plan, approvals }
    Totals { balances, burned, sent, suspense, minted, received }
    LedgerHeader {
        version, chain, committee, epoch, height, parent, history, ledger_time, anchor, leaders, last_of_commit,
        leaf_count, leaves, outbox, inbox, effects, totals, next_plan,
    }
    MemberSignature { member, signature }
    CertifiedHeader { header, certificate }
    AccountState { balance, next_sequence }
    ExecutedTransaction { transaction, outcome, accounts }
    ExecutedCredit { outcome, account }
    ExecutedPack { pack, credits }
    LedgerBlock { header, items }
    CertifiedBlock { block, certificate }
    Checkpoint { chain, committee, epoch, height, header, state_root }
    OutboxMessage { kind, txid, payer, payee, amount }
    OutboxLeaf { destination, count, amount, root }
    InboxLeaf { source, count, amount, root }
    Pack { source, destination, first, messages, consistency, log, path, certified }
    ClosingRecord { certified, plan }
    CursorProof { cursor, path, certified }
    BlockRef { round, author, digest }
    Payload { transactions, opaque, packs, closings, epoch_change }
    Block { version, chain, epoch, committee, author, round, timestamp, parents, payload, signature }
    HistorySeal { path, later }
    Receipt { executed, path, header, seal }
    CreditReceipt { source, index, message, executed, path, header, seal }
    EpochChain { closings }
    BalanceStatement { chain, committee, epoch, height, key, balance, next_sequence, nonce }
    CertifiedBalance { statement, certificate }
    CertifiedCheckpoint { checkpoint, certificate }
    EquivocationProof { first, second }
    ForkProof { first, second }
    BlockRequest { epoch, refs }
    Blocks { epoch, requested, blocks }
    Heartbeat { epoch, highest, executed, certified, wants_reply }
    HeaderVote { epoch, height, header, signature }
    CheckpointVote { checkpoint, signature }
    LedgerRequest { from }
    LedgerResponse { from, blocks, tip }
    LeadersRequest { height }
    Leaders { height, leaders }
    RelayNotice { epoch, count }
    PackRequest { first }
    ClosingsRequest { from }
    Closings { records }
    Certificates { headers }
    Hello { version, chain }
    Submit { transactions }
    SubmitOpaque { payloads }
    Subscribe { from, accounts }
    ReceiptRequest { height, leaf }
    BalanceRequest { key, nonce }
    EpochsRequest { from }
    Welcome { committee, member, epoch, executed, certified, proposing }
    ExecutedAt { height, leaf, outcome }
    TxResult { txid, answer }
    Results { results }
    BlockPart { certified, receipts, credits }
    SignedBalance { statement, member, signature }
    EpochRecords { records }
    Refused { reason, retry_after_ms }
}

sample_enums! {
    Transaction { Payment, Redeem, Mint }
    LedgerItem { Transaction, Pack, Closing, EpochChange, Opaque }
    HeaderSeal { Certified, History }
    ClientRequest { Submit, Subscribe, Receipt, Balance, Epochs, Opaque }
    ClientReply { Welcome, Results, Block, Part, Receipt, CreditReceipt, Balance, Epochs, Refused }
    TxAnswer { Busy, Rejected, Executed }
    PeerMessage {
        Blocks, BlockRequest, Heartbeat, HeaderVote, CheckpointVote, Certificates, LedgerRequest, LedgerResponse,
        LeadersRequest, Leaders, PlanApproval, RelayNotice, PackRequest, Pack, Cursor, ClosingsRequest, Closings,
    }
}

sample_unit_enums! {
    Outcome { Applied, ShortBalance }
    CreditOutcome { Applied, Returned, Suspended }
    MessageKind { Credit, Return, MintCredit }
    RejectReason { SequenceUsed, SequenceGap, WrongCommittee, AmountTooSmall, Expired, DepositUsed, MintCapReached, BadRecipient, RecipientFull, DestinationBusy, EpochClosed, TooFarAhead, SequencePending, ShortBalance, NotProposing, BadSignature, OpaqueRefused }
    RefuseReason { Malformed, TooLarge, WrongChain, HelloExpected, NoSuchLeaf, WrongCommittee, TooManySubscriptions, TooManyRequests, TooSlow, ShuttingDown, TooManyConnections, HeightTooFar }
}
