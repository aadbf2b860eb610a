//! The source's side: tells a destination that certified messages wait, until a certified cursor shows
//! that they were consumed.
//!
//! Guarantees: while messages are unacknowledged, some member of the destination is notified again and
//! again, another one each time, so one honest member there suffices; nothing is sent when everything
//! is acknowledged. One small record per destination.
//!
//! Source member i starts with destination member (i mod n), so that with all links up every member
//! hears of it once.

use std::collections::BTreeMap;
use std::time::Duration;

use shardpay_types::{CommitteeId, Epoch, Height, MemberIndex, NodeId, PeerMessage, RelayNotice, Timestamp};

use crate::core::{Backoff, Core, Membership, earlier};

/// Notices to one destination are at least that far apart; certified blocks come faster under load.
const NOTICE_GAP: Duration = Duration::from_millis(40);

#[derive(Debug, Clone)]
struct Route {
    /// Messages under a certified header.
    certified: u64,
    acknowledged: u64,
    /// Told in the last notice.
    told: u64,
    attempts: usize,
    backoff: Backoff,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
    /// The next member is tried then, unless the cursor moves before.
    rotate_at: Option<Timestamp>,
}

impl Route {
    const NEW: Self = Self {
        certified: 0,
        acknowledged: 0,
        told: 0,
        attempts: 0,
        backoff: Backoff::START,
        last: None,
        next: None,
        rotate_at: None,
    };
}

#[derive(Debug, Default)]
pub(crate) struct Source {
    routes: BTreeMap<CommitteeId, Route>,
    /// Messages ever appended, as executed.
    counts: BTreeMap<CommitteeId, u64>,
    /// Counts that wait for their height to be certified.
    executed: BTreeMap<Height, Vec<(CommitteeId, u64)>>,
    epoch: Epoch,
}

impl Source {
    /// Messages were appended by blocks up to `height`.
    pub(crate) fn executed(&mut self, height: Height, outboxes: &[(CommitteeId, u64)]) {
        self.counts.extend(outboxes.iter().copied());
        if !outboxes.is_empty() {
            self.executed.entry(height).or_default().extend_from_slice(outboxes);
        }
    }

    /// Everything up to `height` is certified, the last header being of `epoch`.
    pub(crate) fn certified(&mut self, now: Timestamp, height: Height, epoch: Epoch) {
        self.epoch = epoch;
        let waiting = self.executed.split_off(&height.next());
        for (destination, count) in std::mem::replace(&mut self.executed, waiting).into_values().flatten() {
            let route = self.routes.entry(destination).or_insert(Route::NEW);
            route.certified = route.certified.max(count);
            if route.certified > route.acknowledged && route.certified > route.told {
                let soonest = route.last.map_or(now, |last| last.after(NOTICE_GAP).max(now));
                route.next = earlier(route.next, Some(soonest));
            }
        }
    }

    /// Messages for `destination`, executed here, that it is not known to have consumed.
    pub(crate) fn backlog(&self, destination: CommitteeId) -> u64 {
        let acknowledged = self.routes.get(&destination).map_or(0, |route| route.acknowledged);
        self.counts.get(&destination).map_or(0, |count| count.saturating_sub(acknowledged))
    }

    /// Whether a cursor at `count` would be news.
    pub(crate) fn would_move(&self, destination: CommitteeId, count: u64) -> bool {
        self.routes.get(&destination).is_some_and(|route| count > route.acknowledged)
    }

    /// `destination` consumed the first `count` messages. True when that is news.
    pub(crate) fn acknowledged(&mut self, destination: CommitteeId, count: u64) -> bool {
        let Some(route) = self.routes.get_mut(&destination) else { return false };
        if count <= route.acknowledged {
            return false;
        }
        route.acknowledged = count;
        route.backoff = Backoff::START;
        // the member that is notified now works: stay with it
        route.rotate_at = None;
        if route.acknowledged >= route.certified {
            route.next = None;
        }
        true
    }

    /// What was acknowledged before a restart.
    pub(crate) fn recall(&mut self, destination: CommitteeId, count: u64) {
        // the messages may stand under a header whose certificate is not known again yet
        let route = self.routes.entry(destination).or_insert(Route::NEW);
        route.acknowledged = route.acknowledged.max(count);
        if route.acknowledged >= route.certified {
            route.next = None;
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.routes.values().filter_map(|route| route.next).min()
    }

    pub(crate) fn tick(&mut self, core: &mut Core, members: &Membership) {
        let Some(own) = members.own else {
            // the plan goes on without us: others relay
            self.routes.values_mut().for_each(|route| route.next = None);
            return;
        };
        for (destination, route) in &mut self.routes {
            if route.next.is_none_or(|at| at > core.now) {
                continue;
            }
            let Some(plan) = members.plan.committee(*destination) else {
                route.next = None;
                continue;
            };
            let rotate_at = match route.rotate_at {
                Some(at) if at > core.now => at,
                before => {
                    route.attempts += usize::from(before.is_some());
                    let wait = route.backoff.next(core.config.relay_retry);
                    core.now.after(core.jittered(wait))
                }
            };
            let member = MemberIndex::at((own.index() + route.attempts) % plan.size());
            let notice = RelayNotice { epoch: self.epoch, count: route.certified };
            core.send(NodeId { committee: *destination, member }, PeerMessage::RelayNotice(notice));
            route.told = route.certified;
            route.last = Some(core.now);
            (route.next, route.rotate_at) = (Some(rotate_at), Some(rotate_at));
        }
    }
}
