//! Which fault which back end can do, and how. `docs/CONTAINERS.md` holds the table that [`fault_table`] makes.

use std::fmt;

use super::{BackendKind, FaultAction, Spec};

/// How a back end does something, or why it cannot.
type Way = Result<&'static str, &'static str>;

/// A fault that a back end cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the back end {backend} cannot {action}: {why}")]
pub struct Unsupported {
    /// Which fault.
    pub action: FaultAction,
    /// Which back end.
    pub backend: BackendKind,
    /// Why, and what does something alike.
    pub why: &'static str,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Local, Self::Docker];

    /// As specs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FaultAction {
    /// All of them, each fault before what ends it.
    pub const ALL: [Self; 18] = [
        Self::Kill,
        Self::Stop,
        Self::StopCommittee,
        Self::WipeDisk,
        Self::Restart,
        Self::Pause,
        Self::Resume,
        Self::FillDisk,
        Self::FreeDisk,
        Self::Disconnect,
        Self::Connect,
        Self::Throttle,
        Self::Unthrottle,
        Self::SkewClock,
        Self::RightClock,
        Self::Cut,
        Self::Shape,
        Self::Mend,
    ];

    /// As specs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::StopCommittee => "stop-committee",
            Self::WipeDisk => "wipe-disk",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::FillDisk => "fill-disk",
            Self::FreeDisk => "free-disk",
            Self::Disconnect => "disconnect",
            Self::Connect => "connect",
            Self::Throttle => "throttle",
            Self::Unthrottle => "unthrottle",
            Self::SkewClock => "skew-clock",
            Self::RightClock => "right-clock",
            Self::Cut => "cut",
            Self::Shape => "shape",
            Self::Mend => "mend",
        }
    }

    const fn ways(self) -> (Way, Way) {
        const NO_NETWORK: &str =
            "processes of one machine share its network; `cut` with both_ways parts a node from its peers";
        const NO_SHARE: &str = "local processes have no CPU limit; use `--backend docker`";
        const OWN: Way = Ok("the node, told by its file of conditions");
        const DISK: Way = Ok("a sized tmpfs below its store, filled and emptied; needs root");
        match self {
            Self::Kill | Self::StopCommittee => (Ok("SIGKILL"), Ok("docker kill")),
            Self::Stop => (Ok("SIGTERM"), Ok("docker kill --signal TERM")),
            Self::WipeDisk => (Ok("SIGKILL, then its files"), Ok("docker kill, then its files")),
            Self::Restart => (Ok("a new process"), Ok("docker start")),
            Self::Pause => (Ok("SIGSTOP"), Ok("docker pause (the freezer)")),
            Self::Resume => (Ok("SIGCONT"), Ok("docker unpause")),
            Self::FillDisk | Self::FreeDisk => (DISK, DISK),
            Self::Disconnect => (Err(NO_NETWORK), Ok("docker network disconnect")),
            Self::Connect => (Err(NO_NETWORK), Ok("docker network connect, the same address")),
            Self::Throttle | Self::Unthrottle => (Err(NO_SHARE), Ok("docker update --cpu-quota")),
            Self::SkewClock | Self::RightClock | Self::Cut | Self::Shape | Self::Mend => (OWN, OWN),
        }
    }

    /// How a back end does it.
    pub fn on(self, backend: BackendKind) -> Result<&'static str, Unsupported> {
        let (local, docker) = self.ways();
        let way = match backend {
            BackendKind::Local => local,
            BackendKind::Docker => docker,
        };
        way.map_err(|why| Unsupported { action: self, backend, why })
    }
}

/// The table of faults and back ends, as Markdown.
pub fn fault_table() -> String {
    let mut text = String::from("| fault | ended by | local | docker |\n|---|---|---|---|\n");
    for action in FaultAction::ALL {
        let way = |backend| action.on(backend).map_or_else(|error| format!("**no**: {}", error.why), str::to_owned);
        let end = action.opposite().map_or("", FaultAction::name);
        let (local, docker) = (way(BackendKind::Local), way(BackendKind::Docker));
        text.push_str(&format!("| {action} | {end} | {local} | {docker} |\n"));
    }
    text
}

impl Spec {
    /// The first fault that the spec's back end cannot do, by its place in the timeline.
    pub(super) fn unsupported(&self) -> Option<(usize, Unsupported)> {
        let mut faults = self.faults.iter().enumerate();
        faults.find_map(|(index, fault)| Some((index, fault.action.on(self.backend).err()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_holds_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONTAINERS.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&fault_table()), "docs/CONTAINERS.md must hold this table:\n{}", fault_table());
    }

    #[test]
    fn every_fault_has_its_name() {
        for action in FaultAction::ALL {
            let text = format!("at_s = 0\nnodes = '0-0'\naction = '{action}'");
            let fault: super::super::Fault = toml::from_str(&text).unwrap();
            assert_eq!(fault.action, action);
        }
    }
}
