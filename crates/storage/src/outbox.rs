//! The outbox on disk: what one batch appends for a destination is one value, a run of messages.
//!
//! Pruning moves a first index, kept in the meta table; the runs below it leave with a range deletion once
//! [`PRUNE_MESSAGES`] of them have gathered, so that deletions stay rare.

use std::collections::BTreeMap;

use shardpay_types::{Codec, CommitteeId, OutboxMessage, Reader};

use crate::db::{Batch, Db};
use crate::error::StorageError;
use crate::keys;
use crate::tables::Table;

/// Messages below the first one kept that start a range deletion.
const PRUNE_MESSAGES: u64 = 16_384;

/// Where each destination's messages begin, as far as asked for in this run.
#[derive(Debug, Default)]
pub(crate) struct Firsts(BTreeMap<CommitteeId, Pruned>);

#[derive(Debug, Clone, Copy, Default)]
struct Pruned {
    /// Index of the first message kept.
    first: u64,
    /// Everything below it has been deleted.
    deleted: u64,
}

/// Index of the first message kept.
fn first_kept(db: &Db, destination: CommitteeId) -> Result<u64, StorageError> {
    Ok(db.read(Table::Meta, &keys::meta::outbox_first(destination))?.unwrap_or(0))
}

/// Adds messages to a batch, those of a run together.
pub(crate) fn append(out: &mut Batch<'_>, mut messages: Vec<(CommitteeId, u64, OutboxMessage)>) {
    messages.sort_by_key(|(destination, index, _)| (*destination, *index));
    let follows = |a: &(CommitteeId, u64, OutboxMessage), b: &(CommitteeId, u64, OutboxMessage)| {
        a.0 == b.0 && a.1.checked_add(1) == Some(b.1)
    };
    let mut value = Vec::new();
    for run in messages.chunk_by(follows) {
        let (destination, first, _) = run[0];
        value.clear();
        run.iter().for_each(|(_, _, message)| message.encode(&mut value));
        out.put(Table::Outbox, &keys::outbox(destination, first), &value);
    }
}

impl Firsts {
    /// Adds to a batch that messages below `first` are no longer needed.
    pub(crate) fn prune(
        &mut self,
        db: &Db,
        out: &mut Batch<'_>,
        destination: CommitteeId,
        first: u64,
    ) -> Result<(), StorageError> {
        let pruned = match self.0.get(&destination) {
            Some(pruned) => *pruned,
            None => Pruned { first: first_kept(db, destination)?, deleted: 0 },
        };
        let mut pruned = Pruned { first: pruned.first.max(first), ..pruned };
        out.put(Table::Meta, &keys::meta::outbox_first(destination), &pruned.first.to_le_bytes());
        if pruned.first - pruned.deleted >= PRUNE_MESSAGES
            && let Some(run) = run_at(db, destination, pruned.first)?
        {
            out.delete_range(
                Table::Outbox,
                &keys::outbox(destination, pruned.deleted),
                &keys::outbox(destination, run),
            );
            pruned.deleted = run;
        }
        self.0.insert(destination, pruned);
        Ok(())
    }
}

/// The first index of the run that holds message `index`, or that ends below it.
fn run_at(db: &Db, destination: CommitteeId, index: u64) -> Result<Option<u64>, StorageError> {
    let Some((key, _)) = db.last_at(Table::Outbox, &keys::outbox(destination, index))? else { return Ok(None) };
    let key: [u8; 10] = db.array(Table::Outbox, &key)?;
    let (of, first) = key.split_at(2);
    let first = u64::from_be_bytes(db.array(Table::Outbox, first)?);
    Ok((*of == keys::committee(destination)).then_some(first))
}

/// Messages for `destination` from index `first`, at most `max`.
pub(crate) fn messages(
    db: &Db,
    destination: CommitteeId,
    first: u64,
    max: usize,
) -> Result<Vec<OutboxMessage>, StorageError> {
    let first = first.max(first_kept(db, destination)?);
    let from = run_at(db, destination, first)?.unwrap_or(0);
    let mut messages = Vec::new();
    let end = keys::outbox(destination, u64::MAX);
    for entry in db.scan(Table::Outbox, &keys::outbox(destination, from), Some(&end)) {
        let (key, bytes) = entry?;
        let key: [u8; 10] = db.array(Table::Outbox, &key)?;
        let mut index = u64::from_be_bytes(db.array(Table::Outbox, &key[2..])?);
        let mut reader = Reader::new(&bytes);
        while reader.remaining() > 0 && messages.len() < max {
            let message = OutboxMessage::decode(&mut reader).map_err(|error| db.corrupt(format!("outbox: {error}")))?;
            if index >= first {
                messages.push(message);
            }
            index = index.checked_add(1).ok_or_else(|| db.corrupt("outbox: index"))?;
        }
        if messages.len() >= max {
            break;
        }
    }
    Ok(messages)
}
