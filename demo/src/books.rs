//! The coins of all committees at one moment, from what their members wrote.

use std::collections::BTreeMap;

use shardpay_telemetry::names;

use crate::frame::View;

/// The books of all committees, each as its furthest member has them.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) minted: i64,
    pub(crate) burned: i64,
    pub(crate) balances: i64,
    pub(crate) sent: i64,
    pub(crate) received: i64,
    /// The same three seconds before: whatever was received then has been sent by now.
    pub(crate) received_before: i64,
}

impl Books {
    pub(crate) fn new(view: View<'_>, members: &BTreeMap<u32, Vec<usize>>) -> Self {
        let mut books = Self::default();
        for nodes in members.values() {
            let height =
                |node: &&usize| view.store.value(**node, names::HEIGHT_EXECUTED, view.slot).unwrap_or(-1.0) as i64;
            let Some(furthest) = nodes.iter().max_by_key(height) else { continue };
            let of = |name, slot| view.store.exact(*furthest, name, slot).unwrap_or(0);
            let most =
                |name, slot| nodes.iter().filter_map(|node| view.store.exact(*node, name, slot)).max().unwrap_or(0);
            books.minted += of(names::SUPPLY_MINTED, view.slot);
            books.burned += of(names::SUPPLY_BURNED, view.slot);
            books.balances += of(names::SUPPLY_BALANCES, view.slot);
            books.sent += most(names::SUPPLY_SENT, view.slot);
            books.received += most(names::SUPPLY_RECEIVED, view.slot);
            books.received_before += most(names::SUPPLY_RECEIVED, view.slot - 3);
        }
        books
    }
}
