//! A payment service's HTTP API (`service/API.md`), as far as programs need it: accounts, keys, questions.
//!
//! Connections are kept alive and used again. Every write carries an idempotency key of its own; nothing is repeated
//! here. What a service says of the ledger is its word: [`crate::ReceiptFile`] checks its proofs.

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use shardpay_crypto::{Keypair, Signer as _};
use shardpay_types::ChainId;
use thiserror::Error;

const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 32 << 20;
const KEY_PROOF_TAG: &[u8] = b"shardpay/service/key/v1\0";

/// Why a service did not do what was asked.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The URL cannot be meant.
    #[error("{url}: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection, no answer in time, no randomness.
    #[error("service not reached: {0}")]
    Unreachable(String),
    /// An error with a stable code; `status` of 500 and above means that the service itself is in trouble.
    #[error("the service refused ({status} {code}): {detail}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Stable (`service/API.md`, chapter 9); empty when the answer is none of the service's.
        code: String,
        /// For people.
        detail: String,
        /// How long to wait before asking again, when that helps.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API promises.
    #[error("{path}: not understood: {why}")]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The user's account has another key.
    #[error("the account {name} belongs to another wallet")]
    ForeignAccount {
        /// Whose.
        name: String,
    },
}

/// A service, and who asks.
#[derive(Clone)]
pub struct ServiceClient {
    base: Url,
    http: reqwest::Client,
    token: Option<String>,
}

impl ServiceClient {
    /// A client without a login. `ca` is the PEM of the only certificate authority that is trusted.
    pub fn new(url: &str, ca: Option<&[u8]>) -> Result<Self, ServiceError> {
        let wrong = |why: String| ServiceError::Address { url: url.to_owned(), why };
        let base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("http or https is expected".to_owned()));
        }
        // the HTTP library wants a provider even for plain http; one that is chosen already stays
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).tcp_nodelay(true);
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = ca {
            let certificate = reqwest::Certificate::from_pem(pem).map_err(|error| wrong(error.to_string()))?;
            builder = builder.tls_certs_only([certificate]);
        }
        let http = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { base, http, token: None })
    }

    /// Registers a user and logs in; the answer is the user.
    pub async fn register(&mut self, name: &str, password: &str) -> Result<Value, ServiceError> {
        self.enter("/v1/users", name, password).await
    }

    /// Logs in; the answer is the user.
    pub async fn log_in(&mut self, name: &str, password: &str) -> Result<Value, ServiceError> {
        self.enter("/v1/session", name, password).await
    }

    async fn enter(&mut self, path: &str, name: &str, password: &str) -> Result<Value, ServiceError> {
        let login = self.post(path, &json!({ "name": name, "password": password, "kind": "token" })).await?;
        self.token = Some(field(&login, "token")?.to_owned());
        Ok(login["user"].clone())
    }

    /// Ends the session, so that no token stays valid.
    pub async fn log_out(&self) -> Result<(), ServiceError> {
        if self.token.is_some() {
            self.call(Method::DELETE, "/v1/session", None).await?;
        }
        Ok(())
    }

    /// Ties the user's account to a key, unless it is already.
    pub async fn claim_key(&self, user: &Value, keypair: &Keypair) -> Result<(), ServiceError> {
        let (name, key) = (field(user, "name")?, keypair.public_key().to_string());
        match user["public_key"].as_str() {
            Some(known) if known == key => return Ok(()),
            Some(_) => return Err(ServiceError::ForeignAccount { name: name.to_owned() }),
            None => {}
        }
        let message = [KEY_PROOF_TAG, self.chain().await?.as_bytes(), name.as_bytes()].concat();
        let body = json!({ "public_key": key, "proof": keypair.sign(&message).to_string() });
        self.put("/v1/me/key", &body).await
    }

    /// The ledger that the service works on.
    pub async fn chain(&self) -> Result<ChainId, ServiceError> {
        let network = self.get("/v1/network").await?;
        bytes(field(&network, "chain")?).map(ChainId)
    }

    /// An answer in JSON.
    pub async fn get(&self, path: &str) -> Result<Value, ServiceError> {
        json_of(path, &self.get_bytes(path).await?)
    }

    /// An answer as it comes.
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ServiceError> {
        self.call(Method::GET, path, None).await
    }

    /// A write that answers in JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ServiceError> {
        json_of(path, &self.call(Method::POST, path, Some(body)).await?)
    }

    /// A write whose answer says nothing more.
    pub async fn put(&self, path: &str, body: &Value) -> Result<(), ServiceError> {
        self.call(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// A stream of events (SSE).
    pub async fn events(&self, path: &str) -> Result<ServiceEvents, ServiceError> {
        let answer = self.request(Method::GET, path)?.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let bytes = answer.bytes().await.map_err(|error| unreachable(&error))?;
            return Err(refused(status, &bytes));
        }
        Ok(ServiceEvents { answer, path: path.to_owned(), begun: Vec::new() })
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, ServiceError> {
        let wrong = |why: String| ServiceError::Address { url: path.to_owned(), why };
        let url = self.base.join(path).map_err(|error| wrong(error.to_string()))?;
        let mut request = self.http.request(method.clone(), url);
        if method != Method::GET {
            request = request.header("Idempotency-Key", new_key()?);
        }
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, ServiceError> {
        let mut request = self.request(method, path)?.timeout(ANSWER_MAX);
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(ServiceError::Answer { path: path.to_owned(), why: "it is too long".to_owned() });
            }
        }
        if status.is_success() { Ok(bytes) } else { Err(refused(status.as_u16(), &bytes)) }
    }
}

