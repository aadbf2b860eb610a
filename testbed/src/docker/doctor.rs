//! `testbed doctor`: what containers need on this machine, what is missing, and how to get it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::{DockerError, ask, docker};

/// A daemon that was started answers within this.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(200);

/// One thing that is needed.
pub struct Finding {
    /// What it is.
    pub what: &'static str,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
    /// How to get it.
    pub remedy: &'static str,
}

/// Looks at everything.
pub fn examine() -> Vec<Finding> {
    let said = |answer: Result<String, DockerError>| {
        answer
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    };
    let program = |name: &'static str, arguments: &[&str]| said(ask(name, arguments, None));
    vec![
        Finding {
            what: "docker client",
            found: program("docker", &["--version"]),
            remedy: "apt-get install docker.io",
        },
        Finding {
            what: "docker-compose",
            found: program("docker-compose", &["--version"]),
            remedy: "apt-get install docker-compose",
        },
        Finding { what: "strip", found: program("strip", &["--version"]), remedy: "apt-get install binutils" },
        Finding { what: "ldd", found: program("ldd", &["--version"]), remedy: "apt-get install libc-bin" },
        Finding {
            what: "docker daemon",
            found: said(docker(&[
                "info",
                "--format",
                "version {{.ServerVersion}}, {{.NCPU}} CPUs, cgroup v{{.CgroupVersion}}",
            ])),
            remedy: "start it ('systemctl start docker'; as root where no service manager runs, 'testbed doctor --start'), \
                     and belong to the group docker",
        },
        Finding { what: "iptables", found: iptables(), remedy: "apt-get install iptables" },
    ]
}

fn iptables() -> Result<String, String> {
    let places = ["/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables"];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.map(str::to_owned).ok_or_else(|| "not installed: the daemon makes no networks without it".to_owned())
}

/// Starts a daemon that lives on, unless one answers.
pub fn start_daemon() -> Result<(), DockerError> {
    if docker(&["info", "--format", "{{.ID}}"]).is_ok() {
        return Ok(());
    }
    let mut command = Command::new("setsid");
    command.arg("dockerd").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|source| DockerError::Io { program: "dockerd", source })?;
    let deadline = Instant::now() + START_MAX;
    loop {
        match docker(&["info", "--format", "{{.ID}}"]) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
