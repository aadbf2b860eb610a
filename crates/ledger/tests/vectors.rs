//! Vectors of the leaves of ledger blocks (`docs/vectors/ledger.json`), for other languages: items and
//! the leaf hashes they give. `SHARDPAY_BLESS=1` writes them anew.

#[path = "../../types/tests/common/mod.rs"]
mod common;

use common::fields::{Fields, hex};
use common::files::compare;
use common::{Rng, Sample};
use shardpay_ledger::item_leaves;
use shardpay_types::{COUNTER_MAX, ChainId, Codec, LedgerItem};

/// Items that are written out, and the longest of them.
const ITEMS: usize = 20;
const ITEM_BYTES_MAX: usize = 1_600;

/// The samples are drawn field by field; only those are shown whose states and credits fit.
fn could_be_executed(item: &LedgerItem) -> bool {
    match item {
        LedgerItem::Transaction(executed) => {
            let transaction = &executed.transaction;
            let keys = transaction.debit().iter().count() + transaction.recipient().iter().count();
            (1..=keys).contains(&executed.accounts.len())
        }
        LedgerItem::Pack(executed) => {
            let pack = &executed.pack;
            pack.first < COUNTER_MAX && !pack.messages.is_empty() && pack.messages.len() == executed.credits.len()
        }
        LedgerItem::Opaque(_) => true,
        LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => false,
    }
}

#[test]
fn vectors_match_the_code() {
    let chain = ChainId([0xcc; 32]);
    let mut rng = Rng::for_type("LedgerItem");
    let mut items = Vec::new();
    while items.len() < ITEMS {
        let item = LedgerItem::sample(&mut rng);
        let bytes = item.to_bytes();
        if bytes.len() <= ITEM_BYTES_MAX && could_be_executed(&item) {
            let leaves = item_leaves(&chain, &item);
            items.push(Fields::Object(vec![
                ("item", Fields::Leaf(hex(&bytes))),
                ("leaf_hashes", Fields::List(leaves.iter().map(Sample::fields).collect())),
            ]));
        }
    }
    let all = Fields::Object(vec![("chain", chain.fields()), ("items", Fields::List(items))]);
    let mut text = String::new();
    all.write_json(&mut text, 0);
    text.push('\n');
    compare("ledger", &text);
}
