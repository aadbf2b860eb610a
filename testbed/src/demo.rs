//! The demo app of a cluster: its token, how it is started, and what the servers are told about it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use shardpay_run::RunDir;

use crate::backend::Launch;
use crate::deploy::{DeployError, failed};
use crate::server::Server;

/// A demo app ready to be started.
pub(crate) struct Demo {
    listen: SocketAddr,
    token_file: PathBuf,
}

impl Demo {
    /// Draws its token.
    pub(crate) fn prepare(dir: &RunDir, listen: SocketAddr) -> Result<Self, DeployError> {
        let token_file = token_file(dir);
        let own = own_dir(dir);
        fs::create_dir_all(&own).map_err(failed(&own))?;
        let mut token = [0; 32];
        getrandom::fill(&mut token).map_err(DeployError::Random)?;
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token_file)?;
            writeln!(file, "{}", hex::encode(token))
        };
        write().map_err(failed(&token_file))?;
        Ok(Self { listen, token_file })
    }

    /// Where its page is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.listen)
    }

    /// How it is started.
    pub(crate) fn launch(&self, dir: &RunDir, programs: &Path) -> Launch {
        let token_file = self.token_file.display().to_string();
        Launch {
            server: Server::Demo,
            program: programs.join("demo"),
            args: vec!["--listen".to_owned(), self.listen.to_string(), "--token-file".to_owned(), token_file],
            log: own_dir(dir).join("log"),
            output: None,
            store: None,
        }
    }

    /// The servers' setting that makes them push to it.
    pub(crate) fn push(&self) -> toml::Value {
        let target = toml::Table::from_iter([
            ("url".to_owned(), self.url().into()),
            ("token_file".to_owned(), self.token_file.display().to_string().into()),
        ]);
        vec![toml::Value::from(target)].into()
    }
}

/// The same for a command line.
pub(crate) fn push_word(url: &str, dir: &RunDir) -> String {
    // paths may hold what a URL may not
    let path = token_file(dir).display().to_string();
    let path: String = path
        .bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("{url}?token_file={path}")
}

fn own_dir(dir: &RunDir) -> PathBuf {
    dir.root().join("demo")
}

fn token_file(dir: &RunDir) -> PathBuf {
    own_dir(dir).join("token")
}
