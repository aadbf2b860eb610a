//! The destination's side: pulls packs that start at the cursor, proposes them, tells the source when a
//! certified cursor has moved.
//!
//! Guarantees: while somebody of the source keeps notifying, and one notifier is honest, the cursor gets
//! there: every pack asked for has a deadline after which the next notifier is asked, every proposed
//! pack that does not move the cursor is given up together with whoever sent it. Per source at most one
//! pack, one request under way, one notifier per member of the source, four closing records.
//!
//! Courtesy, not validity: members take turns by (own − cursor) mod n, each turn `relay_turn` long, so
//! that usually one of them pulls and proposes.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_types::{
    ClosingRecord, ClosingsRequest, Codec, CommitteeId, Epoch, Height, InboxLeaf, MemberIndex, MemberSet, NodeId, Pack,
    PackRequest, PeerMessage, Round, Timestamp,
};

use crate::api::{Event, LedgerOrder, Output, Service};
use crate::core::{Backoff, Core, Membership, earlier};
use crate::counters::Refused;

/// Times a notifier is asked for a pack before it must notify again.
const ASKS_MAX: u32 = 3;
/// Closing records held per source.
const CLOSINGS_MAX: usize = 4;

/// A pack that waits to be proposed or committed.
#[derive(Debug)]
struct Held {
    pack: Arc<Pack>,
    bytes: usize,
    from: NodeId,
    proposed: Option<Round>,
}

/// A member of the source that says messages wait.
#[derive(Debug, Clone, Copy)]
struct Notifier {
    count: u64,
    /// Times it was asked since it notified last.
    asks: u32,
    /// When it was asked last, in the order of all asks; 0: never. Survives its next notice, so that a member
    /// which notifies often and never delivers does not keep the others from being asked.
    turn: u64,
}

#[derive(Debug, Default)]
struct Route {
    /// Messages consumed, as of the last execution.
    cursor: u64,
    /// What members of the source said is there.
    notifiers: BTreeMap<MemberIndex, Notifier>,
    /// Whom we asked for the pack at the cursor: a late answer counts as well.
    asked: MemberSet,
    /// When to ask (again).
    ask_at: Option<Timestamp>,
    backoff: Option<Backoff>,
    held: Option<Held>,
    /// A pack at the cursor was seen in a block of another member.
    seen_at: Option<Timestamp>,
    /// Records of closed epochs, to be proposed ascending.
    closings: BTreeMap<Epoch, (ClosingRecord, Option<Round>)>,
    closings_seen_at: Option<Timestamp>,
    /// Members to be told about the cursor once it is certified.
    owed: BTreeMap<MemberIndex, Timestamp>,
}

impl Route {
    fn available(&self) -> u64 {
        self.notifiers.values().map(|notifier| notifier.count).max().unwrap_or(0)
    }

    fn waits_for_more(&self) -> bool {
        self.available() > self.cursor
    }
}

/// A payload item of the next own block.
#[derive(Debug)]
pub(crate) struct PackOffer {
    pub(crate) pack: Arc<Pack>,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Destination {
    routes: BTreeMap<CommitteeId, Route>,
    /// Cursors that wait for their height to be certified.
    unconfirmed: BTreeMap<Height, Vec<InboxLeaf>>,
}

impl Destination {
    /// Cursors as the ledger held them at the start.
    pub(crate) fn recall(&mut self, cursors: &[InboxLeaf]) {
        for cursor in cursors {
            self.routes.entry(cursor.source).or_default().cursor = cursor.count;
        }
    }

    /// Packs held.
    pub(crate) fn packs(&self) -> usize {
        self.routes.values().filter(|route| route.held.is_some()).count()
    }

