//! A headless Chromium of this machine, told what to do over its DevTools pipe: no port, no driver, nothing downloaded.
//!
//! Guarantees: every wait ends after [`PATIENCE`]; the browser has a profile of its own, is told to load nothing by
//! itself, and does not outlive [`Browser`]; what a page complains about (exceptions, console errors, requests that
//! failed) is kept.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// The longest wait for an answer of the browser.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Names under which distributions install it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--lang=en",
];

/// Why the browser does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// None on this machine.
    #[error("no Chromium is installed ('apt-get install chromium', or name one in SHARDPAY_CHROMIUM)")]
    Missing,
    /// It does not start, or ended.
    #[error("Chromium ({}) {what}", program.display())]
    Gone {
        /// Its path.
        program: PathBuf,
        /// What happened.
        what: String,
    },
    /// It refuses.
    #[error("Chromium refuses {method}: {why}")]
    Refused {
        /// What was asked.
        method: String,
        /// Its words.
        why: String,
    },
}

/// The part of a page that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether the reader prefers dark pages.
    pub dark: bool,
}

/// A browser with one page.
pub struct Browser {
    program: PathBuf,
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: String,
    asked: u64,
    events: VecDeque<Value>,
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The Chromium of this machine: the one named in `SHARDPAY_CHROMIUM`, else the first on the path.
pub fn find() -> Result<PathBuf, BrowserError> {
    if let Some(named) = std::env::var_os("SHARDPAY_CHROMIUM") {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(BrowserError::Missing) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = NAMES.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    all.into_iter().find(|program| program.is_file()).ok_or(BrowserError::Missing)
}

impl Browser {
    /// Starts one.
    pub fn start() -> Result<Self, BrowserError> {
        let program = find()?;
        let gone = |what: String| BrowserError::Gone { program: program.clone(), what };
        let profile = tempfile::tempdir().map_err(|error| gone(format!("gets no directory: {error}")))?;
        // the pipe is file descriptors 3 and 4 of the browser; a shell puts them there
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"]).arg(&program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            // its sandbox does not work for root
            command.arg("--no-sandbox");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| gone(format!("does not start: {error}")))?;
        let to = child.stdin.take().expect("it is piped");
        let from = listen(BufReader::new(child.stdout.take().expect("it is piped")));
        let (session, asked, events, complaints) = (String::new(), 0, VecDeque::new(), Vec::new());
        let mut browser = Self { program, child, to, from, session, asked, events, complaints, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path, window: Window) -> Result<(), BrowserError> {
        let Window { width, height, dark } = window;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [scheme] }))?;
        let file = file.canonicalize().map_err(|error| self.gone(format!("opens no {}: {error}", file.display())))?;
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }))?;
        if let Some(why) = answer["errorText"].as_str() {
            return Err(BrowserError::Refused { method: "Page.navigate".to_owned(), why: why.to_owned() });
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.receive(deadline)?;
            self.take(message);
        }
        Ok(())
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, BrowserError> {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", ask)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let method = expression.chars().take(80).collect();
            return Err(BrowserError::Refused { method, why: exception(thrown) });
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) -> Result<(), BrowserError> {
        let look = format!(
            "new Promise((done) => {{ const look = () => ({expression}) ? done(true) : setTimeout(look, 20); look(); }})"
        );
        self.evaluate(&look).map(drop)
    }

    /// A picture of an element as PNG.
    pub fn picture(&mut self, css: &str) -> Result<Vec<u8>, BrowserError> {
        let of = Value::from(css);
        let clip = self.evaluate(&format!(
            "(() => {{ const r = document.querySelector({of}).getBoundingClientRect(); \
             return {{ x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1 }}; }})()"
        ))?;
        let ask = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", ask)?;
        let text = answer["data"].as_str().unwrap_or_default();
        let engine = base64::engine::general_purpose::STANDARD;
        engine.decode(text).map_err(|error| self.gone(format!("gives a picture that cannot be read: {error}")))
    }

    /// What pages complained about so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn gone(&self, what: String) -> BrowserError {
        BrowserError::Gone { program: self.program.clone(), what }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, BrowserError> {
        self.asked += 1;
        let id = self.asked;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let text = format!("{message}\0");
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| self.gone(format!("ended: {error}")))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.receive(deadline)?;
            if answer["id"] != json!(id) {
                self.take(answer);
                continue;
            }
            return match answer.get("error") {
                None => Ok(answer["result"].clone()),
                Some(why) => Err(BrowserError::Refused { method: method.to_owned(), why: why["message"].to_string() }),
            };
        }
    }

    fn receive(&self, deadline: Instant) -> Result<Value, BrowserError> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.from.recv_timeout(left).map_err(|error| {
            self.gone(match error {
                RecvTimeoutError::Timeout => format!("does not answer within {} s", PATIENCE.as_secs()),
                RecvTimeoutError::Disconnected => "ended".to_owned(),
            })
        })
    }

    fn take(&mut self, event: Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => Some(exception(&parameters["exceptionDetails"])),
            "Runtime.consoleAPICalled" if parameters["type"] == "error" => Some(parameters["args"].to_string()),
            "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
                Some(parameters["entry"]["text"].to_string())
            }
            "Network.requestWillBeSent" => foreign(parameters["request"]["url"].as_str().unwrap_or_default()),
            _ => None,
        };
        self.complaints.extend(complaint);
        self.events.push_back(event);
    }
}

/// A page of ours asks for nothing but itself.
fn foreign(url: &str) -> Option<String> {
    let own = ["file:", "data:", "blob:", "about:"].iter().any(|scheme| url.starts_with(scheme));
    (!own).then(|| format!("a request for {url}"))
}

fn exception(details: &Value) -> String {
    let thrown = details["exception"]["description"].as_str().or(details["text"].as_str());
    thrown.unwrap_or("an exception without words").to_owned()
}

/// Reads messages, each ended by a zero byte, in a thread of its own, so that waits can end.
fn listen(mut from: BufReader<std::process::ChildStdout>) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
            let message = serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes));
            if message.is_ok_and(|message| sender.send(message).is_err()) {
                return;
            }
            bytes.clear();
        }
    });
    receiver
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session.clear();
        let _ = self.call("Browser.close", json!({}));
        let deadline = Instant::now() + END_PATIENCE;
        while Instant::now() < deadline && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
