//! Two committees of four nodes, the service and the demo shop, as processes; all of them end with the value.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shardpay_browser::{program, repository};

const START_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

pub struct Network {
    /// URL of the service.
    pub service: String,
    dir: tempfile::TempDir,
    processes: Vec<Child>,
    shop_port: Option<u16>,
}

impl Network {
    pub async fn start() -> Self {
        // the HTTP client is built with TLS it does not use here
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let spec = repository().join("experiments/smoke.toml");
        let out = dir.path().join("run");
        let arguments = ["up", text(&spec), "--out", text(&out), "--set", "faults=[]", "--cluster", "service"];
        testbed(dir.path(), &arguments);
        let status = testbed(dir.path(), &["status"]);
        let line = status.lines().find_map(|line| line.strip_prefix("signaler ")).expect("a line about the signaler");
        let signaler = line.split(' ').next().expect("a URL");
        let mut network = Self { service: String::new(), dir, processes: Vec::new(), shop_port: None };
        let data = network.dir().join("service");
        let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
        command.args(["run", "--listen", "127.0.0.1:0", "--webhook-private", "--topology", signaler]);
        command.arg("--data-dir").arg(&data).arg("--genesis").arg(network.genesis());
        command.arg("--issuer-seed").arg(out.join("issuer.seed"));
        network.spawn(command, "service.log");
        let address = network.file_in_time(&data.join("address")).await;
        network.service = format!("http://{}", address.trim());
        network.answers(&format!("{}/v1/ready", network.service)).await;
        network
    }

    /// Chooses the shop's port, so that the vendor can say where webhooks go; the shop's URL.
    pub fn reserve_shop(&mut self) -> String {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        format!("http://127.0.0.1:{}", *self.shop_port.get_or_insert(free))
    }

    pub async fn start_shop(&mut self, key: &str, secret: &str) {
        let url = self.reserve_shop();
        let (key_file, secret_file) = (self.dir().join("shop.key"), self.dir().join("shop.secret"));
        std::fs::write(&key_file, key).expect("ours");
        std::fs::write(&secret_file, secret).expect("ours");
        let mut command = Command::new(program("shop"));
        command.args(["--listen", url.trim_start_matches("http://"), "--service", &self.service]);
        command.arg("--key-file").arg(key_file).arg("--webhook-secret-file").arg(secret_file);
        self.spawn(command, "shop.log");
        self.answers(&format!("{url}/api/products")).await;
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn genesis(&self) -> PathBuf {
        self.dir().join("run/genesis.plan")
    }

    pub async fn stop(self) {
        // dropping does it; by value, so that a test cannot go on without it
        drop(self);
    }

    fn spawn(&mut self, mut command: Command, log: &str) {
        let log = std::fs::File::create(self.dir().join(log)).expect("ours");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        self.processes.push(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    async fn file_in_time(&mut self, path: &Path) -> String {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return text;
            }
            self.alive(deadline, &path.display().to_string());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn answers(&mut self, url: &str) {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let deadline = Instant::now() + START_MAX;
        while !http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            self.alive(deadline, url);
            tokio::time::sleep(POLL).await;
        }
    }

    fn alive(&mut self, deadline: Instant, awaited: &str) {
        let ended = self.processes.iter_mut().any(|process| process.try_wait().is_ok_and(|status| status.is_some()));
        if ended || Instant::now() > deadline {
            for log in ["service.log", "shop.log"] {
                eprintln!("{log}: {}", std::fs::read_to_string(self.dir().join(log)).unwrap_or_default());
            }
            panic!("{awaited} did not come");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["service.log", "shop.log"] {
                let text = std::fs::read_to_string(self.dir.path().join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(40).collect();
                eprintln!("{log}, last lines first:\n{}", tail.join("\n"));
            }
        }
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        testbed(self.dir.path(), &["down"]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn testbed(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program("testbed"));
    command.env("SHARDPAY_STATE_DIR", dir.join("state")).args(arguments).current_dir(dir).stdin(Stdio::null());
    let output = command.output().expect("the testbed starts");
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}
