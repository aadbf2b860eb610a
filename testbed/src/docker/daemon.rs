//! Docker's commands, and what can be wrong with them.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use thiserror::Error;

/// Why containers cannot be used.
#[derive(Debug, Error)]
pub enum DockerError {
    /// A program is not installed.
    #[error("{program} is not installed: 'apt-get install docker.io docker-compose iptables', or 'testbed doctor'")]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// A program could not be run.
    #[error("{program}: {source}")]
    Io {
        /// Its name.
        program: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon does not answer, or not to us.
    #[error("the Docker daemon cannot be used: {why}; 'testbed doctor' says what to do")]
    Daemon {
        /// What the client says.
        why: String,
    },
    /// A command failed.
    #[error("{command}: {why}")]
    Failed {
        /// What was asked.
        command: String,
        /// What it says.
        why: String,
    },
    /// A program or library of the images cannot be read.
    #[error("image: {0}")]
    Image(String),
    /// No network is free.
    #[error("no network of {hosts} addresses is free between 10.64.0.0 and 10.127.255.255")]
    NoSubnet {
        /// How many are needed.
        hosts: usize,
    },
}

/// Runs `docker` and returns what it prints.
pub(super) fn docker<S: AsRef<str>>(arguments: &[S]) -> Result<String, DockerError> {
    ask("docker", arguments, None)
}

/// Runs a program with something to read and returns what it prints.
pub(super) fn ask<S: AsRef<str>>(
    program: &'static str,
    arguments: &[S],
    input: Option<&[u8]>,
) -> Result<String, DockerError> {
    let output = run(program, arguments, input).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DockerError::Missing { program },
        _ => DockerError::Io { program, source },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if ["Cannot connect to the Docker daemon", "permission denied", "Couldn't connect to Docker daemon"]
        .iter()
        .any(|sign| why.contains(sign))
    {
        return Err(DockerError::Daemon { why });
    }
    let first: Vec<&str> = arguments.iter().take(3).map(AsRef::as_ref).collect();
    Err(DockerError::Failed { command: format!("{program} {}", first.join(" ")), why })
}

fn run<S: AsRef<str>>(program: &str, arguments: &[S], input: Option<&[u8]>) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // a program that does not want all of it says why on its own
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}
