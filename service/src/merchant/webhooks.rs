//! Webhooks: signed, tried again for a day, and never sent to addresses inside the operator's network unless the
//! operator allows it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::db::{Db, Row, StoreError, Value};
use crate::error::Problem;

/// Header with time and signature.
pub const SIGNATURE_HEADER: &str = "Shardpay-Signature";
/// How far a signature's time may be away, in seconds.
pub const TOLERANCE_S: u64 = 300;
/// How long a shop has for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an event is tried.
const TRIED_US: u64 = 86_400_000_000;
/// First pause, doubled with each attempt, and the longest.
const PAUSE_US: u64 = 2_000_000;
const PAUSE_US_MAX: u64 = 3_600_000_000;
/// Deliveries at a time.
const BATCH: i64 = 16;

/// The value of the signature header.
pub fn sign(secret: &str, seconds: u64, body: &str) -> String {
    format!("t={seconds},v1={}", hex::encode(tag(secret, seconds, body)))
}

/// Whether a signature header is right and recent: what a receiver must check.
pub fn verify(secret: &str, header: &str, body: &str, now_s: u64) -> bool {
    let mut parts = header.split(',');
    let (Some(time), Some(signature), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let time = time.strip_prefix("t=").and_then(|time| time.parse::<u64>().ok());
    let signature = signature.strip_prefix("v1=").and_then(|signature| hex::decode(signature).ok());
    let (Some(time), Some(signature)) = (time, signature) else { return false };
    now_s.abs_diff(time) <= TOLERANCE_S && bool::from(tag(secret, time, body).ct_eq(&signature))
}

fn tag(secret: &str, seconds: u64, body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Checks a URL that events shall go to, and gives its plain form.
pub fn check_url(text: &str, private: bool) -> Result<String, Problem> {
    let wrong = |why: &str| Problem::bad("webhook_url", why);
    let url = Url::parse(text).map_err(|_| wrong("not a URL"))?;
    if text.len() > 500 || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a URL of at most 500 characters, without a password"));
    }
    match (url.scheme(), private) {
        ("https", _) | ("http", true) => {}
        _ => return Err(wrong("https only")),
    }
    let Some(host) = url.host_str() else { return Err(wrong("the URL names no host")) };
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if !private && (literal.is_ok_and(|address| !public(address)) || host.eq_ignore_ascii_case("localhost")) {
        return Err(wrong("not an address on the public internet"));
    }
    Ok(url.into())
}

/// Whether an address lies outside of the operator's own networks.
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified())
                && !(v4.is_multicast() || v4.is_broadcast() || v4.is_documentation() || shared || a == 0)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return public(IpAddr::V4(v4));
            }
            let first = v6.segments()[0];
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast())
                && first & 0xfe00 != 0xfc00
                && first & 0xffc0 != 0xfe80
        }
    }
}

/// Delivers events.
#[derive(Clone)]
pub struct Courier {
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Whether events may go to addresses inside.
    pub private: bool,
}

impl Courier {
    /// Delivers what is due, several at a time. The number of attempts made.
    pub async fn deliver_due(&self) -> Result<usize, StoreError> {
        let now = self.clock.now_us();
        let sql = "SELECT webhook_events.id, body, webhook_events.created_us, attempts, due_us, webhook_url, webhook_secret \
                   FROM webhook_events JOIN users ON users.id = webhook_events.user_id \
                   WHERE due_us <= $1 ORDER BY due_us LIMIT $2";
        let rows = self.db.read(sql, &[Value::count(now), Value::int(BATCH)]).await?;
        let mut attempts = JoinSet::new();
        for row in rows {
            // another instance may have it in hand
            let sql = "UPDATE webhook_events SET due_us = $3 WHERE id = $1 AND due_us = $2";
            let claimed = now + 4 * u64::try_from(ANSWER.as_micros()).expect("seconds");
            let arguments = [Value::text(row.text(0)), Value::count(row.count(4)), Value::count(claimed)];
            if self.db.write(sql, &arguments).await? > 0 {
                let courier = self.clone();
                attempts.spawn(async move { courier.attempt(&row).await });
            }
        }
        let count = attempts.len();
        while let Some(done) = attempts.join_next().await {
            done.unwrap_or(Ok(()))?;
        }
        Ok(count)
    }

    async fn attempt(&self, row: &Row) -> Result<(), StoreError> {
        let (id, attempts) = (Value::text(row.text(0)), row.count(3) + 1);
        let (url, secret) = (row.text(5), row.text(6));
        let outcome = self.post(url, secret, row.text(1)).await;
        let now = self.clock.now_us();
        match outcome {
            Ok(()) => {
                let sql = "UPDATE webhook_events SET attempts = $2, due_us = NULL, delivered_us = $3 WHERE id = $1";
                self.db.write(sql, &[id, Value::count(attempts), Value::count(now)]).await?;
            }
            Err(why) => {
                tracing::info!(event = row.text(0), attempts, why, "webhook not delivered");
                let pause = PAUSE_US.saturating_mul(1 << attempts.min(20)).min(PAUSE_US_MAX);
                let due = (now + pause < row.count(2) + TRIED_US).then_some(now + pause);
                let sql = "UPDATE webhook_events SET attempts = $2, due_us = $3 WHERE id = $1";
                self.db.write(sql, &[id, Value::count(attempts), Value::opt_count(due)]).await?;
            }
        }
        Ok(())
    }

    async fn post(&self, url: &str, secret: &str, body: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let host = url.host_str().ok_or("no host")?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or("no port")?;
        let addresses = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        let addresses: Vec<SocketAddr> = addresses.filter(|address| self.private || public(address.ip())).collect();
        if addresses.is_empty() {
            return Err("the host has no public address".to_owned());
        }
        // the addresses that were looked at are those that are used
        let client = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .resolve_to_addrs(&host, &addresses)
            .build()
            .map_err(|error| error.to_string())?;
        let header = sign(secret, self.clock.now_us() / 1_000_000, body);
        let request = client.post(url).header("Content-Type", "application/json").header(SIGNATURE_HEADER, header);
        let answer = request.body(body.to_owned()).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("status {}", answer.status())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_bind_secret_time_and_body() {
        let header = sign("whsec_a", 1_000, "{}");
        assert!(verify("whsec_a", &header, "{}", 1_000 + TOLERANCE_S));
        assert!(!verify("whsec_b", &header, "{}", 1_000));
        assert!(!verify("whsec_a", &header, "{ }", 1_000));
        assert!(!verify("whsec_a", &header, "{}", 1_001 + TOLERANCE_S), "replayed later");
        assert!(!verify("whsec_a", &header.replace("t=1000", "t=1001"), "{}", 1_000));
        for forged in ["", "t=1000", "t=1000,v1=", "v1=00,t=1000", "t=1000,v1=00,v1=00"] {
            assert!(!verify("whsec_a", forged, "{}", 1_000), "{forged}");
        }
    }

    #[test]
    fn events_do_not_go_inside() {
        for url in [
            "http://shop.example/x",
            "https://127.0.0.1/x",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://localhost/",
            "https://169.254.169.254/latest",
            "https://[::ffff:10.0.0.1]/",
            "ftp://shop.example/",
            "https://a:b@shop.example/",
            "x",
        ] {
            assert!(check_url(url, false).is_err(), "{url}");
        }
        assert!(check_url("https://shop.example/hook", false).is_ok());
        assert!(check_url("http://127.0.0.1:9/hook", true).is_ok());
    }
}
