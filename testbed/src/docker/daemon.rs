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
    /// The daemon does not answer.
    #[error(
        "the Docker daemon does not answer: {why}; start it with 'testbed doctor --start' (as root) or 'systemctl start docker'"
    )]
    Daemon {
        /// What the client says.
        why: String,
    },
    /// The daemon does not answer us.
    #[error(
        "this user may not talk to the Docker daemon: {why}; run as root, or join its group with 'sudo usermod -aG docker \
         $USER' and log in again"
    )]
    Forbidden {
        /// What the client says.
        why: String,
    },
    /// A command failed.
    #[error("{command}: {why}{}", advice(why))]
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
    let first: Vec<&str> = arguments.iter().take(3).map(AsRef::as_ref).collect();
    Err(failure(format!("{program} {}", first.join(" ")), why))
}

/// What a command that failed means.
fn failure(command: String, why: String) -> DockerError {
    let says = |signs: &[&str]| signs.iter().any(|sign| why.to_lowercase().contains(sign));
    // docker-compose says of a socket that it may not open that it could not connect
    if says(&["permission denied while trying to connect", "got permission denied", "permissionerror"]) {
        return DockerError::Forbidden { why };
    }
    if says(&[
        "cannot connect to the docker daemon",
        "couldn't connect to docker daemon",
        "error while fetching server api",
    ]) {
        return DockerError::Daemon { why };
    }
    DockerError::Failed { command, why }
}

/// What to do about a failure, when that is known.
fn advice(why: &str) -> &'static str {
    const KNOWN: [(&str, &str); 7] = [
        ("is already in use by container", "; 'testbed down --all' removes what an earlier testbed left"),
        ("port is already allocated", "; another program or container has this port: end it, or set another one"),
        ("address already in use", "; another program or container has this port: end it, or set another one"),
        ("pool overlaps", "; another network has these addresses: run again, or remove it ('docker network prune')"),
        (
            "no space left on device",
            "; the disk is full: 'docker system df' says what Docker holds, 'docker system prune' frees it",
        ),
        ("cpu cfs quota", "; the kernel gives no such share: choose a larger node.cpu_share"),
        ("all predefined address pools", "; Docker has no addresses left: 'docker network prune' frees some"),
    ];
    let why = why.to_lowercase();
    KNOWN.iter().find(|(sign, _)| why.contains(sign)).map_or("", |(_, advice)| advice)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do() {
        let told = |why: &str| failure("docker create x".to_owned(), why.to_owned()).to_string();
        let cases = [
            ("Conflict. The container name \"/c-0-0\" is already in use by container \"12ab\"", "testbed down --all"),
            ("write /var/lib/docker/x: no space left on device", "docker system prune"),
            ("Bind for 127.0.0.1:8086 failed: port is already allocated", "end it, or set another"),
            ("Pool overlaps with other one on this address space", "run again"),
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "testbed doctor --start"),
            ("Got permission denied while trying to connect to the Docker daemon socket", "usermod -aG docker"),
            (
                "docker.errors.DockerException: Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'Permission denied'))",
                "usermod -aG docker",
            ),
        ];
        for (why, advice) in cases {
            assert!(told(why).contains(advice) && told(why).contains(why), "{}", told(why));
        }
        assert_eq!(told("something else"), "docker create x: something else");
    }
}
