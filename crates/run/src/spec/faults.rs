//! Faults: what is done to which nodes, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shardpay_types::{CommitteeId, MemberIndex, NodeId, faults_max};

use super::Spec;
use super::network::LinkOptions;

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAction {
    /// SIGKILL.
    Kill,
    /// SIGTERM: it ends in good order.
    Stop,
    /// Start it again, after SIGKILL when it still runs.
    Restart,
    /// It gets no CPU time.
    Pause,
    /// It goes on.
    Resume,
    /// SIGKILL for all members of whole committees (`nodes` must be like `1-*`).
    StopCommittee,
    /// SIGKILL, and all that it kept is removed but its key and configuration.
    WipeDisk,
    /// Its disk, of `node.disk_mb`, is filled to the last block. It may end.
    FillDisk,
    /// The disk has room again, and the node is started if it ended.
    FreeDisk,
    /// It loses its network: peers, clients, signaler.
    Disconnect,
    /// It has its network again, at the address it had.
    Connect,
    /// Its CPU share becomes `cpu_share`.
    Throttle,
    /// Its CPU share is that of the spec again.
    Unthrottle,
    /// Its clock is `skew_ms` ahead (below zero: behind).
    SkewClock,
    /// Its clock is right again.
    RightClock,
    /// What it sends to `to` is lost; what `to` sends arrives, unless `both_ways`.
    Cut,
    /// What it sends to `to` gets the shape `link`.
    Shape,
    /// What it sends to `to` has the shape of the spec again.
    Mend,
}

impl FaultAction {
    /// What ends it.
    pub const fn opposite(self) -> Option<Self> {
        match self {
            Self::Kill | Self::Stop | Self::StopCommittee | Self::WipeDisk => Some(Self::Restart),
            Self::Pause => Some(Self::Resume),
            Self::FillDisk => Some(Self::FreeDisk),
            Self::Disconnect => Some(Self::Connect),
            Self::Throttle => Some(Self::Unthrottle),
            Self::SkewClock => Some(Self::RightClock),
            Self::Cut | Self::Shape => Some(Self::Mend),
            Self::Restart
            | Self::Resume
            | Self::FreeDisk
            | Self::Connect
            | Self::Unthrottle
            | Self::RightClock
            | Self::Mend => None,
        }
    }

    /// Whether it ends a fault rather than begins one.
    pub const fn ends(self) -> bool {
        self.opposite().is_none()
    }

    /// Whether it is about what is sent to others.
    pub const fn is_of_links(self) -> bool {
        matches!(self, Self::Cut | Self::Shape | Self::Mend)
    }
}

/// One entry of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Seconds after the load began.
    pub at_s: f64,
    /// What is done.
    pub action: FaultAction,
    /// To whom.
    pub nodes: NodeSelector,
    /// Seconds after which the opposite is done: killed nodes are started again, paused ones go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_s: Option<f64>,
    /// Of `cut`, `shape` and `mend`: the receivers; all others when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeSelector>,
    /// Of `cut`, `shape` and `mend`: what the receivers send back as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_ways: bool,
    /// Of `throttle`: cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Of `skew-clock`: milliseconds ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// Of `shape`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkOptions>,
    /// Does it again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

/// A fault that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// Seconds between two beginnings.
    pub every_s: f64,
    /// How often in all.
    pub times: u32,
}

/// Which nodes: `committee-member` with `*` for all, and `f` for as many members as may be faulty (other
/// ones at each repetition). `1-2`, `1-0,3`, `1-*`, `*-0`, `*-f`, `*-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeSelector {
    committee: Option<usize>,
    members: Members,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    All,
    AllowedFaults,
    /// One bit for each.
    Some(u64),
}

/// What an action is done with.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultDetail {
    /// Nothing.
    None,
    /// Cores.
    CpuShare(f64),
    /// Milliseconds ahead.
    SkewMs(i64),
    /// Links from the nodes to these, and back if wanted.
    Links {
        /// The receivers.
        to: Vec<NodeId>,
        /// Whether what they send back is meant, too.
        both_ways: bool,
        /// The shape; none for a mended link.
        link: Option<LinkOptions>,
    },
}

/// A fault with its nodes worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFault {
    /// After the load began.
    pub at: Duration,
    /// What is done; never [`FaultAction::StopCommittee`], which is a kill of all its members.
    pub action: FaultAction,
    /// To whom, ascending.
    pub nodes: Vec<NodeId>,
    /// With what.
    pub detail: FaultDetail,
}

impl NodeSelector {
    /// Every node there is.
    pub const ALL: Self = Self { committee: None, members: Members::All };

    /// Whether whole committees are meant.
    pub const fn whole_committees(&self) -> bool {
        matches!(self.members, Members::All)
    }

