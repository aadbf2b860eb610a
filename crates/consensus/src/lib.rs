//! Floor 2 of shardpay: Byzantine fault-tolerant ordering inside one committee.
//!
//! An uncertified DAG (DESIGN §4): the only message is a signed block, a parent reference is a vote.
//! Sans-IO: facts in, orders out, behind the [`Consensus`] trait.

mod api;
mod asks;
mod commit_rule;
mod dag;
mod intake;
mod order;
mod pacemaker;
mod peers;
mod proposer;
mod recovery;
mod serve;
mod store;
mod times;
mod validity;
mod waiting;

pub use api::{AnchorRule, Config, Consensus, Context, Input, Output, Recovered, Rules, Start, Status};
pub use dag::Dag;
pub use validity::{
    BlockReject, Fingerprint, ParentFault, Verifier, check_structure, genesis_ref, validate, verify_transactions,
};
