//! The program itself: configuration errors name the key; kill −9 at any moment loses nothing acknowledged.

#![allow(missing_docs, reason = "a test")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use shardpay_client::signaler::{Phase, SignalerClient};
use shardpay_crypto::Signer;
use shardpay_types::Epoch;

mod common;
use common::{NETWORK, TOKEN, approve, beat_all, client, keypair, phase, register_all, registration};

fn signaler(command: &str, config: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_signaler"));
    program.arg(command).arg("--config").arg(config).env_remove("SIGNALER_LISTEN");
    program
}

fn write_config(dir: &Path, more: &str) -> std::path::PathBuf {
    let path = dir.join("signaler.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[operator]\ntoken_file = \"token\"\n\
         [network]\ncommittees = 2\nmembers = 4\nid = \"{NETWORK}\"\n{more}\n"
    );
    std::fs::write(&path, text).expect("written");
    std::fs::write(dir.join("token"), TOKEN).expect("written");
    path
}

fn issuer() -> String {
    format!("issuer = \"{}\"", keypair(99).public_key())
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL; a child that has ended already is no matter
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn spawn(config: &Path) -> (Running, SignalerClient) {
    let address = config.with_file_name("data").join("address");
    let _ = std::fs::remove_file(&address);
    let mut command = signaler("run", config);
    let mut running = Running(command.stderr(Stdio::null()).spawn().expect("starts"));
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(addr) = std::fs::read_to_string(&address) {
            return (running, client(&addr));
        }
        assert_eq!(running.0.try_wait().expect("a child"), None, "the signaler ended");
        assert!(Instant::now() < limit, "the signaler does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kill_nine_in_each_phase_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = write_config(dir.path(), &issuer());
    let (running, client) = spawn(&config).await;
    register_all(&client).await;
    drop(running);
    let (running, client) = spawn(&config).await;
    assert_eq!(phase(&client).await, (Phase::Genesis, 0));
    approve(&client, 3).await;
    drop(running);
    let (running, client) = spawn(&config).await;
    assert_eq!(phase(&client).await, (Phase::Producing, 0));
    client.close_epoch(TOKEN, Epoch::ZERO).await.expect("ordered");
    drop(running);
    let (running, client) = spawn(&config).await;
    assert_eq!(phase(&client).await, (Phase::Closing, 0));
    approve(&client, 3).await;
    drop(running);
    let (running, client) = spawn(&config).await;
    assert_eq!(phase(&client).await, (Phase::Handover, 0));
    beat_all(&client, 1).await;
    client.register(&registration(0, 2)).await.expect("moved");
    drop(running);
    let (_running, client) = spawn(&config).await;
    assert_eq!(phase(&client).await, (Phase::Producing, 1));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn configuration_errors_name_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = issuer();
    let good = signaler("check-config", &write_config(dir.path(), &issuer)).output().expect("runs");
    assert!(good.status.success(), "{}", text(&good));
    std::fs::write(dir.path().join("allowed"), format!("{0}\n# again\n{0}\n", keypair(0).public_key()))
        .expect("written");
    let cases = [
        (String::new(), "network.issuer: missing"),
        ("issuer = \"00\"".to_owned(), "network.issuer"),
        (format!("{issuer}\nmember = 4"), "member"),
        (format!("{issuer}\nallow_list = \"none\""), "network.allow_list"),
        (format!("{issuer}\nallow_list = \"allowed\""), "network.allow_list line 3"),
        (format!("{issuer}\n[epochs]\nseconds = \"x\""), "seconds"),
        (format!("{issuer}\n[epochs]\nseconds = 0"), "epochs.seconds"),
        (format!("{issuer}\n[epochs]\nheights = 0"), "epochs.heights"),
        (format!("{issuer}\n[constants]\nmint_cap = 9223372036854775807"), "mint_cap"),
    ];
    for (more, key) in cases {
        let refused = signaler("check-config", &write_config(dir.path(), &more)).output().expect("runs");
        assert!(!refused.status.success() && text(&refused).contains(key), "{more}: {}", text(&refused));
    }
    let config = write_config(dir.path(), &issuer);
    let text_of_config = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, format!("connections_max = 0\n{text_of_config}")).expect("written");
    let refused = signaler("check-config", &config).output().expect("runs");
    assert!(!refused.status.success() && text(&refused).contains("connections_max"), "{}", text(&refused));
    let config = write_config(dir.path(), &issuer);
    let refused = signaler("check-config", &config).env("SIGNALER_MEMBERS", "3").output().expect("runs");
    assert!(text(&refused).contains("network.members"), "{}", text(&refused));
}
