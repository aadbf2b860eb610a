//! Names of measurements, tags, fields and metrics: the only place where they are spelled.
//!
//! Counters count from the start of the process. Gauges are sampled when an interval ends. Histograms hold
//! the values of one interval, in microseconds. `docs/METRICS.md` lists them; a test compares the two.

/// Measurement of all counters: one line per interval, a field per counter.
pub const COUNTERS: &str = "counters";
/// Measurement of all gauges: one line per interval, a field per gauge.
pub const GAUGES: &str = "gauges";
/// Measurement of counters with a label: one line each.
pub const LABELLED: &str = "labelled";
/// Measurement of histograms: one line each, for intervals that have values.
pub const HISTOGRAMS: &str = "histograms";
/// Measurement of task events.
pub const EVENTS: &str = "events";

/// Tag: what kind of server.
pub const TAG_KIND: &str = "kind";
/// Tag: the server's name.
pub const TAG_SERVER: &str = "server";
/// Tag: a node's committee.
pub const TAG_COMMITTEE: &str = "committee";
/// Tag: a node's place in its committee.
pub const TAG_MEMBER: &str = "member";
/// Tag: the metric's name, in [`LABELLED`] and [`HISTOGRAMS`].
pub const TAG_METRIC: &str = "metric";
/// Tag: the label, in [`LABELLED`].
pub const TAG_LABEL: &str = "label";
/// Tag: the event's kind, in [`EVENTS`].
pub const TAG_EVENT: &str = "event";

/// Field: values counted.
pub const FIELD_COUNT: &str = "count";
/// Field: their sum.
pub const FIELD_SUM_US: &str = "sum_us";
/// Field: the largest one.
pub const FIELD_MAX_US: &str = "max_us";
/// Field: median of the interval.
pub const FIELD_P50_US: &str = "p50_us";
/// Field: 90th percentile of the interval.
pub const FIELD_P90_US: &str = "p90_us";
/// Field: 99th percentile of the interval.
pub const FIELD_P99_US: &str = "p99_us";
/// Field: 99.9th percentile of the interval.
pub const FIELD_P999_US: &str = "p999_us";
/// Field: an event's text.
pub const FIELD_TEXT: &str = "text";

