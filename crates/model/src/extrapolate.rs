//! The closed model: what one node has to do for a payment, a round and a neighbour, and where that ends.
//!
//! All committees are alike and all nodes of one, so one node stands for all. Its work is that of [`crate::World`] without the
//! chance in it: batches have their mean size, a committee commits one leader a round, a pack goes to every destination that
//! got something since the last. Threads and the cores are queues; saturation is where the first of them is full.

use crate::costs::Costs;
use crate::queueing::wait_mgc;
use crate::setup::{Cores, Setup};

/// Bytes of a payment, of a credit, of a block without them, of a parent, of a small message, of a pack without credits.
const PAYMENT: f64 = 170.0;
const CREDIT: f64 = 105.0;
const BLOCK: f64 = 320.0;
const PARENT: f64 = 48.0;
const SMALL: f64 = 160.0;
const PACK: f64 = 1_500.0;
/// Rounds from one pack for a destination to the next: the next one starts at the cursor that the last one moved, so asking,
/// waiting for an own block, the commit and its certificate lie between them.
const RELAY_ROUNDS: f64 = 6.0;
/// Seconds that a client's batch grows, and that a lane waits.
const LINGER_S: f64 = 0.003;
const LANE_WAIT_S: f64 = 0.002;
/// Jobs between a client's payment and its certificate: each may wait for a core.
const JOBS_ON_THE_WAY: f64 = 12.0;

/// What the closed model says.
#[derive(Debug, Clone, PartialEq)]
pub struct Extrapolation {
    /// Payments a second at saturation, over all committees.
    pub per_second: f64,
    /// What is full then.
    pub bound: &'static str,
    /// Latency of a payment of the more frequent kind (inside a committee, or to another one) at half of that.
    pub half_ms: f64,
    /// Processor time of all nodes per payment at saturation.
    pub cpu_us: f64,
    /// Time of a round at saturation.
    pub round_ms: f64,
}

/// One node's seconds of work in a second, by what does it.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    peers: f64,
    clients: f64,
    core: f64,
    ledger: f64,
    net: f64,
    behind: f64,
    line: f64,
    round_s: f64,
}

impl Use {
    fn total(&self) -> f64 {
        self.peers + self.clients + self.core + self.ledger + self.net + self.behind
    }
}

/// A system of `setup` (its load aside) with nodes on cores of their own.
pub fn extrapolate(setup: &Setup, costs: &Costs) -> Extrapolation {
    let model = Model { setup, costs };
    let (mut low, mut high) = (0.0, 1e7);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if model.fullest(&model.at(middle)).0 < 1.0 { low = middle } else { high = middle }
    }
    let full = model.at(low);
    Extrapolation {
        per_second: low * setup.committees as f64,
        bound: model.fullest(&full).1,
        half_ms: 1e3 * model.latency_s(low / 2.0),
        cpu_us: full.total() * setup.members as f64 / low * 1e6,
        round_ms: full.round_s * 1e3,
    }
}

struct Model<'a> {
    setup: &'a Setup,
    costs: &'a Costs,
}

