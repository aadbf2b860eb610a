//! Control over the processes of a cluster, whatever they run in.
//!
//! Everything above (starting in order, faults, sampling, stopping) is written against [`Backend`];
//! [`crate::local`] runs local processes, and tests of the layers above record what was asked.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shardpay_run::{RunError, Unsupported};
use thiserror::Error;

use crate::procfs::Usage;
use crate::server::Server;

/// How to start a server, also again after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which one it is.
    pub server: Server,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where its messages for people are appended.
    pub log: PathBuf,
    /// Where its standard output goes, when that is for programs; the log otherwise.
    pub output: Option<PathBuf>,
    /// The directory whose bytes on disk are counted.
    pub store: Option<PathBuf>,
}

/// What can be done to a running server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Asks it to stop (SIGTERM).
    Stop,
    /// Takes it away without a chance to do anything (SIGKILL).
    Kill,
    /// Lets it get no CPU time (SIGSTOP).
    Pause,
    /// Lets it go on (SIGCONT).
    Resume,
    /// Takes its network away.
    Disconnect,
    /// Gives it its network back.
    Connect,
    /// Gives it another share of the CPU, in cores; 0: as much as there is.
    CpuShare(f64),
}

impl Action {
    /// The word for it, as in the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Disconnect => "disconnect",
            Self::Connect => "connect",
            Self::CpuShare(_) => "throttle",
        }
    }
}

/// What a server does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It exists and gets no CPU time.
    Paused,
    /// It ended.
    Ended(Ended),
    /// It was never started here.
    Absent,
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether it said that all went well.
    pub clean: bool,
    /// In words.
    pub how: String,
}

/// Why a server could not be controlled.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The program could not be started.
    #[error("{server} does not start: {}: {source}", program.display())]
    Start {
        /// Which one.
        server: Server,
        /// Its program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is there already.
    #[error("{server} runs already")]
    Running {
        /// Which one.
        server: Server,
    },
    /// There is nothing to act on.
    #[error("{action} {server}: it does not run")]
    NotRunning {
        /// Which one.
        server: Server,
        /// What was asked.
        action: &'static str,
    },
    /// This back end does no such thing.
    #[error("{server}: {unsupported}")]
    Unsupported {
        /// To which one it was to be done.
        server: Server,
        /// What, and why not.
        unsupported: Unsupported,
    },
    /// A file of the run directory that a fault changes.
    #[error("{action} {server}: {source}")]
    File {
        /// Which one.
        server: Server,
        /// What was asked.
        action: &'static str,
        /// What is wrong.
        source: RunError,
    },
    /// The system refused.
    #[error("{action} {server}: {source}")]
    Refused {
        /// Which one.
        server: Server,
        /// What was asked.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Control over the processes of a cluster. No call blocks for longer than a system call.
pub trait Backend {
    /// Starts a server.
    fn start(&mut self, launch: &Launch) -> Result<(), BackendError>;
    /// Does something to a running server.
    fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError>;
    /// What a server does now.
    fn state(&mut self, server: Server) -> State;
    /// What a running server used so far, from its start on.
    fn usage(&self, server: Server) -> Option<Usage>;
}
