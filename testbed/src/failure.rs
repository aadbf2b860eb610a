//! Why a command did not succeed, and the exit code that says so.

use std::io;

use thiserror::Error;

use crate::backend::BackendError;
use crate::deploy::DeployError;
use crate::docker::DockerError;
use crate::registry::RegistryError;
use crate::server::Server;
use crate::verdict::VerdictError;

/// What went wrong.
#[derive(Debug, Error)]
pub enum Failure {
    /// Ctrl-C or SIGTERM.
    #[error("interrupted; everything was stopped")]
    Interrupted,
    /// The spec is not accepted.
    #[error(transparent)]
    Spec(#[from] shardpay_run::SpecError),
    /// The arguments do not fit.
    #[error("{0}")]
    Usage(String),
    /// Keys, configurations, programs, ports.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A process could not be started or signalled.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Containers.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The files of clusters.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The run directory.
    #[error(transparent)]
    Run(#[from] shardpay_run::RunError),
    /// No verdict could be made.
    #[error("no verdict: {0}")]
    Verdict(#[from] VerdictError),
    /// Stores were not dropped as the sweep asks for.
    #[error(transparent)]
    Stores(#[from] crate::stores::StoresError),
    /// The signaler cannot be asked.
    #[error("signaler: {0}")]
    Signaler(#[from] shardpay_client::signaler::SignalerError),
    /// The service does not do what the demo shop needs.
    #[error("service: {0}")]
    Service(#[from] shardpay_client::service::ServiceError),
    /// A file or the terminal.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A server ended although nobody asked it to.
    #[error("{server} ended by itself: {how}; the end of its log:\n{}", indented(tail))]
    Died {
        /// Which one.
        server: Server,
        /// How.
        how: String,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// Something took too long.
    #[error("not within {seconds:.0} s: {what}")]
    TooSlow {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: f64,
    },
}

fn indented(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
    if lines.is_empty() { "    (it is empty)".to_owned() } else { lines.join("\n") }
}

/// The exit codes, as `testbed --help` lists them.
pub const EXIT_CODES: &str = "\
exit codes:
  0    done; of run and audit: the verdict passed
  1    the testbed could not do its work (files, ports, programs)
  2    wrong arguments, or a spec that is not accepted
  3    the run ended and its verdict failed: the figures are no result
  4    a server ended by itself, or the cluster or the load took too long
  130  interrupted by Ctrl-C or SIGTERM, everything stopped";

/// The verdict failed.
pub const EXIT_VERDICT: u8 = 3;

impl Failure {
    /// The exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Spec(_) | Self::Usage(_) => 2,
            Self::Died { .. } | Self::TooSlow { .. } => 4,
            Self::Interrupted => 130,
            Self::Deploy(_)
            | Self::Backend(_)
            | Self::Docker(_)
            | Self::Registry(_)
            | Self::Run(_)
            | Self::Verdict(_)
            | Self::Signaler(_)
            | Self::Service(_)
            | Self::Stores(_)
            | Self::Io { .. } => 1,
        }
    }

    /// An error of the system while doing `what`.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
