//! Carrying out the replica's orders on a ledger: the whole of what a node's execution thread (or the
//! simulator) does between the two machines.
//!
//! Guarantees: an order is answered by the fact that its documentation names, or by nothing; only a
//! failing store is an error, and after one the ledger is not to be used again.

use std::sync::Arc;

use shardpay_ledger::{Ledger, ReplayError, Store, StoreError};
use shardpay_types::{Certificates, Closings, Height, Leaders, LedgerResponse, List, NodeId, PeerMessage};

use crate::api::{LedgerFact, LedgerOrder, Service};

/// Bytes of ledger blocks in one answer, unless a single block is larger.
pub(crate) const BLOCK_BYTES_MAX: usize = 2 << 20;
/// Certificates in one answer.
const CERTIFICATES_MAX: usize = 32;
/// Closing records in one answer.
const CLOSINGS_MAX: usize = 4;

/// Carries out `order`. The fact, if any, goes back with [`crate::Input::Ledger`].
pub fn perform<S: Store>(ledger: &mut Ledger<S>, order: LedgerOrder) -> Result<Option<LedgerFact>, StoreError> {
    let fact = match order {
        LedgerOrder::Execute(commit) => LedgerFact::Executed(Box::new(ledger.execute(&commit)?)),
        LedgerOrder::Replay(block) => match ledger.replay(&block) {
            Ok(executed) => LedgerFact::Replayed(Ok(Box::new(executed))),
            Err(ReplayError::Store(error)) => return Err(error),
            Err(refused) => LedgerFact::Replayed(Err(refused)),
        },
        LedgerOrder::Certify(certified) => {
            ledger.certify(&certified)?;
            return Ok(None);
        }
        LedgerOrder::Acknowledge(proof) => match ledger.acknowledge(&proof)? {
            Ok(()) => {
                LedgerFact::Acknowledged { destination: proof.certified.header.committee, count: proof.cursor.count }
            }
            Err(_) => return Ok(None),
        },
        LedgerOrder::StoreCheckpoint(checkpoint) => {
            ledger.store_checkpoint(*checkpoint)?;
            return Ok(None);
        }
        LedgerOrder::Checkpoint => LedgerFact::Checkpoint(Box::new(ledger.checkpoint()?)),
        LedgerOrder::Serve { to, what } => {
            let message = serve(ledger, to, what)?;
            return Ok(message.map(|message| LedgerFact::Served { to, message: Arc::new(message) }));
        }
    };
    Ok(Some(fact))
}

fn serve<S: Store>(ledger: &Ledger<S>, to: NodeId, what: Service) -> Result<Option<PeerMessage>, StoreError> {
    Ok(match what {
        Service::Pack { first } => ledger.pack(to.committee, first)?.map(|pack| PeerMessage::Pack(Arc::new(pack))),
        Service::Blocks { from } => Some(blocks(ledger, from)?),
        Service::Certificates { from } => {
            let headers = ledger.certificates(from, CERTIFICATES_MAX)?;
            (!headers.is_empty()).then(|| PeerMessage::Certificates(Certificates { headers: List::bounded(headers) }))
        }
        Service::Leaders { height } => {
            ledger.leaders(height).map(|leaders| PeerMessage::Leaders(Leaders { height, leaders }))
        }
        Service::Closings { from } => {
            let mut records = ledger.closings(from)?;
            records.truncate(CLOSINGS_MAX);
            (!records.is_empty()).then(|| PeerMessage::Closings(Closings { records: List::bounded(records) }))
        }
        Service::Cursor => ledger.cursor_proof(to.committee).map(|proof| PeerMessage::Cursor(Box::new(proof))),
    })
}

/// Even an empty answer is one: the asker learns that there is no more.
fn blocks<S: Store>(ledger: &Ledger<S>, from: Height) -> Result<PeerMessage, StoreError> {
    let blocks = ledger.blocks(from, BLOCK_BYTES_MAX)?;
    let tip = ledger.status().certified;
    Ok(PeerMessage::LedgerResponse(LedgerResponse { from, blocks: List::bounded(blocks), tip }))
}
