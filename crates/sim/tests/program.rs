//! The program itself: a reader that leaves early costs nothing but what it does not read.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

/// Runs the program, reads one line of its output (of what it says on the other pipe when `complaints`), closes that
/// pipe, and returns the line, what the program said on the open one, and how it ended.
fn head_of_one(arguments: &[&str], complaints: bool) -> (String, String, ExitStatus) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let (closed, open): (Box<dyn Read>, Box<dyn Read>) =
        if complaints { (Box::new(err), Box::new(out)) } else { (Box::new(out), Box::new(err)) };
    let (mut line, mut said) = (String::new(), String::new());
    BufReader::with_capacity(1, closed).read_line(&mut line).expect("a line");
    BufReader::new(open).read_to_string(&mut said).expect("text");
    (line, said, child.wait().expect("ends"))
}

const SMALL: [&str; 8] = ["--committees", "1", "--nodes", "4", "--seconds", "3", "--payments", "20"];

#[test]
fn a_closed_pipe_ends_a_run_with_its_own_exit_code() {
    let (line, complaints, status) = head_of_one(&[&["run", "--seed", "3"], &SMALL[..]].concat(), false);
    assert!(line.starts_with("seed 3:"), "{line}");
    assert!(status.success() && complaints.is_empty(), "{status} {complaints}");
}

#[test]
fn a_closed_pipe_ends_a_sweep_with_its_own_exit_code() {
    let (line, complaints, status) = head_of_one(&[&["sweep", "--seeds", "0..4"], &SMALL[..]].concat(), false);
    assert!(line.starts_with("coverage"), "{line}");
    assert!(status.success() && complaints.is_empty(), "{status} {complaints}");
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["run", "--seed", "3"])
        .args(SMALL)
        .stdout(full)
        .output()
        .expect("runs");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{complaints}");
    assert!(complaints.contains("the output cannot be written") && !complaints.contains("panicked"), "{complaints}");
}
