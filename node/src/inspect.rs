//! `node inspect-store`: what a store holds, without changing it.

use std::path::Path;

use anyhow::Context;
use shardpay_storage::NodeStore;
use shardpay_types::{AccountState, Codec, EpochChange, Total};

use crate::run::store_dir;

/// Describes the store of a data directory, line by line.
pub fn describe(data_dir: &Path) -> anyhow::Result<String> {
    let store = NodeStore::open_read_only(&store_dir(data_dir))?;
    let stats = store.stats()?;
    let mut lines = vec![
        format!("height           {}", store.height()),
        format!("flushed accounts up to height {}", stats.flushed),
        format!("bytes on disk    {}", stats.disk_bytes),
    ];
    if let Some(bytes) = store.meta_get("genesis")? {
        let change = EpochChange::from_bytes(&bytes).context("the genesis plan in the store")?;
        lines.push(format!("chain            {}", shardpay_crypto::chain_id(&change.plan)));
        lines.push(format!("committees       {}", change.plan.committees.len()));
    }
    let (mut accounts, mut sum) = (0u64, Some(Total::ZERO));
    store.accounts(|_, state: AccountState| {
        accounts += 1;
        sum = sum.and_then(|sum| sum.checked_add(state.balance));
    })?;
    let totals = store.totals()?;
    lines.push(format!("accounts         {accounts}"));
    lines.push(format!("balances         {:?}", totals.balances));
    lines.push(format!("minted           {:?}", totals.minted));
    lines.push(format!("burned           {:?}", totals.burned));
    lines.push(format!("sent             {:?}", totals.sent));
    lines.push(format!("received         {:?}", totals.received));
    let verdict = if sum == Some(totals.balances) { "equal the accounts" } else { "DIFFER from the accounts" };
    lines.push(format!("the books        {verdict}"));
    if let Some(header) = store.certified_header(store.height())? {
        lines.push(format!("tip certified by {} members", header.certificate.signatures().len()));
    }
    Ok(lines.join("\n"))
}