    /// The nodes in a system of that size, at the given repetition (from 0); `None` when there is no such
    /// node.
    pub fn nodes(&self, committees: usize, members: usize, repetition: usize) -> Option<Vec<NodeId>> {
        let of_committee = match self.committee {
            Some(committee) if committee < committees => committee..committee + 1,
            Some(_) => return None,
            None => 0..committees,
        };
        let chosen: Vec<usize> = match self.members {
            Members::All => (0..members).collect(),
            Members::Some(set) if members < 64 && set >> members != 0 => return None,
            Members::Some(set) => (0..members.min(64)).filter(|member| set >> member & 1 == 1).collect(),
            Members::AllowedFaults => {
                let f = faults_max(members);
                let mut chosen: Vec<usize> = (0..f).map(|i| (repetition * f + i) % members).collect();
                chosen.sort_unstable();
                chosen
            }
        };
        let node = |committee, member: &usize| NodeId {
            committee: CommitteeId::at(committee),
            member: MemberIndex::at(*member),
        };
        Some(of_committee.flat_map(|committee| chosen.iter().map(move |member| node(committee, member))).collect())
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.committee {
            Some(committee) => write!(f, "{committee}-")?,
            None => f.write_str("*-")?,
        }
        match self.members {
            Members::All => f.write_str("*"),
            Members::AllowedFaults => f.write_str("f"),
            Members::Some(set) => {
                let named: Vec<String> =
                    (0..64).filter(|at| set >> at & 1 == 1).map(|at: u32| at.to_string()).collect();
                f.write_str(&named.join(","))
            }
        }
    }
}

impl FromStr for NodeSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} names no nodes: write committee-member, with * for all and f for the faulty");
        let (committee, members) = text.split_once('-').ok_or_else(refuse)?;
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| refuse());
        let bit = |digits: &str| match number(digits)? {
            member @ 0..64 => Ok(1_u64 << member),
            _ => Err(refuse()),
        };
        let set =
            |members: &str| members.split(',').try_fold(0, |set: u64, member| Ok::<u64, String>(set | bit(member)?));
        Ok(Self {
            committee: if committee == "*" { None } else { Some(number(committee)?) },
            members: match members {
                "*" => Members::All,
                "f" => Members::AllowedFaults,
                members => Members::Some(set(members)?),
            },
        })
    }
}

impl TryFrom<String> for NodeSelector {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NodeSelector> for String {
    fn from(selector: NodeSelector) -> Self {
        selector.to_string()
    }
}

impl Spec {
    /// The timeline with repetitions and ends worked out, ascending in time.
    pub fn timeline(&self) -> Vec<PlannedFault> {
        let mut planned = Vec::new();
        for fault in &self.faults {
            let repeat = fault.repeat.unwrap_or(Repeat { every_s: 0.0, times: 1 });
            for repetition in 0..repeat.times {
                let Some(nodes) = fault.nodes.nodes(self.committees, self.nodes_per_committee, repetition as usize)
                else {
                    continue; // refused by `check`
                };
                let at = fault.at_s + repeat.every_s * f64::from(repetition);
                if let (Some(down_s), Some(action)) = (fault.down_s, fault.action.opposite()) {
                    planned.push(PlannedFault {
                        at: Duration::from_secs_f64(at + down_s),
                        action,
                        nodes: nodes.clone(),
                        detail: self.detail(fault, action, repetition as usize),
                    });
                }
                let action = match fault.action {
                    FaultAction::StopCommittee => FaultAction::Kill,
                    action => action,
                };
                let detail = self.detail(fault, action, repetition as usize);
                planned.push(PlannedFault { at: Duration::from_secs_f64(at), action, nodes, detail });
            }
        }
        planned.sort_by_key(|fault| fault.at);
        planned
    }

    /// What `action`, the fault's own or its opposite, is done with.
    fn detail(&self, fault: &Fault, action: FaultAction, repetition: usize) -> FaultDetail {
        match action {
            FaultAction::Throttle => FaultDetail::CpuShare(fault.cpu_share.unwrap_or(self.node.cpu_share)),
            FaultAction::Unthrottle => FaultDetail::CpuShare(self.node.cpu_share),
            FaultAction::SkewClock => FaultDetail::SkewMs(fault.skew_ms.unwrap_or(0)),
            FaultAction::RightClock => FaultDetail::SkewMs(0),
            FaultAction::Cut | FaultAction::Shape | FaultAction::Mend => {
                let to = fault.to.unwrap_or(NodeSelector::ALL);
                let to = to.nodes(self.committees, self.nodes_per_committee, repetition).unwrap_or_default();
                let link = match action {
                    FaultAction::Cut => Some(LinkOptions::CUT),
                    FaultAction::Shape => fault.link,
                    _ => None,
                };
                FaultDetail::Links { to, both_ways: fault.both_ways, link }
            }
            _ => FaultDetail::None,
        }
    }

    /// From the first fault to the end of the last one: "during" in the summary.
    pub fn fault_window(&self) -> Option<(Duration, Duration)> {
        let timeline = self.timeline();
        Some((timeline.first()?.at, timeline.last()?.at))
    }
}
