//! What the tests of the running service share: a user who signs, and an HTTP client that knows the API.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shardpay_crypto::{Keypair, Signer as _, sha256, shard_of, transaction_message};
use shardpay_service::cash_out::payout_ref;
use shardpay_service::users::key_proof_message;
use shardpay_types::{
    Amount, ChainId, Codec as _, CommitteeId, Payment, Plan, PublicKey, Redeem, Reference, Sequence, Signature,
    SignedPayment, SignedRedeem, Timestamp, Transaction,
};

pub mod fake;
pub mod schema;
pub mod world;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The URL of a fresh database: a SQLite file, or a schema of its own in the PostgreSQL that DATABASE_URL names.
pub async fn database(dir: &std::path::Path) -> String {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        return format!("sqlite:{}", dir.join("service.db").display());
    };
    let schema = format!("t_{}", shardpay_service::secret::random_hex::<8>());
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&pool).await.unwrap();
    pool.close().await;
    format!("{url}?options[search_path]={schema}")
}

/// A key never used before for a write.
pub fn idempotency_key() -> String {
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

/// A key pair whose account a committee holds.
pub fn pair_in(plan: &Plan, committee: usize, salt: &str) -> Keypair {
    (0u32..)
        .map(|n| Keypair::from_seed(&sha256(&[salt.as_bytes(), &n.to_le_bytes()])))
        .find(|pair| plan.owner(shard_of(&pair.public_key())) == CommitteeId::at(committee))
        .expect("some key is there")
}

/// A signed payment, hexadecimal.
pub fn payment(
    chain: &ChainId,
    from: &Keypair,
    to: PublicKey,
    (micros, sequence): (u64, u64),
    reference: [u8; 16],
) -> String {
    let body = Payment {
        sender: from.public_key(),
        recipient: to,
        amount: Amount::from_micros(micros),
        sequence: Sequence::new(sequence),
        valid_until: Timestamp::ZERO,
        reference: Reference(reference),
    };
    let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
    let signature = from.sign(&transaction_message(chain, &unsigned));
    hex::encode(Transaction::Payment(SignedPayment { body, signature }).to_bytes())
}

/// The body of a cash-out.
pub fn cash_out(chain: &ChainId, from: &Keypair, (micros, sequence): (u64, u64), iban: &str) -> Value {
    let (salt, holder) = ([7; 16], "Bob Vendor");
    let body = Redeem {
        sender: from.public_key(),
        amount: Amount::from_micros(micros),
        sequence: Sequence::new(sequence),
        valid_until: Timestamp::ZERO,
        payout_ref: payout_ref(&salt, iban, holder),
    };
    let unsigned = Transaction::Redeem(SignedRedeem { body, signature: Signature::ZERO });
    let signature = from.sign(&transaction_message(chain, &unsigned));
    let transaction = hex::encode(Transaction::Redeem(SignedRedeem { body, signature }).to_bytes());
    json!({ "transaction": transaction, "iban": iban, "holder": holder, "salt": hex::encode(salt) })
}

/// Someone who asks the service.
#[derive(Clone)]
pub struct Asker {
    pub base: String,
    pub http: reqwest::Client,
    pub token: Option<String>,
}

impl Asker {
    pub fn new(base: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: base.to_owned(), http, token: None }
    }

    /// One request; status and JSON (null when the answer is none).
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>, key: Option<&str>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None, None).await;
        assert!((200..300).contains(&status), "GET {path}: {status} {answer}");
        answer
    }

    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token.as_deref().unwrap_or(""));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    }

    /// A write with a fresh key that must succeed.
    pub async fn write(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, Some(body), Some(&idempotency_key())).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// A write that must be refused: its code.
    pub async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.ask(method, path, Some(body), Some(&idempotency_key())).await;
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        answer["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Registers a user with a key.
    pub async fn register(&mut self, name: &str, chain: &ChainId, pair: &Keypair) {
        let body = json!({ "name": name, "password": "correct horse battery", "kind": "token" });
        let login = self.write("POST", "/v1/users", body).await;
        self.token = Some(login["token"].as_str().unwrap().to_owned());
        let proof = pair.sign(&key_proof_message(chain, name));
        let body = json!({ "public_key": pair.public_key().to_string(), "proof": proof.to_string() });
        self.write("PUT", "/v1/me/key", body).await;
    }

    /// Asks until a field has a value; a refusal counts as an answer that has another one (`/v1/ready` is a 503 until
    /// the service is).
    pub async fn until(&self, path: &str, field: &str, value: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, answer) = self.ask("GET", path, None, None).await;
            let found = answer[field].as_str().map_or_else(|| answer[field].to_string(), str::to_owned);
            if found == value {
                assert!((200..300).contains(&status), "GET {path}: {status} {answer}");
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {field} is not {value} within a minute: {status} {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A card that does what its number says.
pub fn card(number: &str) -> Value {
    json!({ "number": number, "expiry": "12/34", "cvc": "123", "holder": "Ann Buyer" })
}