    pub(crate) fn next_timer(&self, core: &Core) -> Option<Timestamp> {
        let route_timer = |route: &Route| {
            let courtesy = |seen: Option<Timestamp>| seen.map(|at| at.after(core.config.relay_turn));
            let pack = route.held.as_ref().filter(|held| held.proposed.is_none()).and(courtesy(route.seen_at));
            let closing = route.closings.values().any(|(_, proposed)| proposed.is_none());
            let closing = courtesy(route.closings_seen_at).filter(|_| closing);
            earlier(route.ask_at, earlier(pack.filter(|at| *at > core.now), closing.filter(|at| *at > core.now)))
        };
        self.routes.values().filter_map(route_timer).min()
    }

    /// A member of a source says how many certified messages there are for us.
    pub(crate) fn noticed(&mut self, core: &mut Core, members: &Membership, from: NodeId, count: u64) {
        let route = self.routes.entry(from.committee).or_default();
        if count <= route.cursor {
            // consumed already: it retries because it missed the certified cursor
            let due = route.owed.get(&from.member).is_none_or(|at| core.now >= at.after(core.config.relay_turn));
            if due {
                route.owed.insert(from.member, core.now);
                core.out.push(Output::Ledger(LedgerOrder::Serve { to: from, what: Service::Cursor }));
            }
            return;
        }
        let turn = route.notifiers.get(&from.member).map_or(0, |before| before.turn);
        route.notifiers.insert(from.member, Notifier { count, asks: 0, turn });
        if route.ask_at.is_none() {
            schedule(route, core, members);
        }
    }

    /// A pack whose certificate was checked.
    pub(crate) fn pack(&mut self, core: &mut Core, members: &Membership, from: NodeId, pack: Arc<Pack>) {
        let Some(route) = self.routes.get_mut(&pack.source).filter(|route| route.asked.contains(from.member)) else {
            return core.refused.count(Refused::Unasked);
        };
        route.asked.remove(from.member);
        if route.held.is_some() {
            return core.refused.count(Refused::PackNotAtCursor);
        }
        if pack.first != route.cursor {
            core.refused.count(Refused::PackNotAtCursor);
            return distrust(route, core, members, from);
        }
        let bytes = pack.to_bytes().len();
        route.held = Some(Held { pack, bytes, from, proposed: None });
        route.ask_at = None;
    }

    /// A source's record that we could not check, or that is of a retired epoch: learn its closings.
    pub(crate) fn unknown_keyset(&mut self, core: &mut Core, from: NodeId, known: Epoch, seen: Epoch) {
        let route = self.routes.entry(from.committee).or_default();
        if route.asked.contains(from.member) {
            route.asked.remove(from.member);
            route.ask_at = Some(core.now.after(core.config.relay_retry));
        }
        if seen > known && route.closings.is_empty() {
            core.refused.count(Refused::UnknownKeyset);
            core.send(from, PeerMessage::ClosingsRequest(ClosingsRequest { from: known }));
        }
    }

    /// Closing records of another committee, checked one by the other, ascending from `known` on.
    pub(crate) fn closings(&mut self, core: &mut Core, source: CommitteeId, known: Epoch, records: Vec<ClosingRecord>) {
        let route = self.routes.entry(source).or_default();
        for record in records {
            let epoch = record.certified.header.epoch;
            if epoch < known || route.closings.contains_key(&epoch) || route.closings.len() >= CLOSINGS_MAX {
                core.refused.count(Refused::ClosingOutOfOrder);
                continue;
            }
            route.closings.insert(epoch, (record, None));
        }
    }

    /// An accepted block, own or another's, carries these.
    pub(crate) fn seen(&mut self, now: Timestamp, own: bool, payload: &shardpay_types::Payload) {
        if own {
            return;
        }
        for pack in &payload.packs {
            let route = self.routes.get_mut(&pack.source);
            if let Some(route) = route.filter(|route| route.cursor == pack.first) {
                route.seen_at = Some(now);
            }
        }
        for record in &payload.closings {
            if let Some(route) = self.routes.get_mut(&record.certified.header.committee) {
                route.closings_seen_at = Some(now);
            }
        }
    }

