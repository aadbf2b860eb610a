//! Supervision of real processes: `sleep` and small shell scripts stand for servers.

use std::path::Path;

use super::*;

fn shell(server: Server, dir: &Path, script: &str) -> Launch {
    Launch {
        server,
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        log: dir.join("logs").join(server.to_string()),
        output: None,
        store: None,
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(local: &mut Local, server: Server) -> String {
    let mut how = None;
    wait_for("the process ends", || {
        if let State::Ended(ended) = local.state(server) {
            how = Some(ended.how);
        }
        how.is_some()
    });
    how.unwrap()
}

#[test]
fn a_process_is_paused_resumed_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut local = Local::default();
    let server = Server::Signaler;
    assert_eq!(local.state(server), State::Absent);
    local.start(&shell(server, dir.path(), "exec sleep 60")).unwrap();
    assert_eq!(local.state(server), State::Running);
    assert!(local.usage(server).is_some());
    assert!(matches!(
        local.start(&shell(server, dir.path(), "exec sleep 60")),
        Err(BackendError::Running { server: Server::Signaler })
    ));

    local.act(server, Action::Pause).unwrap();
    wait_for("paused", || local.state(server) == State::Paused);
    local.act(server, Action::Resume).unwrap();
    wait_for("running", || local.state(server) == State::Running);
    local.act(server, Action::Pause).unwrap();
    local.act(server, Action::Stop).unwrap();
    assert_eq!(ended(&mut local, server), "signal 15");
    assert!(matches!(local.act(server, Action::Kill), Err(BackendError::NotRunning { .. })));
}

#[test]
fn the_whole_group_dies_and_the_server_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::node(0, 1).unwrap();
    let mut local = Local::default();
    let launch = shell(server, dir.path(), "sleep 60 & echo $!; wait");
    local.start(&launch).unwrap();
    let mut grandchild = None;
    wait_for("the script names its child", || {
        let text = std::fs::read_to_string(&launch.log).unwrap_or_default();
        grandchild = text.trim().parse().ok().and_then(|pid| ProcessId::of(pid).ok());
        grandchild.is_some()
    });
    local.act(server, Action::Kill).unwrap();
    assert_eq!(ended(&mut local, server), "killed (signal 9)");
    wait_for("the child of the script dies too", || !grandchild.unwrap().is_alive());
    local.start(&shell(server, dir.path(), "echo again; exit 7")).unwrap();
    assert_eq!(ended(&mut local, server), "exit code 7");
    assert!(std::fs::read_to_string(&launch.log).unwrap().ends_with("again\n"), "the log is appended to");
}

#[test]
fn dropping_kills_unless_released() {
    let dir = tempfile::tempdir().unwrap();
    let start = |server| {
        let mut local = Local::default();
        local.start(&shell(server, dir.path(), "exec sleep 60")).unwrap();
        local
    };
    let owned = start(Server::Loadgen(0));
    let id = owned.ids()[&Server::Loadgen(0)];
    drop(owned);
    assert!(!id.is_alive());

    let mut kept = start(Server::Signaler);
    let ids = kept.ids();
    kept.release();
    drop(kept);
    assert!(ids[&Server::Signaler].is_alive());
    let mut adopted = Local::adopt(ids.clone());
    assert_eq!(adopted.state(Server::Signaler), State::Running);
    adopted.act(Server::Signaler, Action::Kill).unwrap();
    wait_for("the adopted process dies", || !ids[&Server::Signaler].is_alive());
    assert!(matches!(adopted.state(Server::Signaler), State::Ended(_)));
}

#[test]
fn a_missing_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let launch = Launch { program: "/absent/node".into(), ..shell(Server::Loadgen(0), dir.path(), "") };
    let error = Local::default().start(&launch).unwrap_err();
    assert!(error.to_string().starts_with("loadgen-0 does not start: /absent/node: "), "{error}");
}
