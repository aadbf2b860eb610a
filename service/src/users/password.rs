//! Password hashes: argon2id, so many at a time, on threads of their own.
//!
//! A hash takes tens of milliseconds and 19 MiB on purpose. Without a bound a few hundred logins at once would
//! take all memory; with it they wait, and who waits too long is told `busy`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::error::{Code, Problem};
use crate::secret::{Secret, random_bytes};

/// How long a hash may wait for its turn.
const WAIT: Duration = Duration::from_secs(3);

/// What a hash costs.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashes at a time.
    pub parallel: usize,
}

impl Default for Cost {
    /// OWASP's second choice for argon2id.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, parallel: 2 }
    }
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    cost: Cost,
    /// The memory of each hash at work, kept for the next: given back, it would stay with the allocator's arenas.
    memories: Arc<Mutex<Vec<Vec<Block>>>>,
    /// The hash of no password: checked when the user is unknown, so that the time says nothing.
    nobody: Arc<String>,
}

impl Passwords {
    /// With this cost.
    pub fn new(cost: Cost) -> Self {
        let nobody = Arc::new(written(cost, &random_bytes(), &random_bytes()));
        Self { permits: Arc::new(Semaphore::new(cost.parallel)), cost, memories: Arc::default(), nobody }
    }

    /// The hash to store.
    pub async fn hash(&self, password: Secret) -> Result<String, Problem> {
        let cost = self.cost;
        self.at_work(move |memory| {
            let salt = random_bytes::<16>();
            compute(cost, &password, &salt, memory).map(|hash| written(cost, &salt, &hash))
        })
        .await?
        .ok_or_else(|| Problem::new(Code::Internal, "the password cannot be hashed"))
    }

    /// Whether a password is the one whose hash was stored; without one the answer is no, as slowly.
    pub async fn check(&self, password: Secret, stored: Option<String>) -> Result<bool, Problem> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.to_string());
        self.at_work(move |memory| {
            let Some((cost, salt, expected)) = read(&stored) else { return false };
            let found = compute(cost, &password, &salt, memory);
            known && found.is_some_and(|found| bool::from(found.ct_eq(&expected)))
        })
        .await
    }

    async fn at_work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::new(Code::Busy, "too many logins at the moment").retry_after(2_000);
        let permit = tokio::time::timeout(WAIT, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let memories = self.memories.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let all = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = all().pop().unwrap_or_default();
            let result = work(&mut memory);
            all().push(memory);
            result
        });
        task.await.map_err(|_| Problem::new(Code::Internal, "hashing failed"))
    }
}

fn compute(cost: Cost, password: &str, salt: &[u8; 16], memory: &mut Vec<Block>) -> Option<[u8; 32]> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).ok()?;
    memory.resize(params.block_count(), Block::default());
    let mut out = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, memory.as_mut_slice()).ok()?;
    Some(out)
}

fn written(cost: Cost, salt: &[u8; 16], hash: &[u8; 32]) -> String {
    format!("argon2id$19${}${}${}${}", cost.memory_kib, cost.passes, hex::encode(salt), hex::encode(hash))
}

fn read(stored: &str) -> Option<(Cost, [u8; 16], [u8; 32])> {
    let mut parts = stored.split('$');
    let mut next = || parts.next();
    if (next()?, next()?) != ("argon2id", "19") {
        return None;
    }
    let (memory_kib, passes) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let (mut salt, mut hash) = ([0; 16], [0; 32]);
    hex::decode_to_slice(next()?, &mut salt).ok()?;
    hex::decode_to_slice(next()?, &mut hash).ok()?;
    Some((Cost { memory_kib, passes, parallel: 1 }, salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::new(Cost { memory_kib: 64, passes: 1, parallel: 2 });
        let text = |text: &str| Secret::new(text.to_owned());
        let stored = passwords.hash(text("correct horse")).await.unwrap();
        assert!(stored.starts_with("argon2id$19$64$1$") && !stored.contains("correct"));
        assert_ne!(stored, passwords.hash(text("correct horse")).await.unwrap(), "salted");
        assert!(passwords.check(text("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!passwords.check(text("correct horsf"), Some(stored)).await.unwrap());
        assert!(!passwords.check(text("correct horse"), None).await.unwrap());
        assert_eq!(passwords.memories.lock().unwrap().len(), 1, "one after the other, in the same memory");
    }

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_told() {
        let none = Passwords::new(Cost { memory_kib: 64, passes: 1, parallel: 0 });
        let refused = none.hash(Secret::new("0123456789".to_owned())).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_ms), (Code::Busy, Some(2_000)));
    }

    #[tokio::test]
    async fn stored_costs_count_not_todays() {
        let old = Passwords::new(Cost { memory_kib: 64, passes: 1, parallel: 1 });
        let stored = old.hash(Secret::new("0123456789".to_owned())).await.unwrap();
        let new = Passwords::new(Cost { memory_kib: 128, passes: 2, parallel: 1 });
        assert!(new.check(Secret::new("0123456789".to_owned()), Some(stored)).await.unwrap());
    }
}
