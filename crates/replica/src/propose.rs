//! What the next own block carries.
//!
//! Guarantees: within the bytes and counts that a valid block may have; an epoch change first, then
//! closings and packs (other committees wait for them), then transactions by arrival, then opaque payloads.

use shardpay_types::{
    BLOCK_CLOSINGS_MAX, BLOCK_OPAQUE_MAX, BLOCK_PACKS_MAX, BLOCK_TRANSACTIONS_MAX, Codec, List, Payload, Round,
    Transaction,
};

use crate::core::Core;
use crate::epochs::Epochs;
use crate::mempool::Mempool;
use crate::opaque::OpaquePool;
use crate::relay::destination::Destination;

/// Where payload comes from.
pub(crate) struct Sources<'a> {
    pub(crate) mempool: &'a mut Mempool,
    pub(crate) opaque: &'a mut OpaquePool,
    pub(crate) destination: &'a mut Destination,
    pub(crate) epochs: &'a mut Epochs,
}

impl Sources<'_> {
    /// Fills the own block of `round`.
    pub(crate) fn payload(self, core: &Core, round: Round, bytes_max: usize) -> Payload {
        let mut room = bytes_max.saturating_sub(Payload::default().to_bytes().len());
        let mut payload = Payload::default();
        if let Some(change) = self.epochs.offer()
            && fits(&mut room, change.to_bytes().len())
        {
            payload.epoch_change = Some((**change).clone());
            self.epochs.proposed(round);
        }
        let mut closings = self.destination.closing_offers(core);
        closings.truncate(BLOCK_CLOSINGS_MAX);
        closings.retain(|record| fits(&mut room, record.to_bytes().len()));
        payload.closings = List::bounded(closings);
        // who is first rotates, so that the packs of one source cannot keep out another's
        let mut offers = self.destination.offers(core);
        if !offers.is_empty() {
            let first = round.get() as usize % offers.len();
            offers.rotate_left(first);
        }
        offers.truncate(BLOCK_PACKS_MAX);
        offers.retain(|offer| fits(&mut room, offer.bytes));
        payload.packs = List::bounded(offers.into_iter().map(|offer| (*offer.pack).clone()).collect());
        self.destination.proposed(round, &payload);
        let transactions = self.mempool.take(round, BLOCK_TRANSACTIONS_MAX, room);
        room -= transactions.iter().map(Transaction::encoded_len).sum::<usize>();
        payload.transactions = List::bounded(transactions);
        payload.opaque = List::bounded(self.opaque.take(round, BLOCK_OPAQUE_MAX, room));
        payload
    }
}

/// Takes `len` bytes of `room` if they are there.
fn fits(room: &mut usize, len: usize) -> bool {
    let rest = room.checked_sub(len);
    *room = rest.unwrap_or(*room);
    rest.is_some()
}
