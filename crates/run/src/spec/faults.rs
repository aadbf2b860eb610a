//! Faults: what is done to which nodes, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shardpay_types::{CommitteeId, MemberIndex, NodeId, faults_max};

use super::Spec;

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAction {
    /// SIGKILL.
    Kill,
    /// Start it again, after SIGKILL when it still runs.
    Restart,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// SIGKILL for all members of whole committees (`nodes` must be like `1-*`).
    StopCommittee,
}

impl FaultAction {
    /// What ends it.
    pub const fn opposite(self) -> Option<Self> {
        match self {
            Self::Kill | Self::StopCommittee => Some(Self::Restart),
            Self::Pause => Some(Self::Resume),
            Self::Restart | Self::Resume => None,
        }
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
/// ones at each repetition). `1-2`, `1-*`, `*-0`, `*-f`, `*-*`.
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
    One(usize),
}

/// A fault with its nodes worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFault {
    /// After the load began.
    pub at: Duration,
    /// What is done; never [`FaultAction::StopCommittee`], which is a kill of all its members.
    pub action: FaultAction,
    /// To whom, ascending.
    pub nodes: Vec<NodeId>,
}

impl NodeSelector {
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
            Members::One(member) if member < members => vec![member],
            Members::One(_) => return None,
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
            Members::One(member) => write!(f, "{member}"),
        }
    }
}

impl FromStr for NodeSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} names no nodes: write committee-member, with * for all and f for the faulty");
        let (committee, members) = text.split_once('-').ok_or_else(refuse)?;
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| refuse());
        Ok(Self {
            committee: if committee == "*" { None } else { Some(number(committee)?) },
            members: match members {
                "*" => Members::All,
                "f" => Members::AllowedFaults,
                member => Members::One(number(member)?),
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
                    });
                }
                let action = match fault.action {
                    FaultAction::StopCommittee => FaultAction::Kill,
                    action => action,
                };
                planned.push(PlannedFault { at: Duration::from_secs_f64(at), action, nodes });
            }
        }
        planned.sort_by_key(|fault| fault.at);
        planned
    }

    /// From the first fault to the end of the last one: "during" in the summary.
    pub fn fault_window(&self) -> Option<(Duration, Duration)> {
        let timeline = self.timeline();
        Some((timeline.first()?.at, timeline.last()?.at))
    }
}
