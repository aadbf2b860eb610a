//! The pages in a browser during a real run of 4 × 4 nodes with load and users: every chart has data, a killed node is
//! told and comes back, the page finds its app again after a restart, and a finished run is shown once more. Its
//! pictures are `docs/img/demo-*.png`.
//!
//! Needs Debian's chromium and chromium-driver, so it is ignored unless asked for (`--include-ignored`); the programs
//! of the workspace must lie beside the demo app (`cargo build --release --workspace --bins`).

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Demo, PATIENCE};
use serde_json::{Value, json};
use shardpay_browser::{Browser, program};

const SPEC: &str = r#"
name = "pages"
committees = 4
nodes_per_committee = 4
duration_s = 300

[node]
min_round_delay_ms = 100

[load]
accounts = 2000
cross = "natural"

[load.rate]
kind = "poisson"
per_second = 300
"#;
/// The rows of the services' operations.
const OPERATIONS: &str = "[...document.querySelector('#main table tbody').rows]";
const PASSWORD: &str = "a password of the account";
/// A node that is killed is told once it was silent for three seconds and the next frame, of one second, is made.
const TOLD_SILENT_S: f64 = 4.0;
/// And the page shows it within that of the end of the testbed's command.
const TOLD_WITHIN_S: f64 = 5.0;
/// Notes what the page says when it first tells that a node is down; a picture of the driver may come seconds later on a
/// busy machine.
const WATCH_FOR_ALARM: &str = "const alarms = document.getElementById('alarms'); window.told = null; \
    new MutationObserver(() => { \
        const silent = /Node 1-2 is down: not heard for (\\d+) s/.exec(alarms.innerText); \
        if (silent) window.told ??= { silent: Number(silent[1]), at: Date.now() / 1000 }; \
    }).observe(alarms, { childList: true, subtree: true, characterData: true });";
/// Charts without a number other than zero, by the heading above them.
const EMPTY: &str = "[...document.querySelectorAll('.chart')].filter((chart) => !(chart.data ?? []).some((trace) => \
    (trace.type === 'heatmap' ? trace.z.flat() : trace.orientation === 'h' ? trace.x : trace.y).some((value) => value > 0)))\
    .map((chart) => chart.parentElement.querySelector('h2').textContent)";

