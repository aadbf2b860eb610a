//! The tables. A step is never changed once released: a new one is added behind it.
//!
//! Amounts are micro-units, times microseconds since 1970, keys, ids and hashes hexadecimal text.

/// The steps from an empty database to the newest schema; `{BYTES}` is the engine's type for bytes.
pub(super) const STEPS: &[&str] = &[FIRST, SECOND, THIRD];

/// Where a shop wants its customers after the payment.
const THIRD: &str = "ALTER TABLE intents ADD COLUMN return_url TEXT";

/// The ledger this database follows: its heights mean nothing on another one.
const SECOND: &str = "CREATE TABLE ledger (id BIGINT PRIMARY KEY, chain TEXT NOT NULL)";

const FIRST: &str = "
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, password TEXT NOT NULL, public_key TEXT,
    keystore TEXT, created_us BIGINT NOT NULL, display_name TEXT, webhook_url TEXT, webhook_secret TEXT);
CREATE INDEX users_by_key ON users (public_key);
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY, user_id TEXT NOT NULL, kind TEXT NOT NULL, csrf TEXT,
    created_us BIGINT NOT NULL, expires_us BIGINT NOT NULL);
CREATE TABLE merchant_keys (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, label TEXT NOT NULL, secret_hash TEXT NOT NULL UNIQUE,
    created_us BIGINT NOT NULL);
CREATE TABLE idempotency (
    scope TEXT NOT NULL, idem_key TEXT NOT NULL, request_hash TEXT NOT NULL, instance TEXT NOT NULL,
    status BIGINT, body {BYTES}, content_type TEXT, created_us BIGINT NOT NULL, PRIMARY KEY (scope, idem_key));
CREATE INDEX idempotency_by_age ON idempotency (created_us);

CREATE TABLE cursors (
    committee BIGINT PRIMARY KEY, height BIGINT NOT NULL, ledger_us BIGINT NOT NULL, balances TEXT NOT NULL,
    burned TEXT NOT NULL, sent TEXT NOT NULL, suspense TEXT NOT NULL, minted TEXT NOT NULL, received TEXT NOT NULL);
CREATE TABLE accounts (
    public_key TEXT PRIMARY KEY, balance BIGINT NOT NULL, next_sequence BIGINT NOT NULL, committee BIGINT NOT NULL,
    height BIGINT NOT NULL, ledger_us BIGINT NOT NULL, complete BIGINT NOT NULL);
CREATE TABLE transactions (
    txid TEXT PRIMARY KEY, kind TEXT NOT NULL, sender TEXT, recipient TEXT, amount BIGINT NOT NULL, sequence BIGINT,
    reference TEXT, valid_until_us BIGINT NOT NULL, bytes {BYTES} NOT NULL, submitter TEXT, purpose TEXT,
    purpose_id TEXT, state TEXT NOT NULL, reason TEXT, submitted_us BIGINT, certified_us BIGINT, committee BIGINT NOT NULL,
    height BIGINT, leaf BIGINT, ledger_us BIGINT, credited_committee BIGINT, credited_height BIGINT, credited_leaf BIGINT,
    credited_us BIGINT, order_us BIGINT NOT NULL);
CREATE INDEX transactions_by_sender ON transactions (sender, order_us, txid);
CREATE INDEX transactions_by_recipient ON transactions (recipient, order_us, txid);
CREATE INDEX transactions_by_state ON transactions (state);
CREATE INDEX transactions_by_reference ON transactions (reference);
CREATE TABLE early_credits (
    txid TEXT PRIMARY KEY, committee BIGINT NOT NULL, height BIGINT NOT NULL, leaf BIGINT NOT NULL, ledger_us BIGINT NOT NULL);

CREATE TABLE purchases (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, recipient TEXT NOT NULL, amount BIGINT NOT NULL, state TEXT NOT NULL,
    error TEXT, brand TEXT NOT NULL, last4 TEXT NOT NULL, prompt TEXT, charge_id TEXT, txid TEXT,
    created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, due_us BIGINT NOT NULL, disputed BIGINT NOT NULL);
CREATE INDEX purchases_by_user ON purchases (user_id, created_us, id);
CREATE INDEX purchases_by_state ON purchases (state, due_us);
CREATE TABLE gateway_events (id TEXT PRIMARY KEY, received_us BIGINT NOT NULL);
CREATE TABLE mint_limit (id BIGINT PRIMARY KEY, used BIGINT NOT NULL);
INSERT INTO mint_limit (id, used) VALUES (1, 0);

CREATE TABLE cash_outs (
    txid TEXT PRIMARY KEY, user_id TEXT NOT NULL, sender TEXT NOT NULL, amount BIGINT NOT NULL, iban TEXT NOT NULL,
    holder TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, return_txid TEXT, pain001 TEXT,
    created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, due_us BIGINT NOT NULL);
CREATE INDEX cash_outs_by_user ON cash_outs (user_id, created_us, txid);
CREATE INDEX cash_outs_by_state ON cash_outs (state, due_us);

CREATE TABLE intents (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, merchant_key TEXT NOT NULL, amount BIGINT NOT NULL, order_id TEXT NOT NULL,
    description TEXT, state TEXT NOT NULL, late BIGINT NOT NULL, paid BIGINT NOT NULL, refunded BIGINT NOT NULL,
    cancelled BIGINT NOT NULL, created_us BIGINT NOT NULL, expires_us BIGINT NOT NULL);
CREATE INDEX intents_by_user ON intents (user_id, created_us, id);
CREATE INDEX intents_by_expiry ON intents (state, expires_us);
CREATE TABLE intent_payments (
    txid TEXT PRIMARY KEY, intent_id TEXT NOT NULL, direction TEXT NOT NULL, party TEXT NOT NULL, amount BIGINT NOT NULL,
    late BIGINT NOT NULL, at_us BIGINT NOT NULL, counted BIGINT NOT NULL);
CREATE INDEX intent_payments_by_intent ON intent_payments (intent_id, at_us);
CREATE TABLE webhook_events (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL, intent_id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, created_us BIGINT NOT NULL,
    attempts BIGINT NOT NULL, due_us BIGINT, delivered_us BIGINT);
CREATE INDEX webhook_events_by_due ON webhook_events (due_us);
CREATE INDEX webhook_events_by_user ON webhook_events (user_id, created_us, id);

CREATE TABLE sandbox_charges (
    charge_key TEXT PRIMARY KEY, charge_id TEXT NOT NULL, cents BIGINT NOT NULL, state TEXT NOT NULL, note TEXT, at_us BIGINT NOT NULL,
    disputed BIGINT NOT NULL);
CREATE TABLE sandbox_payouts (
    payout_key TEXT PRIMARY KEY, cents BIGINT NOT NULL, iban TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, at_us BIGINT NOT NULL,
    due_us BIGINT NOT NULL)
";