impl Model<'_> {
    fn cores(&self) -> f64 {
        match self.setup.cores {
            Cores::Each(cores) => cores as f64,
            Cores::Shared(cores) => cores as f64 / self.setup.nodes() as f64,
        }
    }

    /// The share that is used of the resource that is fullest, and which it is.
    fn fullest(&self, of: &Use) -> (f64, &'static str) {
        let shares = [
            (of.total() / self.cores(), "cores"),
            (of.peers / self.setup.lanes.max(1) as f64, "peer lane"),
            (of.clients, "client lane"),
            (of.core, "core thread"),
            (of.ledger, "ledger thread"),
            (of.net, "network thread"),
            (of.line, "line out"),
        ];
        shares.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, "nothing"))
    }

    /// The work at so many payments a second in each committee, with the round time that follows from it.
    fn at(&self, rate: f64) -> Use {
        let far = self.setup.links.quorum_us(self.setup.members, self.setup.quorum()) / 1e6;
        let mut round = self.setup.round_delay.as_secs_f64().max(far);
        let mut of = self.work(rate, round);
        for _ in 0..64 {
            // a round lasts at least as long as the messages of a quorum are on their way and the work of whoever has most:
            // members that fall behind with execution hold back, too
            let busiest = (of.peers / self.setup.lanes.max(1) as f64 + of.core).max(of.ledger);
            let on_path = busiest.max(of.total() / self.cores()) * of.round_s;
            let needed = far + self.costs.sync_wait_us / 1e6 + on_path;
            let next = self.setup.round_delay.as_secs_f64().max(needed).min(2.0);
            if (next - round).abs() < 1e-7 {
                break;
            }
            round = (round + next) / 2.0;
            of = self.work(rate, round);
        }
        of
    }

    /// The work in rounds of so many seconds.
    fn work(&self, rate: f64, round: f64) -> Use {
        let (c, n) = (self.costs, self.setup.members as f64);
        let others = n - 1.0;
        let credits = rate * self.setup.cross;
        let in_block = rate * round / n;
        let block_bytes = BLOCK + PARENT * n + in_block * PAYMENT + credits * round / n * CREDIT;
        // nodes that are near their limit: messages are seldom alone
        let end = |bytes: f64| c.message_end_us(bytes, false);
        let (big, small) = (end(block_bytes), end(SMALL));
        let items = (rate + credits) * round;
        let packs = self.packs(credits * round);
        let certificate = c.verify_batch_us(self.setup.quorum() as f64);
        let batch = (rate * LINGER_S).max(1.0).min(rate * round + 1.0);
        let batches = rate * round / n / batch;
        let pack_bytes = PACK + credits * round / packs.max(1e-9) * CREDIT;
        let pack = end(pack_bytes);

        let blocks = others * (c.check.fixed_us + c.hash_byte_us * block_bytes + c.verify_batch_us(in_block + 1.0));
        let votes = others * (c.check.fixed_us + c.verify_batch_us(1.0));
        let relayed = packs * (2.0 * c.check.fixed_us + (c.check.fixed_us + 2.0 * certificate) / n);
        let peers = blocks + votes + c.check.each_us * items * others / n + relayed;
        let clients = batches * (c.admit.fixed_us + c.verify_batch_us(batch) + c.admit.each_us * batch);
        // blocks, votes, syncs, the ledger's facts, proposals; notices, requests, packs and cursors of other committees
        let calls = 2.0 * others + 5.0 + packs * (2.0 + 4.0 / n) + in_block;
        let records = n * (c.record.fixed_us + c.record.each_us * block_bytes) + c.record.fixed_us;
        let core = c.core.fixed_us * calls
            + c.core.each_us * (items * others / n + items + in_block)
            + records
            + 2.0 * c.sign_us
            + c.hash_byte_us * block_bytes;
        let proofs = packs * (2.0 * certificate + c.record.fixed_us);
        let ledger = c.execute.of(items) + c.store.of(items) + c.record.fixed_us + proofs;
        let net = others * 2.0 * (big + small)
            + batches * end(batch * PAYMENT)
            + end(items * 205.0) / n
            + packs * (2.0 * small + 2.0 * (pack + 2.0 * small) / n);
        let behind = c.store_behind_us * items + 2.0 * c.sync_us;
        let line = others * (block_bytes + SMALL) + items * 205.0 / n + packs * pack_bytes / n;
        let per_second = |us: f64| us / 1e6 / round;
        let mut of = Use {
            peers: per_second(peers),
            clients: per_second(clients),
            core: per_second(core),
            ledger: per_second(ledger),
            net: per_second(net),
            behind: per_second(behind),
            line: per_second(line / self.setup.links.bytes_per_us),
            round_s: round,
        };
        // a thread sleeps when it comes to a job with the share that it is idle
        let wakes = [
            (2.0 * others + packs * 2.0, of.peers),
            (batches, of.clients),
            (calls - in_block, of.core),
            (3.0, of.ledger),
            (4.0 * others + packs * 4.0, of.net),
        ];
        for share in [&mut of.peers, &mut of.clients, &mut of.core, &mut of.ledger] {
            *share *= 1.0 + (c.cold - 1.0) * (1.0 - *share).max(0.0);
        }
        of.net += wakes.iter().map(|(jobs, share)| per_second(jobs * c.wake_us) * (1.0 - share).max(0.0)).sum::<f64>();
        of
    }

    /// Packs in a round, when so many credits fall on all destinations.
    fn packs(&self, credits: f64) -> f64 {
        let others = self.setup.committees as f64 - 1.0;
        if others < 1.0 {
            return 0.0;
        }
        let has_some = 1.0 - (-credits * RELAY_ROUNDS / others).exp();
        others * has_some / RELAY_ROUNDS
    }

    /// From a payment's time to its certificate at the client.
    fn latency_s(&self, rate: f64) -> f64 {
        let of = self.at(rate);
        let (n, round) = (self.setup.members as f64, of.round_s);
        let links = &self.setup.links;
        let far = links.quorum_us(self.setup.members, self.setup.quorum()) / 1e6;
        let client = (0..self.setup.members).map(|to| links.delay_us(0, to)).sum::<u64>() as f64 / n / 1e6;
        let sync = self.costs.sync_wait_us / 1e6;
        let job = of.total() * round / (8.0 * n);
        let cores = self.cores();
        let wait = wait_mgc((cores as usize).max(1), (of.total() / cores).min(0.999), job / cores.min(1.0), 1.0);
        let enter = LINGER_S / 2.0 + client + LANE_WAIT_S;
        // half a round until the next own block; a leader's commits after two more, another one's after three
        let commit = round * (0.5 + 3.0 - 1.0 / n) + far + sync;
        let certify = far + sync;
        let inside = enter + commit + certify + JOBS_ON_THE_WAY * wait;
        let between = links.delay_us(0, self.setup.members / 2) as f64 / 1e6;
        let across = inside + 3.0 * between + commit + certify + JOBS_ON_THE_WAY * wait;
        if self.setup.cross > 0.5 { across } else { inside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Links;

    fn of(committees: usize, members: usize, cores: usize) -> Extrapolation {
        extrapolate(&Setup::saturated(committees, members, Cores::Each(cores)), &Costs::round_numbers())
    }

    #[test]
    fn larger_committees_certify_less_and_more_cores_more() {
        let sizes = [4, 7, 10, 16, 25, 40, 64].map(|members| of(1, members, 2).per_second);
        // batches grow with the rounds, so a step may win a little back
        assert!(sizes.is_sorted_by(|a, b| *b < 1.05 * a) && sizes[6] < sizes[0], "{sizes:?}");
        assert!(of(1, 4, 1).per_second < of(1, 4, 2).per_second);
    }

    #[test]
    fn committees_add_up_when_nothing_crosses() {
        let alone = of(1, 4, 2).per_second;
        let without = Setup { cross: 0.0, ..Setup::saturated(64, 4, Cores::Each(2)) };
        let many = extrapolate(&without, &Costs::round_numbers()).per_second;
        assert!((many / alone / 64.0 - 1.0).abs() < 1e-6, "{many} {alone}");
        assert!(of(64, 4, 2).per_second < many, "crossing costs");
    }

    #[test]
    fn a_slower_action_or_a_longer_way_is_never_better() {
        let setup = Setup::saturated(16, 4, Cores::Each(2));
        let base = extrapolate(&setup, &Costs::round_numbers());
        let mut dear = Costs::round_numbers();
        dear.verify.points.iter_mut().for_each(|(_, us)| *us *= 2.0);
        assert!(extrapolate(&setup, &dear).per_second < base.per_second);
        let far = Setup { links: Links::aws(), ..setup };
        assert!(extrapolate(&far, &Costs::round_numbers()).half_ms > base.half_ms + 200.0);
    }
}
