//! Making a world from a scenario, and its first events.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use shardpay_consensus::{AnchorRule, Rules};
use shardpay_crypto::{Signer, chain_id};
use shardpay_replica::Config;
use shardpay_types::{ChainId, Hash};

use super::{Event, Phase, World};
use crate::byzantine::TwistKind;
use crate::checkers::{Books, Bounds, Certificates, CommitRule, Commits, Signatures, Violation};
use crate::coverage::Coverage;
use crate::engine::{Instant, Timeline};
use crate::network::Network;
use crate::node::{Body, BodyParts, Shared};
use crate::report::Figures;
use crate::rng::Stream;
use crate::scenario::Scenario;
use crate::signaler::Signaler;
use crate::topology::NodeIndex;
use crate::trace::Trace;
use crate::variant::Variant;
use crate::workload::Workload;

/// Time between two looks at every gauge.
pub(super) const WATCH: Duration = Duration::from_millis(100);

impl World {
    /// A world in which nothing has happened yet.
    pub(super) fn build(scenario: Scenario, trace: Option<Box<dyn Write + Send>>) -> Self {
        let seed = scenario.seed;
        let mut keys = Stream::new(seed, "node keys", 0);
        let signers: Vec<_> = (0..scenario.topology.nodes()).map(|_| scenario.scheme.signer(&keys.bytes())).collect();
        let issuer = scenario.scheme.signer(&keys.bytes());
        let stranger = scenario.scheme.signer(&keys.bytes());
        let public: Vec<_> = signers.iter().map(|signer| signer.public_key()).collect();
        let genesis = Arc::new(scenario.topology.genesis(&public, issuer.public_key(), keys.bytes()));
        let chain = chain_id(&genesis);
        let scheme = scenario.scheme.scheme(seed);
        let shared = Shared { chain, genesis: genesis.clone(), scheme: scheme.clone() };
        let (bodies, twins) = bodies(&scenario, &signers, chain);
        let committees = scenario.topology.committees();
        let example = &bodies[0].config;
        let bounds = Bounds {
            gc_depth: u64::from(genesis.constants.gc_depth),
            execution_queue_max: example.consensus.execution_queue_max,
            uncertified_max: example.uncertified_max,
            mempool_max: example.mempool.count_max,
            committees,
        };
        Self {
            line: Timeline::new(),
            trace: Trace::new(trace),
            network: Network::new(seed, &scenario.timing),
            workload: Workload::new(&scenario, chain, genesis.clone(), issuer),
            signaler: Signaler::new(seed, chain, scheme.clone(), scenario.topology.clone()),
            books: Books::new(chain, genesis, scheme).verify_every(if scenario.payments > 10_000 { 16 } else { 1 }),
            commits: Commits::default(),
            rule: CommitRule::default(),
            certificates: Certificates::new(committees, bodies.len()),
            signatures: Signatures::new(bodies.len()),
            bounds,
            coverage: Coverage::default(),
            stream: Stream::new(seed, "world", 0),
            phase: Phase::Faulty,
            last_work: Instant(0),
            under_way: 0,
            last_submission: Instant(0),
            figures: Figures::default(),
            stranger,
            tokens: Vec::new(),
            most_in_flight: 0,
            planted: 0,
            why_not_done: String::new(),
            shared,
            bodies,
            twins,
            scenario,
        }
    }

    /// Starts the nodes and plans what is known from the beginning.
    pub(super) fn start(&mut self) -> Result<(), Violation> {
        let starts: Vec<_> = (0..self.bodies.len()).map(|_| self.stream.between(0, 20_000)).collect();
        for (body, at) in starts.into_iter().enumerate() {
            self.line.at(Instant(at), Event::Restart(body));
            if self.bodies[body].twist.is_some() {
                self.line.at(Instant(at), Event::Twist(body));
            }
        }
        let mints = self.workload.mints();
        self.plan_submissions(mints);
        let (from, until) = (700_000.min(self.scenario.load_until.0), self.scenario.load_until.0);
        for _ in 0..self.scenario.payments {
            let at = Instant(self.stream.between(from, until));
            self.line.at(at, Event::Load);
        }
        for (number, planned) in self.scenario.faults.iter().enumerate() {
            self.line.at(planned.at, Event::FaultBegins(number));
            self.line.at(planned.until, Event::FaultEnds(number));
        }
        for (number, (at, _)) in self.scenario.signaler.iter().enumerate() {
            self.line.at(*at, Event::Signaler(number));
        }
        self.line.at(self.scenario.heal_at, Event::Heal);
        self.line.at(Instant::from_millis(1_000), Event::LookAfter);
        self.line.after(WATCH, Event::Watch);
        for kind in self.scenario.byzantine.values().filter(|kind| **kind == TwistKind::Twins) {
            self.coverage.hit(kind.name());
        }
        Ok(())
    }
}

fn bodies(scenario: &Scenario, signers: &[Arc<dyn Signer>], chain: ChainId) -> (Vec<Body>, Vec<Option<usize>>) {
    let nodes = scenario.topology.nodes();
    let mut bodies: Vec<_> = (0..nodes).map(|node| body(scenario, signers, chain, node, node)).collect();
    let mut twins = vec![None; nodes];
    for (node, kind) in &scenario.byzantine {
        if *kind == TwistKind::Twins {
            twins[*node] = Some(bodies.len());
            bodies.push(body(scenario, signers, chain, *node, bodies.len()));
        }
    }
    (bodies, twins)
}

fn body(scenario: &Scenario, signers: &[Arc<dyn Signer>], chain: ChainId, node: NodeIndex, number: usize) -> Body {
    let seed = scenario.seed;
    let kind = scenario.byzantine.get(&node);
    let mut stream = Stream::new(seed, "twist kind", number as u64);
    let mut config = Config::standard(scenario.topology.id(node), chain);
    config.hash_seed = Stream::new(seed, "hash seeds", number as u64).bits();
    config.consensus.min_round_delay = scenario.timing.min_round_delay;
    config.consensus.leader_timeout = scenario.timing.leader_timeout;
    match scenario.variant {
        Some(Variant::Quorum2f) => config.rules = quorum_2f,
        Some(Variant::HighestAnchor) => config.rules = highest_anchor,
        Some(Variant::TxidCache) => config.fingerprint = txid_fingerprint,
        _ => {}
    }
    let parts = BodyParts {
        node,
        signer: signers[node].clone(),
        config,
        twist: kind.and_then(|kind| kind.build(&mut stream)),
        honest: kind.is_none(),
        crashes: scenario.may_crash(node),
        skew: scenario.timing.skew[node],
    };
    Body::new(seed, number as u64, parts)
}

/// Planted bug: 2f members count as a quorum.
fn quorum_2f(members: usize) -> Rules {
    let faults = (members - 1) / 3;
    Rules { quorum: (2 * faults).max(1), ..Rules::sound(members) }
}

/// Planted bug: the highest anchor decides.
fn highest_anchor(members: usize) -> Rules {
    Rules { anchor: AnchorRule::Highest, ..Rules::sound(members) }
}

/// Planted bug: the cache does not see the signature.
fn txid_fingerprint(chain: &ChainId, transaction: &shardpay_types::Transaction) -> Hash {
    Hash(shardpay_crypto::txid(chain, transaction).0)
}
