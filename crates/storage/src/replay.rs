//! What ledger blocks say about accounts and deposit references: items carry the resulting states, so
//! applying blocks in order overwrites older states with newer ones and computes nothing.

use shardpay_types::{
    AccountState, DepositRef, ExecutedPack, ExecutedTransaction, LedgerBlock, LedgerItem, MessageKind, PublicKey,
    Transaction,
};

/// What a block changed, in order.
pub(crate) trait Changes {
    /// An account's state after an item.
    fn account(&mut self, key: PublicKey, state: AccountState);
    /// A deposit reference consumed.
    fn deposit(&mut self, deposit: DepositRef);
}

/// Tells `changes` what `block` changed.
pub(crate) fn replay(block: &LedgerBlock, changes: &mut impl Changes) {
    for item in &block.items {
        match item {
            LedgerItem::Transaction(executed) => transaction(executed, changes),
            LedgerItem::Pack(executed) => pack(executed, changes),
            LedgerItem::Opaque(_) | LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
        }
    }
}

/// States stand in the order debited, credited; a remote payee or a payment to oneself has none of its own.
fn transaction(executed: &ExecutedTransaction, changes: &mut impl Changes) {
    let transaction = &executed.transaction;
    if let Transaction::Mint(mint) = transaction {
        changes.deposit(mint.body.deposit_ref);
    }
    let debited = transaction.debit().map(|(sender, _)| sender);
    let touched = debited.into_iter().chain(transaction.recipient());
    for (key, state) in touched.zip(&executed.accounts) {
        changes.account(key, *state);
    }
}

fn pack(executed: &ExecutedPack, changes: &mut impl Changes) {
    for (message, credit) in executed.pack.messages.iter().zip(&executed.credits) {
        let credited = match message.kind {
            MessageKind::Credit | MessageKind::MintCredit => message.payee,
            MessageKind::Return => message.payer,
        };
        if let Some(state) = credit.account {
            changes.account(credited, state);
        }
    }
}
