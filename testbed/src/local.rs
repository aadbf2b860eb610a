//! Servers as local processes.
//!
//! Each server gets a process group of its own, so a signal reaches what it started, and Ctrl-C in the
//! terminal reaches the testbed only, which then stops them in order. Who drops a [`Local`] kills what it
//! owns; [`Local::release`] leaves the processes alone (`testbed up`), and [`Local::adopt`] takes over
//! processes that another testbed started.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use shardpay_run::{BackendKind, FaultAction};

use crate::backend::{Action, Backend, BackendError, Ended, Launch, State};
use crate::procfs::{ProcessId, STARTED_BY_VARIABLE, Usage};
use crate::server::Server;

/// How often it is looked whether a killed process has ended.
const REAP_POLL: Duration = Duration::from_millis(5);
/// A process that got SIGKILL ends within this, or the machine is in trouble.
const KILL_WAIT_MAX: Duration = Duration::from_secs(5);

struct Process {
    id: ProcessId,
    /// Absent when another testbed started it: then nobody here can collect its exit status.
    child: Option<Child>,
}

impl Process {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_raw(self.id.pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process_group(pid, signal)?)
    }

    /// How it ended, or nothing while it runs. Collects the exit status.
    fn ended(&mut self) -> Option<Ended> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Some(Ended { clean: status.success(), how: describe(status) }),
            Some(Ok(None)) => None,
            Some(Err(_)) | None => (!self.id.is_alive()).then(|| Ended { clean: false, how: "ended".to_owned() }),
        }
    }
}

/// Local processes, by server.
#[derive(Default)]
pub struct Local {
    processes: BTreeMap<Server, Process>,
    released: bool,
}

impl Local {
    /// Takes over processes started by somebody else.
    pub fn adopt(processes: impl IntoIterator<Item = (Server, ProcessId)>) -> Self {
        let adopted = processes.into_iter().map(|(server, id)| (server, Process { id, child: None }));
        Self { processes: adopted.collect(), released: true }
    }

    /// The processes, also those that ended.
    pub fn ids(&self) -> BTreeMap<Server, ProcessId> {
        self.processes.iter().map(|(server, process)| (*server, process.id)).collect()
    }

    /// Lets the processes live on when this value is dropped.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Kills everything that runs and waits until it ended.
    pub fn kill_all(&mut self) {
        for process in self.processes.values_mut() {
            if process.ended().is_none() {
                // it may end at this very moment; whether it did is looked at below
                let _ = process.signal(Signal::KILL);
            }
        }
        let deadline = Instant::now() + KILL_WAIT_MAX;
        while self.processes.values_mut().any(|process| process.ended().is_none()) && Instant::now() < deadline {
            std::thread::sleep(REAP_POLL);
        }
    }

    fn running(&mut self, server: Server, action: &'static str) -> Result<&mut Process, BackendError> {
        let process = self.processes.get_mut(&server).filter(|process| process.id.is_alive());
        process.ok_or(BackendError::NotRunning { server, action })
    }
}

impl Backend for Local {
    fn start(&mut self, launch: &Launch) -> Result<(), BackendError> {
        let server = launch.server;
        if self.processes.get_mut(&server).is_some_and(|process| process.ended().is_none()) {
            return Err(BackendError::Running { server });
        }
        let process =
            spawn(launch).map_err(|source| BackendError::Start { server, program: launch.program.clone(), source })?;
        self.processes.insert(server, process);
        Ok(())
    }

    fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError> {
        let cannot = |fault: FaultAction| {
            let unsupported = fault.on(BackendKind::Local).expect_err("the table of faults says so");
            BackendError::Unsupported { server, unsupported }
        };
        let process = self.running(server, action.name())?;
        let signal = match action {
            Action::Disconnect => return Err(cannot(FaultAction::Disconnect)),
            Action::Connect => return Err(cannot(FaultAction::Connect)),
            Action::CpuShare(_) => return Err(cannot(FaultAction::Throttle)),
            Action::Stop => Signal::TERM,
            Action::Kill => Signal::KILL,
            Action::Pause => Signal::STOP,
            Action::Resume => Signal::CONT,
        };
        let refused = |source| BackendError::Refused { server, action: action.name(), source };
        process.signal(signal).map_err(refused)?;
        if action == Action::Stop {
            // a paused process cannot stop in order
            process.signal(Signal::CONT).map_err(refused)?;
        }
        Ok(())
    }

    fn state(&mut self, server: Server) -> State {
        let Some(process) = self.processes.get_mut(&server) else { return State::Absent };
        match process.ended() {
            Some(ended) => State::Ended(ended),
            None if process.id.is_paused() => State::Paused,
            None => State::Running,
        }
    }

    fn usage(&self, server: Server) -> Option<Usage> {
        self.processes.get(&server)?.id.usage().ok()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if !self.released {
            self.kill_all();
        }
    }
}

/// Kills what a testbed that is gone had started, also what it had no time to note.
pub fn kill_marked(owner: ProcessId) {
    let deadline = Instant::now() + KILL_WAIT_MAX;
    loop {
        let marked = owner.marked();
        if marked.is_empty() || Instant::now() >= deadline {
            return;
        }
        for pid in marked.iter().filter_map(|process| Pid::from_raw(process.pid)) {
            // it may end at this very moment; whether it did is looked at again
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(REAP_POLL);
    }
}

fn spawn(launch: &Launch) -> io::Result<Process> {
    let log = append_to(&launch.log)?;
    let output = launch.output.as_deref().map_or_else(|| log.try_clone(), append_to)?;
    let mut child = Command::new(&launch.program)
        .args(&launch.args)
        // the log is a file
        .env("NO_COLOR", "1")
        .env(STARTED_BY_VARIABLE, ProcessId::own()?.mark())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    match ProcessId::of(pid) {
        Ok(id) => Ok(Process { id, child: Some(child) }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended in order".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (signal 9)".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
