//! A twist of the simulator between a real node and its peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shardpay_node::bends::{MakeBend, Place};
use shardpay_run::TwistName;
use shardpay_runtime::Bend;
use shardpay_sim::Stream;
use shardpay_sim::byzantine::{Outgoing, Twist, TwistContext, TwistKind};
use shardpay_types::{NodeId, PeerMessage};

/// The log says that often how much harm was done.
const TELL: Duration = Duration::from_secs(5);

/// The simulator's name of a twist; `None` when the simulator has none like it.
const fn kind(twist: TwistName) -> Option<TwistKind> {
    Some(match twist {
        TwistName::Equivocate => TwistKind::Equivocator,
        TwistName::BeSilent => TwistKind::Silent,
        TwistName::SendToSome => TwistKind::Subset,
        TwistName::Withhold => TwistKind::Withholder,
        TwistName::JumpRounds => TwistKind::RoundJumper,
        TwistName::Spam => TwistKind::Spammer,
        TwistName::LieAsRelayer => TwistKind::Relayer,
        TwistName::LieAboutHistory => TwistKind::HistoryLiar,
        TwistName::SignFalseHeaders => TwistKind::VoteForger,
        TwistName::ForgeTransactions => TwistKind::TransactionForger,
        TwistName::Fork => return None,
    })
}

/// What puts a twist between a node and its peers.
pub(crate) fn bend(twist: TwistName, seed: u64) -> Option<MakeBend> {
    let kind = kind(twist)?;
    Some(Box::new(move |place: Place| {
        let number = (place.own.committee.index() * 64 + place.own.member.index()) as u64;
        let built = kind.build(&mut Stream::new(seed, "twist kind", number));
        let twist = built.expect("every kind but twins has a twist");
        let stream = Stream::new(seed, "twist", number);
        Box::new(Twisted { twist, stream, place, told: (0, Instant::now()) })
    }))
}

struct Twisted {
    twist: Box<dyn Twist>,
    stream: Stream,
    place: Place,
    /// Deeds that the log knows of, and since when.
    told: (u64, Instant),
}

impl Twisted {
    fn with<T>(&mut self, act: impl FnOnce(&mut dyn Twist, &mut TwistContext<'_>) -> T) -> T {
        let mut context = TwistContext {
            now: shardpay_runtime::now(),
            own: self.place.own,
            chain: self.place.chain,
            plan: &self.place.plan,
            signer: &*self.place.keypair,
            stream: &mut self.stream,
        };
        act(&mut *self.twist, &mut context)
    }
}

impl Bend for Twisted {
    fn receive(&mut self, from: NodeId, message: Arc<PeerMessage>) -> Option<Arc<PeerMessage>> {
        self.with(|twist, context| twist.receive(context, from, message))
    }

    fn send(&mut self, to: NodeId, message: Arc<PeerMessage>) -> Outgoing {
        self.with(|twist, context| {
            let mut out = Outgoing::new();
            twist.send(context, to, message, &mut out);
            out
        })
    }

    fn tick(&mut self) -> Outgoing {
        let deeds = self.twist.deeds();
        if deeds > self.told.0 && self.told.1.elapsed() > TELL {
            tracing::warn!(deeds, "misbehaved");
            self.told = (deeds, Instant::now());
        }
        self.with(|twist, context| {
            let mut out = Outgoing::new();
            twist.tick(context, &mut out);
            out
        })
    }
}