    /// Packs to propose now: at the cursor, not proposed, and no other member is at it.
    pub(crate) fn offers(&self, core: &Core) -> Vec<PackOffer> {
        let offer = |route: &Route| {
            let held = route.held.as_ref().filter(|held| held.proposed.is_none())?;
            let courtesy = route.seen_at.is_some_and(|at| core.now < at.after(core.config.relay_turn));
            let offer = PackOffer { pack: held.pack.clone(), bytes: held.bytes };
            (!courtesy && held.pack.first == route.cursor).then_some(offer)
        };
        self.routes.values().filter_map(offer).collect()
    }

    /// Whether there is something to propose now.
    pub(crate) fn has_work(&self, core: &Core) -> bool {
        self.routes.values().any(|route| {
            let courtesy = |seen: Option<Timestamp>| seen.is_some_and(|at| core.now < at.after(core.config.relay_turn));
            let pack = route.held.as_ref().is_some_and(|held| {
                held.proposed.is_none() && held.pack.first == route.cursor && !courtesy(route.seen_at)
            });
            let closing = route.closings.values().any(|(_, proposed)| proposed.is_none());
            pack || (closing && !courtesy(route.closings_seen_at))
        })
    }

    /// Closing records to propose now.
    pub(crate) fn closing_offers(&self, core: &Core) -> Vec<ClosingRecord> {
        let turn = core.config.relay_turn;
        let free = |route: &&Route| route.closings_seen_at.is_none_or(|at| core.now >= at.after(turn));
        let unproposed = self.routes.values().filter(free).flat_map(|route| route.closings.values());
        unproposed.filter(|(_, proposed)| proposed.is_none()).map(|(record, _)| record.clone()).collect()
    }

    /// The own block of `round` carries these.
    pub(crate) fn proposed(&mut self, round: Round, payload: &shardpay_types::Payload) {
        for pack in &payload.packs {
            if let Some(held) = self.routes.get_mut(&pack.source).and_then(|route| route.held.as_mut()) {
                held.proposed = Some(round);
            }
        }
        for record in &payload.closings {
            let header = &record.certified.header;
            let route = self.routes.get_mut(&header.committee);
            if let Some((_, proposed)) = route.and_then(|route| route.closings.get_mut(&header.epoch)) {
                *proposed = Some(round);
            }
        }
    }

    /// Own blocks of these rounds will not be committed: propose again.
    pub(crate) fn reclaim(&mut self, lost: impl Fn(Round) -> bool) {
        for route in self.routes.values_mut() {
            if let Some(held) = &mut route.held {
                held.proposed = held.proposed.filter(|round| !lost(*round));
            }
            for (_, proposed) in route.closings.values_mut() {
                *proposed = proposed.filter(|round| !lost(*round));
            }
        }
    }

    /// Own blocks up to `round` were executed: what they carried and did not take effect never will.
    pub(crate) fn settled(&mut self, core: &mut Core, members: &Membership, is_executed: impl Fn(Round) -> bool) {
        for (source, route) in &mut self.routes {
            let refused = |held: &&Held| held.proposed.is_some_and(&is_executed) && held.pack.first == route.cursor;
            if let Some(from) = route.held.as_ref().filter(refused).map(|held| held.from) {
                core.refused.count(Refused::BadPack);
                core.out.push(Output::Event(Event::RelayRefused(*source)));
                distrust(route, core, members, from);
            }
            let before = route.closings.len();
            route.closings.retain(|_, (_, proposed)| !proposed.is_some_and(&is_executed));
            core.refused.add(Refused::LedgerItem, before - route.closings.len());
        }
    }