/// The cluster with service, demo app and a load generator; all of it ends with the value.
struct Cluster {
    dir: tempfile::TempDir,
    loadgen: Option<Child>,
    demo: String,
    service: String,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("pages.toml"), SPEC).expect("ours");
        let mut cluster = Self { dir, loadgen: None, demo: String::new(), service: String::new() };
        let said = cluster.testbed(&["up", "pages.toml", "--services", "--cluster", "pages", "--out", "run"]);
        let word = |name: &str| {
            let line =
                said.lines().find(|line| line.trim_start().starts_with(name) && line.contains("http")).expect(name);
            line.split_whitespace().nth(1).expect("a URL").trim_end_matches('/').to_owned()
        };
        (cluster.demo, cluster.service) = (word("demo  "), word("wallet  "));
        let run = cluster.run();
        let token = run.join("demo/token");
        let mut loadgen = Command::new(program("loadgen"));
        loadgen.args(["run", "--topology", &word("signaler "), "--spec", "pages.toml", "--progress", "none"]);
        loadgen.arg("--out").arg(&run).arg("--issuer-seed").arg(run.join("issuer.seed"));
        loadgen.arg("--telemetry-push").arg(format!("{}?token_file={}", cluster.demo, token.display()));
        loadgen.current_dir(cluster.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        cluster.loadgen = Some(loadgen.spawn().expect("loadgen starts"));
        cluster
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn testbed(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("testbed"));
        command.env("SHARDPAY_STATE_DIR", self.dir.path().join("state")).args(arguments);
        let output = command.current_dir(self.dir.path()).stdin(Stdio::null()).output().expect("the testbed starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn stop(&mut self) {
        if let Some(mut loadgen) = self.loadgen.take() {
            let _ = loadgen.kill();
            let _ = loadgen.wait();
            self.testbed(&["down"]);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A user who registers, logs in, mistypes the password and looks at the balance, again and again.
async fn use_the_service(url: String) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for user in 0.. {
        let body = |password: &str| json!({ "name": format!("user-{user}"), "password": password, "kind": "token" });
        let post = async |path: &str, body: Value| {
            let answer = client.post(format!("{url}{path}")).json(&body).send().await.expect("the service answers");
            serde_json::from_str::<Value>(&answer.text().await.expect("a body")).unwrap_or_default()
        };
        post("/v1/users", body(PASSWORD)).await;
        post("/v1/session", body("a wrong password")).await;
        let login = post("/v1/session", body(PASSWORD)).await;
        let token = login["token"].as_str().unwrap_or_default().to_owned();
        let balance = client.get(format!("{url}/v1/me/balance")).bearer_auth(token);
        balance.send().await.expect("the service answers");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// A customer at the command line, who buys coins, pays the shop and cashes out, until the value is dropped.
struct Customer {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Customer {
    fn start(dir: &Path, service: &str) -> Self {
        let card = json!({ "number": "4242424242424242", "expiry": "12/39", "cvc": "123", "holder": "Alice Example" });
        for (file, text) in [("password", PASSWORD), ("passphrase", PASSWORD), ("card.json", &card.to_string())] {
            std::fs::write(dir.join(file), text).expect("ours");
        }
        let dir = dir.to_owned();
        let account = ["--service", service, "--user", "alice", "--password-file", "password"].map(str::to_owned);
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let run = move |arguments: &[&str], account: &[String]| {
            let mut wallet = Command::new(program("wallet"));
            wallet.current_dir(&dir).stdin(Stdio::null()).stdout(Stdio::null()).args(arguments).args(account);
            wallet.args("--keystore keystore.json --passphrase-file passphrase".split(' '));
            let ended = wallet.status().expect("the wallet starts");
            assert!(ended.success(), "wallet {arguments:?}: {ended}");
        };
        let thread = std::thread::spawn(move || {
            run(&["new"], &[]);
            run(&["register"], &account);
            while !until.load(Ordering::Relaxed) {
                run(&["buy", "9", "--card-file", "card.json"], &account);
                run(&["pay", "vendor", "4", "--reference", "tea"], &account);
                let iban = ["cash-out", "5", "--iban", "DE89370400440532013000", "--holder", "Alice Example"];
                run(&iban, &account);
            }
        });
        Self { ended, thread: Some(thread) }
    }

    /// Ends it, and fails when it had failed.
    fn end(mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().expect("until now").join().expect("the customer was served to the end");
    }
}

impl Drop for Customer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

async fn go(browser: &Browser, page: &str) {
    browser.script(&format!("location.hash = '#/{page}';"), vec![]).await;
    browser.until(&format!("{EMPTY}.length === 0 && document.querySelectorAll('#main h1').length")).await;
}

/// Every page with data in every chart, and its picture.
async fn pages(browser: &Browser) {
    let charts = [("overview", 2), ("committees", 4), ("nodes/1-1", 6), ("pipeline", 1), ("services", 1), ("log", 0)];
    for (page, count) in charts {
        go(browser, page).await;
        let found = browser.script("return document.querySelectorAll('.js-plotly-plot').length;", vec![]).await;
        assert_eq!(found, count, "charts of {page}");
        let name = page.split('/').next().expect("a name");
        if name == "services" {
            // all six operations were carried out, and the page knows how long they took
            browser
                .until(&format!(
                    "{OPERATIONS}.length === 6 && {OPERATIONS}.every((row) => Number(row.cells[1].textContent) > 0)"
                ))
                .await;
        }
        if name == "log" {
            // hundreds of rows
            browser.screen("demo-log").await;
        } else {
            browser.picture(&format!("demo-{name}")).await;
        }
    }
    let origin = "performance.getEntriesByType('resource').every((one) => one.name.startsWith(location.origin))";
    assert_eq!(browser.script(&format!("return {origin};"), vec![]).await, true, "nothing comes from elsewhere");
}

async fn task_log(browser: &Browser) {
    browser.until("document.querySelectorAll('.log tr').length > 20").await;
    let choose =
        "const select = document.querySelectorAll('.controls select')[1]; select.value = '1'; select.onchange();";
    browser.script(choose, vec![]).await;
    browser
        .until("[...document.querySelectorAll('.log tr')].every((row) => row.cells[1].textContent.startsWith('1-'))")
        .await;
    browser.fill("#log-search", "executing").await;
    browser
        .until(
            "[...document.querySelectorAll('.log tr')].every((row) => row.cells[3].textContent.includes('executing'))",
        )
        .await;
    browser.click("#log-pause").await;
    let first = "document.querySelector('.log tr').textContent";
    let before = browser.script(&format!("return {first};"), vec![]).await;
    // two more frames come, and nothing moves
    let clock = browser.script("return document.getElementById('state').textContent;", vec![]).await;
    browser.until(&format!("document.getElementById('state').textContent !== {clock}")).await;
    assert_eq!(browser.script(&format!("return {first};"), vec![]).await, before);
    browser.click("#log-pause").await;
    browser.until(&format!("{first} !== {before}")).await;
}

/// Kills a node and starts it again; when it was killed, in seconds since 1970.
async fn a_node_dies_and_comes_back(browser: &Browser, cluster: &Cluster) -> f64 {
    go(browser, "overview").await;
    browser.script(WATCH_FOR_ALARM, vec![]).await;
    let at = browser.script("return Date.now() / 1000;", vec![]).await.as_f64().expect("a time");
    cluster.testbed(&["kill", "1-2"]);
    let killed_by = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    browser.read("#alarms", "Node 1-2 is down").await;
    let told = browser.script("return window.told;", vec![]).await;
    let seconds = |name: &str| told[name].as_f64().expect("it was told");
    let took = seconds("at") - killed_by;
    println!("told {took:.1} s after the command to kill the node, silent for {} s", seconds("silent"));
    assert!(seconds("silent") <= TOLD_SILENT_S, "told after a silence of {} s", seconds("silent"));
    assert!(took < TOLD_WITHIN_S, "told after {took} s");
    browser.read(".cards", "15 of 16").await;
    browser.picture("demo-alarm").await;

    // its committee goes on with three; what the dead one carried the others carry
    go(browser, "committees").await;
    let row = "[...document.querySelectorAll('tbody tr')][1].cells";
    browser.until(&format!("{row}[1].textContent === '3 of 4' && Number({row}[3].textContent) > 20")).await;
    go(browser, "nodes/1-2").await;
    browser.read("#node-detail h2", "down, not heard for").await;
    browser.script("const by = document.getElementById('measure'); by.value = 'load'; by.onchange();", vec![]).await;
    let cell = |node: &str| {
        format!(
            "[...document.querySelectorAll('.cell')].find((cell) => cell.firstChild.textContent === '{node}').lastChild.textContent"
        )
    };
    let loads: Vec<String> = ["1-0", "1-1", "1-3"].map(|node| format!("Number({}) > 0", cell(node))).to_vec();
    browser.until(&format!("{} === 'down' && {}", cell("1-2"), loads.join(" && "))).await;
    browser.picture("demo-node-down").await;

    cluster.testbed(&["restart", "1-2"]);
    go(browser, "overview").await;
    browser.read(".cards", "16 of 16").await;
    browser.until("!document.getElementById('alarms').textContent.includes('1-2')").await;
    go(browser, "nodes/1-2").await;
    browser.read("#node-detail h2", "up").await;
    browser.until(&format!("{} !== 'down'", cell("1-2"))).await;
    // it has what it missed: blocks come on, and it keeps up with them
    let lag = "Number(/([\\d.,]+) behind/.exec(document.getElementById('node-detail').textContent)?.[1].replace(',', '') ?? NaN)";
    browser.until(&format!("{lag} < 30")).await;
    at
}

async fn replay(browser: &Browser, run: &str, killed_at: f64) {
    let demo = Demo::start(&["--replay", run], &[]).await;
    browser.open(&format!("{}/#/overview", demo.url)).await;
    browser.until(&format!("document.querySelector('.js-plotly-plot') && {EMPTY}.length === 0")).await;
    let jump = format!(
        "const slider = document.getElementById('slider'); slider.value = {}; slider.oninput();",
        killed_at + 5.0
    );
    browser.script(&jump, vec![]).await;
    browser.read("#alarms", "Node 1-2 is down").await;
    browser.picture("demo-replay").await;
    let before = browser.script("return document.getElementById('moment').textContent;", vec![]).await;
    browser.click("#play").await;
    browser.until(&format!("document.getElementById('moment').textContent !== {before}")).await;
    for page in ["committees", "nodes/1-2", "pipeline", "log"] {
        browser.script(&format!("location.hash = '#/{page}';"), vec![]).await;
        browser.until("document.querySelectorAll(`#main .panel`).length").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium and the programs of the workspace"]
async fn a_run_is_seen_in_a_browser() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut cluster = Cluster::start();
    let user = tokio::spawn(use_the_service(cluster.service.clone()));
    let customer = Customer::start(cluster.dir.path(), &cluster.service);
    let browser = Browser::start_sized(1400, 900).await;
    browser.open(&format!("{}/", cluster.demo)).await;
    browser.see(".cards").await;
    // accounts are funded first; then some seconds of load, so that charts over time have a line
    let seconds = "document.querySelector('.js-plotly-plot')?.data?.[1].y.filter((value) => value > 50).length";
    browser.until(&format!("{seconds} > 0")).await;
    browser.until(&format!("{seconds} > 20")).await;
    pages(&browser).await;
    task_log(&browser).await;
    let killed_at = a_node_dies_and_comes_back(&browser, &cluster).await;

    // printed: light, without what can be pressed
    go(&browser, "committees").await;
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" })).await;
    browser.script("dispatchEvent(new Event('beforeprint'));", vec![]).await;
    browser.picture("demo-print").await;
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "" })).await;

    // the app is started again: the page finds it, and the servers fill it
    cluster.testbed(&["kill", "demo"]);
    browser.read("#state", "trying again").await;
    cluster.testbed(&["restart", "demo"]);
    browser.read("#state", "live").await;
    go(&browser, "overview").await;
    browser.read(".cards", "16 of 16").await;

    assert!(!user.is_finished(), "the service answered to the end");
    user.abort();
    tokio::task::spawn_blocking(|| customer.end()).await.expect("it ends");
    cluster.stop();
    let run = cluster.run().display().to_string();
    tokio::time::timeout(2 * PATIENCE, replay(&browser, &run, killed_at)).await.expect("the run is shown in time");
    browser.quit().await;
}