/// What a service tells as it happens.
pub struct ServiceEvents {
    answer: reqwest::Response,
    path: String,
    /// Bytes of an event that is not complete.
    begun: Vec<u8>,
}

impl ServiceEvents {
    /// The data of the next event; nothing when the stream ended. Its connection can then be used again.
    pub async fn next(&mut self) -> Result<Option<Value>, ServiceError> {
        loop {
            if let Some(end) = self.begun.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.begun.drain(..end + 2).collect();
                match data_of(&event) {
                    // a comment keeps the connection open, and says nothing
                    data if data.is_empty() => continue,
                    data => return json_of(&self.path, &data).map(Some),
                }
            }
            match self.answer.chunk().await.map_err(|error| unreachable(&error))? {
                None => return Ok(None),
                Some(chunk) => self.begun.extend_from_slice(&chunk),
            }
            if self.begun.len() > ANSWER_BYTES_MAX {
                return Err(ServiceError::Answer { path: self.path.clone(), why: "an event is too long".to_owned() });
            }
        }
    }
}

/// The data lines of an event.
fn data_of(event: &[u8]) -> Vec<u8> {
    let lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    lines.collect::<Vec<_>>().join(&b'\n')
}

fn unreachable(error: &dyn std::error::Error) -> ServiceError {
    match error.source() {
        Some(cause) => unreachable(cause),
        None => ServiceError::Unreachable(error.to_string()),
    }
}

fn refused(status: u16, bytes: &[u8]) -> ServiceError {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let say = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let retry_after = problem["retry_after_ms"].as_u64().map(Duration::from_millis);
    ServiceError::Refused { status, code: say("code"), detail: say("detail"), retry_after }
}

fn new_key() -> Result<String, ServiceError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ServiceError::Unreachable(format!("no randomness: {error}")))?;
    Ok(hex::encode(bytes))
}

fn json_of(path: &str, bytes: &[u8]) -> Result<Value, ServiceError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ServiceError::Answer { path: path.to_owned(), why: error.to_string() })
}

/// A text field of an answer.
pub fn field<'a>(answer: &'a Value, name: &str) -> Result<&'a str, ServiceError> {
    let missing = || ServiceError::Answer { path: name.to_owned(), why: "the answer has no such text".to_owned() };
    answer[name].as_str().ok_or_else(missing)
}

/// 32 bytes, from hexadecimal digits.
pub fn bytes(text: &str) -> Result<[u8; 32], ServiceError> {
    let mut bytes = [0; 32];
    let wrong = |error: hex::FromHexError| ServiceError::Answer { path: text.to_owned(), why: error.to_string() };
    hex::decode_to_slice(text, &mut bytes).map_err(wrong)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart_by_lines() {
        assert_eq!(data_of(b"event: payment\ndata: {\"a\":1}\n\n"), b" {\"a\":1}");
        assert_eq!(data_of(b"data:[1,\ndata:2]\n\n"), b"[1,\n2]");
        assert_eq!(data_of(b": still there\n\n"), b"");
    }

    #[test]
    fn a_refusal_carries_its_code_and_when_to_ask_again() {
        let body = br#"{"code":"rate_limited","detail":"too many","retry_after_ms":250}"#;
        let error = refused(429, body);
        assert_eq!(error.to_string(), "the service refused (429 rate_limited): too many");
        let ServiceError::Refused { retry_after, .. } = error else { panic!("a refusal is one") };
        assert_eq!(retry_after, Some(Duration::from_millis(250)));
        assert_eq!(refused(502, b"<html>").to_string(), "the service refused (502 ): ");
    }

    #[test]
    fn only_urls_of_services_are_taken() {
        for url in ["", "localhost:8000", "ftp://127.0.0.1", "127.0.0.1:8000"] {
            assert!(matches!(ServiceClient::new(url, None), Err(ServiceError::Address { .. })), "{url:?}");
        }
    }
}
