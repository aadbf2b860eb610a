//! Who measures, and the stages of a payment in a node.

use shardpay_types::{CommitteeId, MemberIndex};

use crate::names;

/// What kind of program a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerKind {
    /// A committee member.
    Node,
    /// The organiser.
    Signaler,
    /// A load generator.
    Loadgen,
    /// The users' API.
    Service,
    /// The program that starts the others.
    Testbed,
}

impl ServerKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Node, Self::Signaler, Self::Loadgen, Self::Service, Self::Testbed];

    /// The value of the tag [`names::TAG_KIND`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Signaler => "signaler",
            Self::Loadgen => "loadgen",
            Self::Service => "service",
            Self::Testbed => "testbed",
        }
    }
}

/// The tags of every line a server writes. Two servers of one run have different names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTag {
    /// What it is.
    pub kind: ServerKind,
    /// Its name. Characters other than ASCII letters, digits, `.`, `_` and `-` are written as `_`.
    pub name: String,
    /// Its committee, when it is a node.
    pub committee: Option<CommitteeId>,
    /// Its place there.
    pub member: Option<MemberIndex>,
}

impl ServerTag {
    /// A server that is no node.
    pub fn new(kind: ServerKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), committee: None, member: None }
    }

    /// A committee member; its name is `<committee>-<member>`.
    pub fn node(committee: CommitteeId, member: MemberIndex) -> Self {
        Self {
            kind: ServerKind::Node,
            name: format!("{committee}-{member}"),
            committee: Some(committee),
            member: Some(member),
        }
    }
}

/// What happens to a payment in a node, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Its frame was read from the stream.
    Received,
    /// Its signature was checked.
    Verified,
    /// A block that carries it was made.
    Proposed,
    /// That block was committed.
    Committed,
    /// It was executed.
    Executed,
    /// The header above it has a certificate.
    Certified,
    /// Subscribers were told.
    Notified,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 7] = [
        Self::Received,
        Self::Verified,
        Self::Proposed,
        Self::Committed,
        Self::Executed,
        Self::Certified,
        Self::Notified,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Proposed => "proposed",
            Self::Committed => "committed",
            Self::Executed => "executed",
            Self::Certified => "certified",
            Self::Notified => "notified",
        }
    }

    /// The histogram of the time from the stage before to this one ([`Stage::Received`]: from the first
    /// byte of the frame).
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Received => names::STAGE_RECEIVED_US,
            Self::Verified => names::STAGE_VERIFIED_US,
            Self::Proposed => names::STAGE_PROPOSED_US,
            Self::Committed => names::STAGE_COMMITTED_US,
            Self::Executed => names::STAGE_EXECUTED_US,
            Self::Certified => names::STAGE_CERTIFIED_US,
            Self::Notified => names::STAGE_NOTIFIED_US,
        }
    }
}
