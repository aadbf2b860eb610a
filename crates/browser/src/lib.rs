//! A headless Chromium driven over WebDriver, for tests of our pages: Debian's chromium and chromium-driver, nothing
//! downloaded. What goes wrong panics with what the page shows: only tests depend on this crate.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::prelude::*;

/// How long a page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const CHROMIUM: &str = "/usr/bin/chromium";
const FLAGS: &[&str] = &[
    // a name that is not this machine's to browsers: pages from it are no secure context
    "--host-resolver-rules=MAP unprotected.example 127.0.0.1",
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en",
];

/// A browser with a profile of its own. [`Browser::quit`] ends it in order, dropping it in any case.
pub struct Browser {
    driver: WebDriver,
    chromedriver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Debian's chromedriver on a port of its choice, and a browser with it.
    ///
    /// # Panics
    /// When they are not installed: this test is run with `--include-ignored` where they are.
    pub async fn start() -> Self {
        Self::start_sized(1000, 800).await
    }

    /// The same with another window.
    ///
    /// # Panics
    /// As [`Browser::start`] does.
    pub async fn start_sized(width: u32, height: u32) -> Self {
        // the WebDriver client is built with TLS it does not use here
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut chromedriver = command.spawn().expect("chromedriver: 'apt-get install chromium chromium-driver'");
        let output = BufReader::new(chromedriver.stdout.take().expect("piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            let port = line.strip_suffix('.')?.rsplit_once("started successfully on port ")?.1;
            port.parse::<u16>().ok()
        });
        let port = port.expect("chromedriver says its port");
        let profile = tempfile::tempdir().expect("a directory");
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(CHROMIUM).expect("a path");
        for flag in FLAGS {
            wanted.add_arg(flag).expect("a flag");
        }
        wanted.add_arg(&format!("--window-size={width},{height}")).expect("a flag");
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).expect("a flag");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.expect("Chromium starts");
        driver.set_script_timeout(PATIENCE).await.expect("a timeout");
        Self { driver, chromedriver, _profile: profile }
    }

    /// Ends the session in order.
    pub async fn quit(self) {
        // the session may be gone with a page that crashed; the drop ends the rest
        let _ = self.driver.clone().quit().await;
    }

    /// Goes to a page.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect("the page is there");
    }

    /// Runs a script in the page; what it returns.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        let answer = self.driver.execute(script, arguments).await.expect("the script runs");
        answer.json().clone()
    }

    /// Runs the body of an async function with `input` in the page; panics with what it throws.
    pub async fn run(&self, body: &str, input: Value) -> Value {
        let script = format!(
            "const [input, done] = arguments; (async () => {{ {body} }})()\
             .then((value) => done({{ value }}), (error) => done({{ error: String(error.stack ?? error) }}));"
        );
        let answer = self.driver.execute_async(script, vec![input]).await.expect("the script ends");
        let answer = answer.json().clone();
        assert!(answer.get("error").is_none(), "in the page: {}", answer["error"].as_str().unwrap_or_default());
        answer["value"].clone()
    }

    /// Waits until a condition holds in the page.
    pub async fn until(&self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        let script = format!("return Boolean({condition});");
        loop {
            if self.script(&script, vec![]).await == json!(true) {
                return;
            }
            if Instant::now() > deadline {
                let page = self.script("return location.href + '\\n' + document.body.innerText;", vec![]).await;
                panic!("not in time: {condition}\n{}", page.as_str().unwrap_or_default());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the element is there and can be seen.
    pub async fn see(&self, css: &str) {
        self.until(&format!("document.querySelector({css:?})?.checkVisibility()")).await;
    }

    /// Waits until the element's text contains `text`; all of it.
    pub async fn read(&self, css: &str, text: &str) -> String {
        self.until(&format!("document.querySelector({css:?})?.innerText.includes({text:?})")).await;
        let all = self.script(&format!("return document.querySelector({css:?}).innerText;"), vec![]).await;
        all.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks an element once it can be seen.
    pub async fn click(&self, css: &str) {
        self.see(css).await;
        let element = self.driver.find(By::Css(css)).await.expect("it was seen");
        element.click().await.unwrap_or_else(|error| panic!("click {css}: {error}"));
    }

    /// Types into a field, in place of what stands there.
    pub async fn fill(&self, css: &str, text: &str) {
        self.see(css).await;
        let element = self.driver.find(By::Css(css)).await.expect("it was seen");
        element.clear().await.unwrap_or_else(|error| panic!("clear {css}: {error}"));
        element.send_keys(text).await.unwrap_or_else(|error| panic!("type into {css}: {error}"));
    }

    /// Sends a command of the DevTools protocol; what it answers.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(command, parameters).await.expect("Chromium knows the command")
    }

    /// A picture of the whole page, `docs/img/<name>.png`.
    pub async fn picture(&self, name: &str) {
        let size = self.script("return [innerWidth, document.documentElement.scrollHeight];", vec![]).await;
        let (width, height) = (size[0].as_u64().unwrap_or(1000), size[1].as_u64().unwrap_or(800));
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        self.screen(name).await;
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
        // laid out again, or the next click goes where something stood before
        let drawn = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));";
        self.run(drawn, Value::Null).await;
    }

    /// A picture of what the screen shows.
    pub async fn screen(&self, name: &str) {
        let directory = repository().join("docs/img");
        std::fs::create_dir_all(&directory).expect("docs/img");
        self.driver.screenshot(&directory.join(format!("{name}.png"))).await.expect("a picture");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.chromedriver.kill();
        let _ = self.chromedriver.wait();
    }
}

/// The directory of the workspace.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program of the workspace, as built for this profile: a test lies one directory below the programs.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let path = test.ancestors().nth(2).expect("a target directory").join(name);
    assert!(path.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", path.display());
    path
}
