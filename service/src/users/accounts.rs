//! Users and what they keep here: a name, a password's hash, a public key, an encrypted keystore.

use serde::Serialize;
use shardpay_crypto::SignatureScheme;
use shardpay_types::{ChainId, PublicKey, Signature};

use crate::clock::Clock;
use crate::codec::address_of;
use crate::db::{Db, Row, StoreError, Value};
use crate::error::{Code, Problem};
use crate::secret::random_hex;

/// A user as others and the owner see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its key, once there is one.
    pub public_key: Option<String>,
    /// The same as an address.
    pub address: Option<String>,
    /// Whether an encrypted keystore is kept.
    pub has_keystore: bool,
    /// What the user is as a merchant.
    pub merchant: Option<Merchant>,
}

/// A user as a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merchant {
    /// What payers see.
    pub display_name: String,
    /// Where payments go.
    pub public_key: Option<String>,
    /// The same as an address.
    pub address: Option<String>,
    /// Where events go.
    pub webhook_url: Option<String>,
}

/// The users.
#[derive(Clone)]
pub struct Users {
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
}

/// What a key signs to show that its owner wants it at this user: a tag of its own, so that it is no signature
/// for anything on the ledger.
pub fn key_proof_message(chain: &ChainId, name: &str) -> Vec<u8> {
    let mut message = b"shardpay/service/key/v1\0".to_vec();
    message.extend_from_slice(&chain.0);
    message.extend_from_slice(name.as_bytes());
    message
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, public_key, CASE WHEN keystore IS NULL THEN 0 ELSE 1 END, display_name, webhook_url ",
            "FROM users WHERE ",
            $rest
        )
    };
}

fn shown(row: &Row) -> User {
    let public_key = row.opt_text(2).map(str::to_owned);
    let address = public_key.as_deref().and_then(address_of);
    let merchant = row.opt_text(4).map(|display_name| Merchant {
        display_name: display_name.to_owned(),
        public_key: public_key.clone(),
        address: address.clone(),
        webhook_url: row.opt_text(5).map(str::to_owned),
    });
    User {
        id: row.text(0).to_owned(),
        name: row.text(1).to_owned(),
        public_key,
        address,
        has_keystore: row.int(3) != 0,
        merchant,
    }
}

/// Checks a name: small ASCII letters, digits and `-_.`, a letter first. Nothing that looks like something else.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let good = (3..=32).contains(&name.len()) && name.bytes().all(allowed) && name.as_bytes()[0].is_ascii_lowercase();
    if good {
        Ok(())
    } else {
        Err(Problem::bad("name", "3 to 32 of the characters a-z 0-9 - _ . beginning with a letter"))
    }
}

/// Checks a password's length.
pub fn check_password(password: &str) -> Result<(), Problem> {
    let count = password.chars().count();
    if (10..=128).contains(&count) && password.len() <= 512 {
        return Ok(());
    }
    Err(Problem::bad("password", "10 to 128 characters"))
}

impl Users {
    /// Enters a user.
    pub async fn create(&self, name: &str, password: &str) -> Result<User, Problem> {
        let id = format!("u_{}", random_hex::<12>());
        let sql = "INSERT INTO users (id, name, password, created_us) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let now = Value::count(self.clock.now_us());
        let arguments = [Value::text(&id), Value::text(name), Value::text(password), now];
        if self.db.write(sql, &arguments).await? == 0 {
            return Err(Problem::field(Code::NameTaken, "name", "the name is taken"));
        }
        self.get(&id).await?.ok_or_else(|| Problem::not_found("user"))
    }

    /// The user with this id.
    pub async fn get(&self, id: &str) -> Result<Option<User>, StoreError> {
        Ok(self.db.read_one(select!("id = $1"), &[Value::text(id)]).await?.as_ref().map(shown))
    }

    /// The user with this name.
    pub async fn named(&self, name: &str) -> Result<Option<User>, StoreError> {
        Ok(self.db.read_one(select!("name = $1"), &[Value::text(name)]).await?.as_ref().map(shown))
    }

    /// Id and password's hash of the user with this name.
    pub async fn password_of(&self, name: &str) -> Result<Option<(String, String)>, StoreError> {
        let row = self.db.read_one("SELECT id, password FROM users WHERE name = $1", &[Value::text(name)]).await?;
        Ok(row.map(|row| (row.text(0).to_owned(), row.text(1).to_owned())))
    }

    /// Whose key it is; the oldest user's when several have it.
    pub async fn name_of_key(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT name FROM users WHERE public_key = $1 ORDER BY created_us LIMIT 1";
        Ok(self.db.read_one(sql, &[Value::text(key)]).await?.map(|row| row.text(0).to_owned()))
    }

    /// Checks the proof that the owner of a key wants it here.
    pub fn check_proof(
        scheme: &dyn SignatureScheme,
        chain: &ChainId,
        name: &str,
        (key, proof): (&PublicKey, &Signature),
    ) -> Result<(), Problem> {
        if !scheme.key_acceptable(key) {
            return Err(Problem::bad("public_key", "not a key that can own an account"));
        }
        if !scheme.verify(key, &key_proof_message(chain, name), proof) {
            return Err(Problem::field(Code::BadProof, "proof", "not this key's signature for this user and ledger"));
        }
        Ok(())
    }

    /// Gives a user its key, for good.
    pub async fn set_key(&self, id: &str, key: &PublicKey) -> Result<(), Problem> {
        let sql = "UPDATE users SET public_key = $2 WHERE id = $1 AND (public_key IS NULL OR public_key = $2)";
        if self.db.write(sql, &[Value::text(id), Value::text(key.to_string())]).await? == 0 {
            return Err(Problem::field(
                Code::KeySet,
                "public_key",
                "this user has another key; a new key needs a new user",
            ));
        }
        Ok(())
    }

    /// The keystore file as it was put here.
    pub async fn keystore(&self, id: &str) -> Result<Option<String>, StoreError> {
        let row = self.db.read_one("SELECT keystore FROM users WHERE id = $1", &[Value::text(id)]).await?;
        Ok(row.and_then(|row| row.opt_text(0).map(str::to_owned)))
    }

    /// Keeps a keystore file.
    pub async fn set_keystore(&self, id: &str, file: &str) -> Result<(), StoreError> {
        let sql = "UPDATE users SET keystore = $2 WHERE id = $1";
        self.db.write(sql, &[Value::text(id), Value::text(file)]).await.map(|_| ())
    }

    /// Makes a user a merchant, or changes what it is as one.
    pub async fn set_merchant(
        &self,
        id: &str,
        display_name: &str,
        webhook_url: Option<&str>,
    ) -> Result<(), StoreError> {
        let secret = format!("whsec_{}", random_hex::<24>());
        let sql = "UPDATE users SET display_name = $2, webhook_url = $3, webhook_secret = COALESCE(webhook_secret, $4) \
                   WHERE id = $1";
        let arguments = [Value::text(id), Value::text(display_name), Value::opt_text(webhook_url), Value::text(secret)];
        self.db.write(sql, &arguments).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_doubles() {
        for name in ["ann", "a-b_c.d", "shop42"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in
            ["an", "Ann", "аnn", "ann\u{200b}", "1ann", "-ann", "ann!", "ann ", "", "ａnn", "annı", &"a".repeat(33)]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