/// Defines metric names with their one-line meaning, and the list of them.
macro_rules! metrics {
    ($(#[$list_doc:meta])* $list:ident { $($const:ident = $name:literal, $meaning:literal;)* }) => {
        $(#[doc = $meaning] pub const $const: &str = $name;)*
        $(#[$list_doc])*
        pub const $list: &[(&str, &str)] = &[$(($const, $meaning)),*];
    };
}

metrics! {
    /// All counters: (name, meaning).
    ALL_COUNTERS {
        PAYMENTS_RECEIVED = "payments_received", "Transactions read from clients.";
        PAYMENTS_VERIFIED = "payments_verified", "Client transactions whose signature was good.";
        PAYMENTS_ADMITTED = "payments_admitted", "Client transactions taken into the mempool.";
        PAYMENTS_PROPOSED = "payments_proposed", "Transactions in own blocks.";
        PAYMENTS_COMMITTED = "payments_committed", "Transactions met in commits.";
        PAYMENTS_EXECUTED = "payments_executed", "Transactions that left a leaf.";
        PAYMENTS_SHORT = "payments_short", "Of those, the ones that failed for a short balance.";
        PAYMENTS_CERTIFIED = "payments_certified", "Transactions under certified headers.";
        CREDITS_EXECUTED = "credits_executed", "Messages of other committees consumed.";
        CREDITS_CERTIFIED = "credits_certified", "Messages consumed under certified headers.";
        PEER_TRANSACTIONS_VERIFIED = "peer_transactions_verified", "Transactions of peers' blocks whose signature was checked.";
        BLOCKS_PROPOSED = "blocks_proposed", "Own blocks made.";
        BLOCKS_ACCEPTED = "blocks_accepted", "Blocks accepted into the DAG.";
        LEADERS_COMMITTED = "leaders_committed", "Leader slots decided commit.";
        LEADERS_SKIPPED = "leaders_skipped", "Leader slots decided skip.";
        LEADER_TIMEOUTS = "leader_timeouts", "Rounds advanced because the leader timeout ran out.";
        EQUIVOCATIONS = "equivocations", "Members found to sign two blocks in one slot.";
        LEDGER_BLOCKS = "ledger_blocks", "Ledger blocks executed.";
        HEADERS_CERTIFIED = "headers_certified", "Headers that got a certificate.";
        PACKS_APPLIED = "packs_applied", "Packs applied.";
        RECORDS_PERSISTED = "records_persisted", "Records made durable before something was sent.";
        STORE_SYNCS = "store_syncs", "Syncs of the store's log.";
        STORE_BATCHES = "store_batches", "Write batches given to the store.";
        PEER_BYTES_IN = "peer_bytes_in", "Bytes of frames from peers.";
        PEER_BYTES_OUT = "peer_bytes_out", "Bytes of frames to peers.";
        PEER_FRAMES_IN = "peer_frames_in", "Frames from peers.";
        PEER_FRAMES_OUT = "peer_frames_out", "Frames to peers.";
        PEER_FRAMES_DROPPED = "peer_frames_dropped", "Frames to peers dropped: queue full or not connected.";
        CLIENT_BYTES_IN = "client_bytes_in", "Bytes of frames from clients.";
        CLIENT_BYTES_OUT = "client_bytes_out", "Bytes of frames to clients.";
        CLIENT_FRAMES_IN = "client_frames_in", "Frames from clients.";
        CLIENT_FRAMES_OUT = "client_frames_out", "Frames to clients.";
        CLIENT_RESULTS = "client_results", "Results told to clients.";
        CLIENT_BLOCKS = "client_blocks", "Certified blocks (or parts) sent to subscribers.";
        PROCESS_CPU_US = "process_cpu_us", "CPU time of the process, user and system.";
        PROCESS_READ_BYTES = "process_read_bytes", "Bytes the process read from disk.";
        PROCESS_WRITTEN_BYTES = "process_written_bytes", "Bytes the process wrote to disk.";
        NETWORK_BYTES_IN = "network_bytes_in", "Bytes received on all interfaces that the process sees: a container's own, on a host everybody's.";
        NETWORK_BYTES_OUT = "network_bytes_out", "Bytes sent on them.";
        EVENTS_DROPPED = "events_dropped", "Task events dropped because the queue was full.";
        LINES_DROPPED = "lines_dropped", "Lines of line protocol that could not be written.";
        PUSH_POINTS_SENT = "push_points_sent", "Points taken by a write endpoint, over all endpoints.";
        PUSH_POINTS_DROPPED = "push_points_dropped", "Points dropped because the push queue was full or the endpoint refused them.";
        PUSH_FAILURES = "push_failures", "Writes to an endpoint that failed and were tried again.";
        REGISTRATIONS = "registrations", "Signaler: registrations accepted.";
        HEARTBEATS = "heartbeats", "Signaler: heartbeats accepted.";
        APPROVALS = "approvals", "Signaler: plan approvals accepted.";
        HTTP_REQUESTS = "http_requests", "Requests answered over HTTP.";
        PAYMENTS_OFFERED = "payments_offered", "Loadgen: payments whose time to be sent has come.";
        PAYMENTS_SENT = "payments_sent", "Loadgen: payments sent for the first time.";
        PAYMENTS_RESENT = "payments_resent", "Loadgen: payments sent again.";
        PAYMENTS_SKIPPED = "payments_skipped", "Loadgen: payments whose time came and that were not sent.";
        PAYMENTS_ACKNOWLEDGED = "payments_acknowledged", "Loadgen: payments whose debit (or credit, across committees) was seen certified.";
        BLOCKS_CHECKED = "blocks_checked", "Loadgen: certified blocks checked.";
    }
}

metrics! {
    /// All counters that carry a label: (name, meaning).
    ALL_LABELLED {
        TRANSACTIONS_REFUSED = "transactions_refused", "Transactions refused or dropped without a leaf, by reason.";
        ITEMS_REFUSED = "items_refused", "Packs, closing records and epoch changes not applied, by reason.";
        BLOCKS_REFUSED = "blocks_refused", "Blocks of peers refused, by reason.";
        PEER_REFUSED = "peer_refused", "Refusals on the peer port, by kind.";
        CLIENT_REFUSED = "client_refused", "Requests of clients not served, by reason.";
        MESSAGES_SENT = "messages_sent", "Messages executed for other committees since genesis, by destination.";
        MESSAGES_CONSUMED = "messages_consumed", "Messages of other committees consumed since genesis, by source.";
        OPERATIONS = "operations", "Service: operations carried out (register, login, buy, pay, cash_out, balance), by operation.";
        OPERATIONS_FAILED = "operations_failed", "Service: operations refused or failed, by operation.";
        MESSAGES_IN = "messages_in", "Messages of peers, by kind.";
        MESSAGES_OUT = "messages_out", "Messages to peers, by kind.";
        HTTP_REFUSED = "http_refused", "HTTP requests refused, by reason.";
    }
}

metrics! {
    /// All gauges: (name, meaning).
    ALL_GAUGES {
        EPOCH = "epoch", "The epoch.";
        PHASE = "phase", "Signaler: 0 registering, 1 genesis, 2 producing, 3 closing, 4 handover.";
        ROUND = "round", "Round of the own latest block.";
        ROUND_COMMITTED = "round_committed", "Round of the last committed leader.";
        HEIGHT_EXECUTED = "height_executed", "Last executed height.";
        HEIGHT_CERTIFIED = "height_certified", "Last certified height.";
        PROPOSING = "proposing", "1 when the node takes submissions.";
        MEMPOOL = "mempool", "Transactions in the mempool.";
        BLOCKS_WAITING = "blocks_waiting", "Blocks that wait for parents.";
        OUTBOX_PENDING = "outbox_pending", "Messages to other committees not acknowledged.";
        INBOX_PACKS = "inbox_packs", "Packs of other committees held and not consumed.";
        ACCOUNTS = "accounts", "Accounts held.";
        SUPPLY_BALANCES = "supply_balances", "Sum of the balances held, in micro-units.";
        SUPPLY_MINTED = "supply_minted", "Coins created in this committee, in micro-units.";
        SUPPLY_BURNED = "supply_burned", "Coins redeemed in this committee, in micro-units.";
        SUPPLY_SENT = "supply_sent", "Coins in messages ever sent to other committees, in micro-units.";
        SUPPLY_RECEIVED = "supply_received", "Coins in messages ever consumed from other committees, in micro-units.";
        SUPPLY_SUSPENSE = "supply_suspense", "Coins of returns that could not be credited, in micro-units.";
        QUEUE_CLIENT_LANE = "queue_client_lane", "Frames of clients that wait for verification.";
        QUEUE_PEER_LANE = "queue_peer_lane", "Frames of peers that wait for verification.";
        QUEUE_CORE = "queue_core", "Inputs that wait for the core thread.";
        QUEUE_EXECUTION = "queue_execution", "Orders that wait for the execution thread.";
        QUEUE_SYNC = "queue_sync", "Records that wait for the sync thread.";
        QUEUE_PEER_BYTES = "queue_peer_bytes", "Bytes queued to peers.";
        PEERS_CONNECTED = "peers_connected", "Peers connected.";
        CLIENTS_CONNECTED = "clients_connected", "Client connections.";
        SUBSCRIPTIONS = "subscriptions", "Block subscriptions.";
        STORE_BYTES = "store_bytes", "Bytes of the store on disk.";
        STORE_DIRTY_ACCOUNTS = "store_dirty_accounts", "Accounts not flushed yet.";
        STORE_PENDING_COMPACTION_BYTES = "store_pending_compaction_bytes", "Bytes the store has to compact.";
        MEMORY_BYTES = "memory_bytes", "Resident memory of the process.";
        STARTED_MS = "started_ms", "When the process began to measure, in ms since the Unix epoch.";
        PUSH_QUEUE_BYTES = "push_queue_bytes", "Bytes of line protocol that wait to be pushed.";
        NODES_REGISTERED = "nodes_registered", "Signaler: nodes registered.";
        NODES_HEALTHY = "nodes_healthy", "Signaler: nodes heard from in the last seconds.";
        PAYMENTS_IN_FLIGHT = "payments_in_flight", "Loadgen: payments sent and not certified yet.";
        SEND_LAG_US = "send_lag_us", "Loadgen: how late the last payment was sent.";
    }
}

metrics! {
    /// All histograms: (name, meaning).
    ALL_HISTOGRAMS {
        STAGE_RECEIVED_US = "stage_received_us", "First byte of a client's frame to the whole frame read.";
        STAGE_VERIFIED_US = "stage_verified_us", "Frame read to signatures checked.";
        STAGE_PROPOSED_US = "stage_proposed_us", "Checked to proposed in an own block.";
        STAGE_COMMITTED_US = "stage_committed_us", "Proposed to committed.";
        STAGE_EXECUTED_US = "stage_executed_us", "Committed to executed.";
        STAGE_CERTIFIED_US = "stage_certified_us", "Executed to certified.";
        STAGE_NOTIFIED_US = "stage_notified_us", "Certified to handed to the subscribers' streams.";
        VERIFY_BATCH_US = "verify_batch_us", "One batch of signature checks.";
        EXECUTE_COMMIT_US = "execute_commit_us", "Execution of one commit, its write included.";
        SYNC_US = "sync_us", "One sync of the store's log.";
        CORE_BATCH_US = "core_batch_us", "One turn of the core thread.";
        LATENCY_INTRA_US = "latency_intra_us", "Loadgen: intended send to certified, payer and payee in one committee.";
        LATENCY_CROSS_DEBIT_US = "latency_cross_debit_us", "Loadgen: intended send to certified debit, payee in another committee.";
        LATENCY_CROSS_CREDIT_US = "latency_cross_credit_us", "Loadgen: intended send to certified credit at the payee's committee.";
        HTTP_REQUEST_US = "http_request_us", "One request over HTTP.";
        OPERATION_REGISTER_US = "operation_register_us", "Service: one registration.";
        OPERATION_LOGIN_US = "operation_login_us", "Service: one login.";
        OPERATION_BUY_US = "operation_buy_us", "Service: one purchase of coins, until they are certified.";
        OPERATION_PAY_US = "operation_pay_us", "Service: one payment, until it is certified.";
        OPERATION_CASH_OUT_US = "operation_cash_out_us", "Service: one cash-out, until the burn is certified.";
        OPERATION_BALANCE_US = "operation_balance_us", "Service: one question for a balance.";
    }
}

metrics! {
    /// Kinds of task events: (name, meaning).
    ALL_EVENTS {
        EVENT_LIFECYCLE = "lifecycle", "Started, recovered, stopping.";
        EVENT_BLOCK = "block", "A ledger block was executed.";
        EVENT_EPOCH = "epoch", "An epoch opened or closed; plans.";
        EVENT_PEER = "peer", "A peer connected or left.";
        EVENT_FAULT = "fault", "A fault was injected or found.";
        EVENT_LOAD = "load", "A phase of the load began or ended.";
        EVENT_SERVICE = "service", "A step of a service's operation.";
    }
}