    /// Cursors moved.
    pub(crate) fn moved(&mut self, core: &mut Core, members: &Membership, cursors: &[InboxLeaf]) {
        for cursor in cursors {
            let route = self.routes.entry(cursor.source).or_default();
            route.cursor = route.cursor.max(cursor.count);
            route.held = route.held.take().filter(|held| held.pack.first >= route.cursor);
            route.seen_at = None;
            route.asked = MemberSet::EMPTY;
            route.backoff = None;
            route.ask_at = None;
            if route.held.is_none() && route.waits_for_more() {
                schedule(route, core, members);
            }
        }
    }

    /// A committee's keyset moved to `epoch`.
    pub(crate) fn keyset_moved(&mut self, core: &Core, committee: CommitteeId, epoch: Epoch) {
        if let Some(route) = self.routes.get_mut(&committee) {
            route.closings = route.closings.split_off(&epoch);
            route.closings_seen_at = None;
            if route.held.is_none() && route.waits_for_more() {
                route.ask_at = Some(core.now);
            }
        }
    }

    /// Blocks up to `height` moved these cursors.
    pub(crate) fn executed(&mut self, height: Height, cursors: &[InboxLeaf]) {
        if !cursors.is_empty() {
            self.unconfirmed.entry(height).or_default().extend_from_slice(cursors);
        }
    }

    /// Everything up to `height` is certified: those who notified want to know of the cursors.
    pub(crate) fn certified(&mut self, core: &mut Core, height: Height) {
        let later = self.unconfirmed.split_off(&height.next());
        for cursor in std::mem::replace(&mut self.unconfirmed, later).into_values().flatten() {
            let Some(route) = self.routes.get_mut(&cursor.source) else { continue };
            for member in route.notifiers.keys() {
                let to = NodeId { committee: cursor.source, member: *member };
                core.out.push(Output::Ledger(LedgerOrder::Serve { to, what: Service::Cursor }));
            }
            route.notifiers.retain(|_, notifier| notifier.count > cursor.count);
        }
    }

    /// Asks for packs whose turn or deadline has come.
    pub(crate) fn tick(&mut self, core: &mut Core) {
        for (source, route) in &mut self.routes {
            if route.ask_at.is_none_or(|at| at > core.now) {
                continue;
            }
            route.ask_at = None;
            if route.held.is_some() || !route.waits_for_more() {
                continue;
            }
            // who was asked longest ago comes first; who never answers is given up until it notifies again
            let cursor = route.cursor;
            let last = route.notifiers.values().map(|notifier| notifier.turn).max().unwrap_or(0);
            let open = route.notifiers.iter_mut().filter(|(_, n)| n.count > cursor && n.asks < ASKS_MAX);
            let Some((member, notifier)) = open.min_by_key(|(_, notifier)| notifier.turn) else { continue };
            notifier.asks += 1;
            notifier.turn = last + 1;
            let member = *member;
            route.asked.insert(member);
            let to = NodeId { committee: *source, member };
            core.send(to, PeerMessage::PackRequest(PackRequest { first: route.cursor }));
            let wait = route.backoff.get_or_insert(Backoff::START).next(core.config.relay_retry);
            route.ask_at = Some(core.now.after(core.jittered(wait)));
        }
    }
}

/// Plans to ask for the pack at the cursor when our turn comes.
fn schedule(route: &mut Route, core: &Core, members: &Membership) {
    if route.held.is_some() || !route.waits_for_more() {
        return;
    }
    let Some(own) = members.own else { return };
    let n = members.members().size() as u64;
    let rank = (own.index() as u64 + n - route.cursor % n) % n;
    let turn = core.now.after(core.config.relay_turn * rank as u32);
    route.ask_at = earlier(route.ask_at, Some(turn));
}

/// Gives up what `from` sent, and `from` as a notifier, and turns to the others.
fn distrust(route: &mut Route, core: &Core, members: &Membership, from: NodeId) {
    route.held = route.held.take().filter(|held| held.from != from);
    route.notifiers.remove(&from.member);
    route.asked.remove(from.member);
    schedule(route, core, members);
}
