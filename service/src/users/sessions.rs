//! Who asks: sessions by cookie or token, and merchants' keys. Only hashes of tokens are stored.

use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Value};
use crate::secret::{random_hex, token_hash};

/// How long a session lasts.
const LASTS_US: u64 = 30 * 86_400_000_000;

/// How a caller showed who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerKind {
    /// A browser's cookie; writes need this token too.
    Cookie {
        /// The CSRF token.
        csrf: String,
    },
    /// A bearer token.
    Token,
    /// A merchant's key.
    MerchantKey,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: String,
    /// How that is known.
    pub kind: CallerKind,
    /// When the session ends; merchants' keys do not.
    pub expires_us: Option<u64>,
}

impl Caller {
    /// Whether a CSRF token is this session's.
    pub fn csrf_is(&self, given: &str) -> bool {
        match &self.kind {
            CallerKind::Cookie { csrf } => bool::from(csrf.as_bytes().ct_eq(given.as_bytes())),
            CallerKind::Token | CallerKind::MerchantKey => true,
        }
    }
}

/// A session that was just begun: the only time the token is known.
#[derive(Debug)]
pub struct Login {
    /// What the caller must show.
    pub token: String,
    /// With a cookie, what writes must show too.
    pub csrf: Option<String>,
    /// When it ends.
    pub expires_us: u64,
}

/// The sessions.
#[derive(Clone)]
pub struct Sessions {
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
}

impl Sessions {
    /// Begins a session for a browser or for a program.
    pub async fn begin(&self, user: &str, cookie: bool) -> Result<Login, StoreError> {
        let now = self.clock.now_us();
        let prefix = if cookie { "c_" } else { "t_" };
        let token = format!("{prefix}{}", random_hex::<32>());
        let csrf = cookie.then(random_hex::<32>);
        let expires_us = now + LASTS_US;
        let sql = "INSERT INTO sessions (token_hash, user_id, kind, csrf, created_us, expires_us) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let arguments = [
            Value::text(token_hash(&token)),
            Value::text(user),
            Value::text(if cookie { "cookie" } else { "token" }),
            Value::opt_text(csrf.clone()),
            Value::count(now),
            Value::count(expires_us),
        ];
        self.db.write(sql, &arguments).await?;
        Ok(Login { token, csrf, expires_us })
    }

    /// Who shows this token; a cookie is no token and the other way round.
    pub async fn find(&self, token: &str, as_cookie: bool) -> Result<Option<Caller>, StoreError> {
        let hash = Value::text(token_hash(token));
        if !as_cookie && token.starts_with("sk_") {
            let sql = "SELECT user_id FROM merchant_keys WHERE secret_hash = $1";
            let row = self.db.read_one(sql, &[hash]).await?;
            return Ok(row.map(|row| Caller {
                user: row.text(0).to_owned(),
                kind: CallerKind::MerchantKey,
                expires_us: None,
            }));
        }
        let sql =
            "SELECT user_id, csrf, expires_us FROM sessions WHERE token_hash = $1 AND kind = $2 AND expires_us > $3";
        let kind = Value::text(if as_cookie { "cookie" } else { "token" });
        let row = self.db.read_one(sql, &[hash, kind, Value::count(self.clock.now_us())]).await?;
        Ok(row.map(|row| Caller {
            user: row.text(0).to_owned(),
            kind: row.opt_text(1).map_or(CallerKind::Token, |csrf| CallerKind::Cookie { csrf: csrf.to_owned() }),
            expires_us: Some(row.count(2)),
        }))
    }

    /// Ends the session of a token.
    pub async fn end(&self, token: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM sessions WHERE token_hash = $1";
        self.db.write(sql, &[Value::text(token_hash(token))]).await.map(|_| ())
    }

    /// Forgets sessions and idempotency keys that are over.
    pub async fn tidy(&self) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        self.db.write("DELETE FROM sessions WHERE expires_us < $1", &[Value::count(now)]).await?;
        let day_ago = now.saturating_sub(2 * 86_400_000_000);
        self.db.write("DELETE FROM idempotency WHERE created_us < $1", &[Value::count(day_ago)]).await.map(|_| ())
    }
}
