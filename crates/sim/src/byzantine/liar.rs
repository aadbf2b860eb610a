//! A twist that lies to those who catch up: changed ledger blocks, other leaders, false heartbeats.

use std::sync::Arc;

use shardpay_types::{
    BlockDigest, Certificates, Closings, Heartbeat, Height, Leaders, LedgerItem, LedgerResponse, List, NodeId, Outcome,
    PeerMessage,
};

use super::{Outgoing, Twist, TwistContext};

/// Tells history wrongly about half of the time.
#[derive(Default)]
pub(super) struct HistoryLiar {
    deeds: u64,
}

fn bend_response(response: &LedgerResponse) -> LedgerResponse {
    let mut blocks = response.blocks.clone().into_vec();
    let at = blocks.len() / 2;
    if let Some(block) = blocks.get_mut(at) {
        let mut items = block.block.items.clone().into_vec();
        match items.first_mut() {
            Some(LedgerItem::Transaction(executed)) => executed.outcome = Outcome::ShortBalance,
            Some(_) => drop(items.remove(0)),
            None => block.block.header.last_of_commit = !block.block.header.last_of_commit,
        }
        block.block.items = List::bounded(items);
    }
    LedgerResponse { from: response.from, blocks: List::bounded(blocks), tip: response.tip.plus(1_000) }
}

fn bend_heartbeat(context: &mut TwistContext<'_>, heartbeat: &Heartbeat) -> Heartbeat {
    let mut told = heartbeat.clone();
    let mut highest = told.highest.clone().into_vec();
    let at = context.stream.index(highest.len().max(1));
    if let Some(reference) = highest.get_mut(at) {
        reference.round = reference.round.plus(context.stream.weighted(&[(2, 1), (1, 100), (1, 1 << 40)]));
        reference.digest = BlockDigest(context.stream.bytes());
    }
    told.highest = List::bounded(highest);
    told.certified = Height::new(told.certified.get() + context.stream.weighted(&[(2, 0), (1, 5), (1, 1 << 40)]));
    told.executed = told.executed.max(told.certified);
    told.wants_reply = context.stream.chance(500);
    told
}

impl Twist for HistoryLiar {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        if context.stream.chance(500) {
            return out.push((to, message));
        }
        let bent = match &*message {
            PeerMessage::LedgerResponse(response) => PeerMessage::LedgerResponse(bend_response(response)),
            PeerMessage::Heartbeat(heartbeat) => PeerMessage::Heartbeat(bend_heartbeat(context, heartbeat)),
            PeerMessage::Leaders(leaders) => {
                let mut list = leaders.leaders.clone().into_vec();
                list.pop();
                PeerMessage::Leaders(Leaders { height: leaders.height, leaders: List::bounded(list) })
            }
            PeerMessage::Certificates(certificates) => {
                let mut headers = certificates.headers.clone().into_vec();
                for header in &mut headers {
                    header.header.height = header.header.height.next();
                }
                PeerMessage::Certificates(Certificates { headers: List::bounded(headers) })
            }
            PeerMessage::Closings(closings) => {
                let mut records = closings.records.clone().into_vec();
                for record in &mut records {
                    record.plan.salt = [1; 32];
                }
                PeerMessage::Closings(Closings { records: List::bounded(records) })
            }
            _ => return out.push((to, message)),
        };
        self.deeds += 1;
        out.push((to, Arc::new(bent)));
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
