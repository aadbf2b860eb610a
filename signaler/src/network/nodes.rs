//! Registration, placement and heartbeats.

use std::net::SocketAddr;

use shardpay_client::signaler::{
    ErrorCode, HeartbeatReply, HeartbeatRequest, Hex, Placement, RegisterReply, RegisterRequest,
};
use shardpay_client::topology::NodeState;
use shardpay_crypto::SignatureScheme;
use shardpay_types::{
    COUNTER_MAX, CommitteeId, CommitteePlan, Epoch, List, MemberIndex, Plan, PlanHash, PublicKey, Version,
};

use super::{Effect, Live, Network};
use crate::refusal::Refusal;
use crate::store::{NodeRow, Row};

impl Network {
    /// A node registers, or tells its new addresses. The last one that was missing brings the genesis plan.
    pub(crate) fn register(&mut self, request: &RegisterRequest) -> Result<(RegisterReply, Effect), Refusal> {
        self.check_registration(request)?;
        let mut effect = Effect::default();
        let key = *request.key;
        let known = self.nodes.get(&key);
        let row = NodeRow {
            key: Hex(key),
            order: known.map_or(self.nodes.len(), |known| known.order),
            counter: request.counter,
            peer_addr: request.peer_addr,
            client_addr: request.client_addr,
        };
        match known {
            // said again because our answer was lost
            Some(known) if *known == row => return Ok((self.registered(&key), effect)),
            Some(known) if known.counter >= request.counter => {
                let detail = format!("the last registration of this key has counter {}", known.counter);
                return Err(Refusal::of(ErrorCode::Stale, "counter", detail));
            }
            Some(_) => {}
            None if !self.plans.is_empty() => {
                let detail = "all places are taken, and this key has none";
                return Err(Refusal::of(ErrorCode::RegistrationClosed, "key", detail));
            }
            None => {}
        }
        self.nodes.insert(key, row.clone());
        effect.rows.push(Row::Node(row));
        self.touch(&mut effect);
        if self.plans.is_empty() && self.nodes.len() == self.settings.expected() {
            let plan = self.genesis();
            self.propose(plan, &mut effect);
        }
        Ok((self.registered(&key), effect))
    }

    fn check_registration(&self, request: &RegisterRequest) -> Result<(), Refusal> {
        if request.counter > COUNTER_MAX {
            return Err(Refusal::field("counter", format!("above {COUNTER_MAX}")));
        }
        check_address("peer_addr", request.peer_addr)?;
        check_address("client_addr", request.client_addr)?;
        if request.peer_addr == request.client_addr {
            return Err(Refusal::field("client_addr", "equals peer_addr"));
        }
        if !self.scheme.key_acceptable(&request.key) {
            return Err(Refusal::field("key", "no canonical ed25519 key, or a weak one"));
        }
        if !self.scheme.verify(&request.key, &request.message(&self.network), &request.proof) {
            let detail = format!("not this key's signature over this registration in network {}", self.network);
            return Err(Refusal::of(ErrorCode::BadSignature, "proof", detail));
        }
        match &self.settings.allowed {
            Some(allowed) if !allowed.contains(&request.key) => {
                Err(Refusal::of(ErrorCode::NotAllowed, "key", "not on the operator's allow-list"))
            }
            _ => Ok(()),
        }
    }

    fn registered(&self, key: &PublicKey) -> RegisterReply {
        RegisterReply {
            version: self.version(),
            phase: self.phase(),
            registered: self.nodes.len(),
            expected: self.settings.expected(),
            placement: self.placement(key),
        }
    }

