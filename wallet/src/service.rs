//! The service's HTTP API (`service/API.md`), as far as a wallet needs it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use shardpay_crypto::{Keypair, Signer as _};
use shardpay_types::{ChainId, PublicKey};

use crate::failure::Failure;

const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How long a payment, purchase or payout is followed.
const FOLLOW_MAX: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
const KEY_PROOF_TAG: &[u8] = b"shardpay/service/key/v1\0";

/// A service, and who asks.
pub(crate) struct Service {
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
}

impl Service {
    pub(crate) fn new(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let base = Url::parse(url).map_err(|error| Failure::Usage(format!("--service {url}: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(Failure::Usage(format!("--service {url}: http or https is expected")));
        }
        let mut builder = reqwest::Client::builder().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            let failed = |error: &dyn std::fmt::Display| Failure::Environment(format!("{}: {error}", path.display()));
            let pem = std::fs::read(path).map_err(|error| failed(&error))?;
            let certificate = reqwest::Certificate::from_pem(&pem).map_err(|error| failed(&error))?;
            builder = builder.tls_certs_only([certificate]);
        }
        let http = builder.build().map_err(|error| Failure::Environment(error.to_string()))?;
        Ok(Self { base, http, token: None })
    }

    /// Registers a user and logs in.
    pub(crate) async fn register(&mut self, name: &str, password: &str) -> Result<Value, Failure> {
        self.enter("/v1/users", name, password).await
    }

    /// Logs in; the answer is the user.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Result<Value, Failure> {
        self.enter("/v1/session", name, password).await
    }

    async fn enter(&mut self, path: &str, name: &str, password: &str) -> Result<Value, Failure> {
        let login = self.post(path, &json!({ "name": name, "password": password, "kind": "token" })).await?;
        self.token = Some(text(&login, "token")?.to_owned());
        Ok(login["user"].clone())
    }

    /// Ends the session, so that no token stays valid.
    pub(crate) async fn log_out(&self) -> Result<(), Failure> {
        if self.token.is_some() {
            self.call(Method::DELETE, "/v1/session", None).await?;
        }
        Ok(())
    }

    /// Ties the user's account to the wallet's key, unless it is already.
    pub(crate) async fn claim_key(&self, user: &Value, keypair: &Keypair) -> Result<(), Failure> {
        let key = keypair.public_key().to_string();
        match user["public_key"].as_str() {
            Some(known) if known == key => return Ok(()),
            Some(_) => {
                let name = text(user, "name")?;
                return Err(Failure::Refused(format!("the account {name} belongs to another wallet")));
            }
            None => {}
        }
        let chain = self.chain().await?;
        let message = [KEY_PROOF_TAG, chain.as_bytes(), text(user, "name")?.as_bytes()].concat();
        let body = json!({ "public_key": key, "proof": keypair.sign(&message).to_string() });
        self.call(Method::PUT, "/v1/me/key", Some(&body)).await.map(drop)
    }

    pub(crate) async fn chain(&self) -> Result<ChainId, Failure> {
        let network = self.get("/v1/network").await?;
        bytes(text(&network, "chain")?).map(ChainId)
    }

    /// The key of a user of the service.
    pub(crate) async fn key_of(&self, name: &str) -> Result<PublicKey, Failure> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(Failure::Usage(format!("{name:?} is neither an address, a payment link nor a user name")));
        }
        let user = self.get(&format!("/v1/users/{name}")).await?;
        bytes(text(&user, "public_key")?).map(PublicKey)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        json_of(path, &self.call(Method::GET, path, None).await?)
    }

    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json_of(path, &self.call(Method::POST, path, Some(body)).await?)
    }

    /// Asks until `settled` says that the answer will not change any more.
    pub(crate) async fn follow(&self, path: &str, settled: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
        let following = async {
            loop {
                match self.get(path).await {
                    Ok(answer) if settled(&answer) => return Ok(answer),
                    // the service may be starting again; what was accepted is not forgotten
                    Ok(_) | Err(Failure::Environment(_)) => tokio::time::sleep(POLL).await,
                    Err(failure) => return Err(failure),
                }
            }
        };
        let late = |_| Failure::Unknown(format!("not settled in time; look again at {path}"));
        tokio::time::timeout(FOLLOW_MAX, following).await.map_err(late)?
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Failure> {
        let url = self.base.join(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?;
        let mut request = self.http.request(method.clone(), url);
        if method != Method::GET {
            request = request.header("Idempotency-Key", new_key()?);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| Failure::Environment(format!("service not reached: {}", root(&error)));
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(Failure::Environment(format!("{path}: the answer is too long")));
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let say = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let message = format!("the service refused ({} {}): {}", status.as_u16(), say("code"), say("detail"));
        Err(if status.is_server_error() { Failure::Environment(message) } else { Failure::Refused(message) })
    }
}

fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

fn new_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Environment(format!("no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}

fn json_of(path: &str, bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::Environment(format!("{path}: not understood: {error}")))
}

/// A text field of an answer.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str, Failure> {
    answer[field].as_str().ok_or_else(|| Failure::Environment(format!("the service's answer has no {field}")))
}

pub(crate) fn bytes(text: &str) -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|error| Failure::Environment(format!("the service's answer: {error}")))?;
    Ok(bytes)
}
