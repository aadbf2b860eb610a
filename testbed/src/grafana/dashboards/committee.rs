//! Committees: what they carry, how they agree, what waits between them.

use shardpay_telemetry::names;

use super::super::panel::{Dashboard, Panel, unit};
use super::super::query::{Of, call, committee_rate, gauge, label_count, label_rate, over, rate};

const THESE: Of = Of::Committee;
const BY_COMMITTEE: [&str; 1] = [names::TAG_COMMITTEE];

pub(super) fn page() -> Dashboard {
    Dashboard::new("committee", "committees", "Load, agreement and messages of the chosen committees.")
        .by_committee()
        .with(load())
        .with(agreement())
        .with(messages())
        .with([Panel::events("Task events of its nodes", THESE)])
}

fn load() -> [Panel; 3] {
    let both = |counter| committee_rate(counter, THESE);
    [
        Panel::lines("Payments", unit::PER_SECOND)
            .about("Payments executed and certified per second: the median of a committee's members.")
            .query(both(names::PAYMENTS_EXECUTED), "executed $tag_committee")
            .query(both(names::PAYMENTS_CERTIFIED), "certified $tag_committee"),
        Panel::lines("Credits", unit::PER_SECOND)
            .about("Payments of other committees credited here, per second: the median of a committee's members.")
            .query(both(names::CREDITS_CERTIFIED), "certified $tag_committee"),
        Panel::lines("Short balances", unit::PER_SECOND)
            .about("Payments that failed because the payer had too little.")
            .query(both(names::PAYMENTS_SHORT), "$tag_committee"),
    ]
}

fn agreement() -> [Panel; 8] {
    let spread = |name: &str, function: &str| {
        let last = gauge(&call("last", name), THESE, &[names::TAG_SERVER, names::TAG_COMMITTEE]);
        over(function, &last, &BY_COMMITTEE)
    };
    [
        Panel::lines("Certified height", unit::COUNT)
            .about("The furthest member's.")
            .query(gauge(&call("max", names::HEIGHT_CERTIFIED), THESE, &BY_COMMITTEE), "$tag_committee"),
        Panel::lines("Lag of the last member", unit::COUNT)
            .about("Certified heights between the furthest member and the last one that reports.")
            .bad_from(50.0, 500.0)
            .query(spread(names::HEIGHT_CERTIFIED, "max(\"v\") - min(\"v\")"), "$tag_committee"),
        Panel::lines("Rounds", unit::PER_SECOND)
            .about("Blocks that each member made per second.")
            .query(rate(names::BLOCKS_PROPOSED, THESE), "$tag_server"),
        Panel::lines("Leaders committed", unit::PER_SECOND)
            .about("Leader slots decided commit, per second.")
            .query(committee_rate(names::LEADERS_COMMITTED, THESE), "$tag_committee"),
        Panel::lines("Leaders skipped", unit::PER_SECOND)
            .about("Leader slots decided skip, per second: leaders that were silent or late.")
            .bad_from(5.0, 20.0)
            .query(committee_rate(names::LEADERS_SKIPPED, THESE), "$tag_committee"),
        Panel::lines("Leader timeouts", unit::PER_SECOND)
            .about("Rounds that a member left only because the leader timeout ran out.")
            .query(rate(names::LEADER_TIMEOUTS, THESE), "$tag_server"),
        Panel::lines("Blocks waiting for parents", unit::COUNT)
            .about("In the member that has most.")
            .query(gauge(&call("max", names::BLOCKS_WAITING), THESE, &BY_COMMITTEE), "$tag_committee"),
        Panel::lines("Mempool", unit::COUNT)
            .about("Transactions that wait to be proposed, over all members.")
            .query(spread(names::MEMPOOL, "sum(\"v\")"), "$tag_committee"),
    ]
}

fn messages() -> [Panel; 6] {
    let fullest = |name: &str| gauge(&call("max", name), THESE, &BY_COMMITTEE);
    [
        Panel::lines("Messages sent, by destination", unit::COUNT)
            .about("Payments to other committees since genesis.")
            .query(label_count(names::MESSAGES_SENT, THESE), "$tag_committee to $tag_label"),
        Panel::lines("Messages consumed, by source", unit::COUNT)
            .about("Payments from other committees since genesis.")
            .query(label_count(names::MESSAGES_CONSUMED, THESE), "$tag_label to $tag_committee"),
        Panel::lines("Outbox", unit::COUNT)
            .about("Messages that the other committees have not acknowledged.")
            .bad_from(100_000.0, 1_000_000.0)
            .query(fullest(names::OUTBOX_PENDING), "$tag_committee"),
        Panel::lines("Inbox", unit::COUNT)
            .about("Packs of other committees that are held and not consumed.")
            .query(fullest(names::INBOX_PACKS), "$tag_committee"),
        Panel::lines("Transactions refused, by reason", unit::PER_SECOND)
            .about("Refused or dropped without a leaf, over all members.")
            .query(label_rate(names::TRANSACTIONS_REFUSED, THESE), "$tag_label"),
        Panel::lines("Accounts", unit::COUNT).about("Accounts held.").query(fullest(names::ACCOUNTS), "$tag_committee"),
    ]
}