    /// The place of `key`, once it cannot change.
    fn placement(&self, key: &PublicKey) -> Option<Placement> {
        if let Some(current) = self.current() {
            return current.plan.committees.iter().enumerate().find_map(|(committee, plan)| {
                let member = plan.members.iter().position(|member| member == key)?;
                Some(Placement { committee: CommitteeId::at(committee), member: MemberIndex::at(member) })
            });
        }
        let position = match &self.settings.allowed {
            Some(allowed) => allowed.iter().position(|allowed| allowed == key)?,
            None => self.nodes.get(key)?.order,
        };
        let (committee, member) = (position / self.settings.members, position % self.settings.members);
        Some(Placement { committee: CommitteeId::at(committee), member: MemberIndex::at(member) })
    }

    fn genesis(&self) -> Plan {
        let mut keys: Vec<PublicKey> = match &self.settings.allowed {
            Some(allowed) => allowed.clone(),
            None => {
                let mut nodes: Vec<&NodeRow> = self.nodes.values().collect();
                nodes.sort_by_key(|node| node.order);
                nodes.iter().map(|node| *node.key).collect()
            }
        };
        let committees = Plan::even_shards(self.settings.committees).into_iter().map(|(shard_first, shard_count)| {
            let members = keys.drain(..self.settings.members).collect();
            CommitteePlan { shard_first, shard_count, members: List::bounded(members) }
        });
        Plan {
            version: Version,
            epoch: Epoch::ZERO,
            previous: PlanHash::ZERO,
            salt: self.network.0,
            issuer: self.settings.issuer,
            constants: self.settings.constants,
            committees: List::bounded(committees.collect()),
        }
    }

    /// A node is alive. What it says of itself is not kept on disk.
    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        now_us: u64,
    ) -> Result<(HeartbeatReply, Effect), Refusal> {
        let key = *request.key;
        if !self.nodes.contains_key(&key) {
            return Err(Refusal::of(ErrorCode::UnknownNode, "key", "this key has not registered"));
        }
        if !self.scheme.verify(&key, &request.message(&self.network), &request.signature) {
            let detail = "not this key's signature over this heartbeat";
            return Err(Refusal::of(ErrorCode::BadSignature, "signature", detail));
        }
        let skew_us = request.time_us.abs_diff(now_us);
        if u128::from(skew_us) > self.settings.clock_skew_max.as_micros() {
            let detail = format!("{skew_us} µs from the signaler's time {now_us}");
            return Err(Refusal::of(ErrorCode::ClockSkew, "time_us", detail));
        }
        let before = self.live.get(&key);
        if let Some(before) = before.filter(|before| before.sent_us >= request.time_us) {
            let detail = format!("the last heartbeat of this key has time {}", before.sent_us);
            return Err(Refusal::of(ErrorCode::Stale, "time_us", detail));
        }
        let came_up = before.is_none_or(|before| before.state != NodeState::Up);
        let live = Live {
            state: NodeState::Up,
            sent_us: request.time_us,
            arrived_us: now_us,
            progress: request.progress,
            process: request.process,
        };
        self.live.insert(key, live);
        let mut effect = Effect::default();
        if came_up {
            self.touch(&mut effect);
        }
        self.finish_handover(now_us, &mut effect);
        let reply =
            HeartbeatReply { version: self.version(), time_us: now_us, phase: self.phase(), epoch: self.epoch() };
        Ok((reply, effect))
    }

    /// Time passed: silent nodes are down, and the epoch's time may be over.
    pub(crate) fn tick(&mut self, now_us: u64) -> Effect {
        let mut effect = Effect::default();
        let limit = self.settings.down_after.as_micros();
        let mut ceased = false;
        for live in self.live.values_mut().filter(|live| live.state == NodeState::Up) {
            if u128::from(now_us.saturating_sub(live.arrived_us)) > limit {
                live.state = NodeState::Down;
                ceased = true;
            }
        }
        if ceased {
            self.touch(&mut effect);
        }
        self.finish_handover(now_us, &mut effect);
        self.close_by_clock(now_us, &mut effect);
        effect
    }
}

fn check_address(field: &str, addr: SocketAddr) -> Result<(), Refusal> {
    if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
        return Err(Refusal::field(field, format!("nobody can reach {addr}")));
    }
    Ok(())
}
