//! Messages over QUIC on loopback: one after the other, as idle nodes send them, and many under way, as busy ones do.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};
use shardpay_transport::{
    Frame, Identity, PeerAddress, PeerConfig, PeerHandler, PeerNet, StreamClass, TransportRefusal,
};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};
use tokio::runtime::{Builder, Runtime};

use super::{CalibrateError, process_us};
use crate::costs::Curve;

const SIZES: [usize; 5] = [160, 1_024, 8_192, 65_536, 262_144];
/// Messages of each size that are measured, after half as many that are not.
const MESSAGES: usize = 400;
/// Messages under way when there are many.
const MANY: usize = 16;
const WAIT_MAX: Duration = Duration::from_secs(5);

struct Arrivals(Sender<()>);

impl PeerHandler for Arrivals {
    fn connected(&self, _: NodeId) {
        let _ = self.0.send(());
    }
    fn disconnected(&self, _: NodeId) {}
    fn frame(&self, _: NodeId, _: Frame) {
        let _ = self.0.send(());
    }
    fn refused(&self, _: TransportRefusal, _: std::net::SocketAddr) {}
}

struct End {
    id: NodeId,
    net: PeerNet,
    arrivals: Receiver<()>,
    /// Dropped last: the port's tasks run in it.
    _runtime: Runtime,
}

fn identity(member: usize) -> Identity {
    Identity::from_seed([member as u8 + 1; 32])
}

impl End {
    fn start(member: usize) -> Result<Self, CalibrateError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let id = NodeId { committee: CommitteeId::at(0), member: MemberIndex::at(member) };
        let (sender, arrivals) = unbounded();
        let config = PeerConfig::standard((Ipv4Addr::LOCALHOST, 0).into());
        let net = PeerNet::start(runtime.handle(), config, &identity(member), Arc::new(Arrivals(sender)))?;
        Ok(Self { id, net, arrivals, _runtime: runtime })
    }

    fn address(&self) -> PeerAddress {
        PeerAddress { node: self.id, key: identity(self.id.member.index()).public(), addr: self.net.local_addr() }
    }

    fn wait(&self) -> Result<(), CalibrateError> {
        self.arrivals.recv_timeout(WAIT_MAX).map_err(|_| CalibrateError::Lost)
    }
}

/// Processor time of a message by its size, both ends together, without the wake-up of whoever waits for it: alone, and
/// among many.
pub(super) fn messages(wake_us: f64) -> Result<(Curve, Curve), CalibrateError> {
    let (from, to) = (End::start(0)?, End::start(1)?);
    for end in [&from, &to] {
        end.net.set_members(Some(end.id), vec![from.address(), to.address()]);
    }
    from.wait()?;
    to.wait()?;
    let measure = |under_way: usize| -> Result<Curve, CalibrateError> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for size in SIZES {
            send(&from, &to, size, (MESSAGES / 2, under_way))?;
            let cpu = process_us();
            send(&from, &to, size, (MESSAGES, under_way))?;
            let us = ((process_us() - cpu) / MESSAGES as f64 - wake_us / under_way as f64).max(0.1);
            points.push((size as f64, us));
        }
        Ok(Curve { points })
    };
    Ok((measure(1)?, measure(MANY)?))
}

/// Sends so many messages and waits for all; so many are under way.
fn send(from: &End, to: &End, size: usize, (count, under_way): (usize, usize)) -> Result<(), CalibrateError> {
    let body = Bytes::from(vec![7; size]);
    for number in 0..count + under_way {
        if number >= under_way {
            to.wait()?;
        }
        if number < count {
            from.net.send(to.id, StreamClass::Prompt, body.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_cost_more() {
        let (alone, many) = messages(0.0).expect("loopback works");
        for curve in [alone, many] {
            assert_eq!(curve.points.len(), SIZES.len());
            assert!(curve.points[4].1 > curve.points[0].1, "{curve:?}");
        }
    }
}
