//! Calls to a signaler.
//!
//! Guarantees: every call ends within its time limit; a reply is bounded in size; a refusal comes back with
//! the signaler's typed body. Nothing is retried here: callers know what is worth it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shardpay_types::{Epoch, PlanApproval};
use thiserror::Error;

use super::{
    ApprovalReply, ApprovalRequest, CloseReply, CloseRequest, ErrorBody, Health, HeartbeatReply, HeartbeatRequest, Hex,
    PATH_APPROVALS, PATH_CLOSE, PATH_HEALTH, PATH_HEARTBEATS, PATH_NODES, PATH_PLANS, PATH_TOPOLOGY, PlansQuery,
    PlansReply, RegisterReply, RegisterRequest, WAIT_SECONDS_MAX,
};
use crate::topology::{Topology, TopologyQuery};

/// How long an answer may take, beyond what a long poll asks for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest reply that is read.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum SignalerError {
    /// The base address is of no use.
    #[error("signaler address {url:?}: {why}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer: not reachable, or too slow.
    #[error("signaler not reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The signaler refused the request.
    #[error("signaler refused ({status}): {:?}: {}", body.error, body.detail)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its reason.
        body: ErrorBody,
    },
    /// The answer is not what a signaler says.
    #[error("signaler's answer ({status}) not understood: {why}")]
    BadReply {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
}

/// A signaler's address and a pool of connections to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignalerClient {
    base: Url,
    http: reqwest::Client,
}

impl SignalerClient {
    /// For the signaler at `url`, such as `http://127.0.0.1:7000`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, SignalerError> {
        let bad = |why: String| SignalerError::BadUrl { url: url.to_owned(), why };
        let base = Url::parse(url).map_err(|err| bad(err.to_string()))?;
        if base.scheme() != "http" {
            return Err(bad("a signaler speaks http".to_owned()));
        }
        if base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
            return Err(bad("only scheme, host and port are allowed".to_owned()));
        }
        // a signaler has no TLS, but the HTTP library wants to be told what it would use
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|err| bad(err.to_string()))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(SignalerError::Unreachable)?;
        Ok(Self { base, http })
    }

    /// Registers a node, or its new addresses.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterReply, SignalerError> {
        self.post(PATH_NODES, request).await
    }

    /// The topology as it is now.
    pub async fn topology(&self) -> Result<Topology, SignalerError> {
        self.topology_changed(TopologyQuery::default()).await
    }

    /// The topology, when its version differs from `query.after` or the wait is over.
    pub async fn topology_changed(&self, query: TopologyQuery) -> Result<Topology, SignalerError> {
        let pairs = [("after", query.after), ("wait", query.wait)];
        self.get(PATH_TOPOLOGY, &pairs, query.wait).await
    }

    /// Proposed plans and finished changes.
    pub async fn plans(&self, query: PlansQuery) -> Result<PlansReply, SignalerError> {
        let pairs = [("after", query.after), ("wait", query.wait), ("epoch", query.epoch)];
        self.get(PATH_PLANS, &pairs, query.wait).await
    }

    /// Hands in a co-signature. Handing it in again is no error.
    pub async fn approve(&self, approval: PlanApproval) -> Result<ApprovalReply, SignalerError> {
        self.post(PATH_APPROVALS, &ApprovalRequest { approval: Hex(approval) }).await
    }

    /// Says that a node is alive.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) -> Result<HeartbeatReply, SignalerError> {
        self.post(PATH_HEARTBEATS, request).await
    }

    /// Orders the end of `epoch`. Ordering it again is no error.
    pub async fn close_epoch(&self, operator_token: &str, epoch: Epoch) -> Result<CloseReply, SignalerError> {
        let request = self.http.request(Method::POST, self.url(PATH_CLOSE)).bearer_auth(operator_token);
        self.answer(request.json(&CloseRequest { epoch }), None).await
    }

    /// The signaler's own state.
    pub async fn health(&self) -> Result<Health, SignalerError> {
        self.get(PATH_HEALTH, &[], None).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, SignalerError> {
        self.answer(self.http.request(Method::POST, self.url(path)).json(body), None).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<u64>)],
        wait: Option<u64>,
    ) -> Result<T, SignalerError> {
        let mut url = self.url(path);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value.to_string());
            }
        }
        self.answer(self.http.request(Method::GET, url), wait).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        wait: Option<u64>,
    ) -> Result<T, SignalerError> {
        let wait = Duration::from_secs(wait.unwrap_or(0).min(WAIT_SECONDS_MAX));
        let mut response = request.timeout(ANSWER_TIMEOUT + wait).send().await.map_err(SignalerError::Unreachable)?;
        let status = response.status();
        let bad = |why: String| SignalerError::BadReply { status: status.as_u16(), why };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(SignalerError::Unreachable)? {
            if body.len() + chunk.len() > REPLY_BYTES_MAX {
                return Err(bad(format!("longer than {REPLY_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|err| bad(err.to_string()));
        }
        let body = serde_json::from_slice(&body).map_err(|err| bad(err.to_string()))?;
        Err(SignalerError::Refused { status: status.as_u16(), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused() {
        assert!(SignalerClient::new("http://127.0.0.1:7000").is_ok());
        for bad in ["", "127.0.0.1:7000", "https://host", "http://host/v1", "http://host?x=1"] {
            assert!(matches!(SignalerClient::new(bad), Err(SignalerError::BadUrl { .. })), "{bad}");
        }
    }
}
