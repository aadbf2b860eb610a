//! schemathesis (PyPI) over the OpenAPI document against the live service: no 5xx, and no answer whose status, type
//! or form the document does not name. The operations are asked as a merchant who has coins, with data that fit the
//! document and data that do not.
//!
//! `./shardpay test` installs it and names the Python in SHARDPAY_PYTHON; without it the test fails and says so.

mod common;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::world::World;
use common::{Asker, card};
use serde_json::json;
use shardpay_service::app::Settings;

/// What every answer must keep.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method";
/// Requests per operation and phase.
const EXAMPLES: &str = "20";
const LASTS_MAX: Duration = Duration::from_secs(150);

fn schemathesis() -> PathBuf {
    let python = std::env::var_os("SHARDPAY_PYTHON").map(PathBuf::from);
    let cache = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/shardpay/venv/bin/python"));
    let beside = python.or(cache).map(|python| python.with_file_name("schemathesis"));
    beside
        .filter(|path| path.is_file())
        .expect("schemathesis 4 of PyPI beside SHARDPAY_PYTHON: ./shardpay test fetches it")
}

/// Runs it over some operations, as somebody.
async fn probe(world: &World, asker: &Asker, which: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(schemathesis());
    command.current_dir(dir.path()).args(["run", &format!("{}/v1/openapi.json", world.base), "--checks", CHECKS]);
    // one worker: CPython 3.11 cannot read syntax trees in two threads at once (hypothesis does)
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    command.args(["--workers", "1", "--seed", "7"]);
    command.args(["--request-timeout", "20", "--no-color", "--suppress-health-check", "all", "--warnings", "off"]);
    command.args(["--max-response-time", "15", "--no-shrink", "--generation-database", "none"]).args(which);
    command.args(["--header", &format!("Authorization: Bearer {}", asker.token.as_deref().unwrap())]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LASTS_MAX, command.output()).await.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let tested = said.lines().find(|line| line.contains("Tested") || line.contains("generated"));
    println!("{which:?}: {}", tested.unwrap_or_default().trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_kept() {
    let world = World::with(Settings { rate: (100_000, 100_000), ..Settings::default() }).await;
    let (owner, till, _) = world.merchant("merchant", None).await;
    owner.write("POST", "/v1/purchases", json!({ "amount": "100.00", "card": card("4242424242424242") })).await;
    owner.until("/v1/me/balance", "balance", "100.000000").await;
    till.write("POST", "/v1/intents", json!({ "amount": "3", "order_id": "o" })).await;
    // the till comes first: the owner's requests end its key
    probe(&world, &till, &["--include-path-regex", "^/v1/(intents|merchant)"]).await;
    // logging out would turn the rest into 401s
    probe(&world, &owner, &["--exclude-operation-id", "log_out"]).await;
}
