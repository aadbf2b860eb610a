//! Query parameters: numbers with known names.

use std::time::Duration;

use axum::http::Uri;
use shardpay_client::signaler::WAIT_SECONDS_MAX;
use shardpay_types::COUNTER_MAX;

use crate::refusal::Refusal;

/// Parameters of one request.
pub(super) struct Query(Vec<(&'static str, u64)>);

impl Query {
    /// Reads the query of `uri`; a name outside `names`, a repetition or a value that is no number is refused.
    pub(super) fn read(uri: &Uri, names: &[&'static str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(&'static str, u64)> = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = names.iter().find(|known| **known == name);
            let known =
                known.ok_or_else(|| Refusal::field(name, format!("the parameters are {}", names.join(", "))))?;
            let value: u64 = value.parse().map_err(|_| Refusal::field(name, "not a number"))?;
            if value > COUNTER_MAX {
                return Err(Refusal::field(name, format!("above {COUNTER_MAX}")));
            }
            if pairs.iter().any(|(name, _)| name == known) {
                return Err(Refusal::field(name, "given twice"));
            }
            pairs.push((known, value));
        }
        Ok(Self(pairs))
    }

    /// The parameter `name`.
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// How long to wait for a change.
    pub(super) fn wait(&self) -> Result<Duration, Refusal> {
        let seconds = self.get("wait").unwrap_or(0);
        if seconds > WAIT_SECONDS_MAX {
            return Err(Refusal::field("wait", format!("above {WAIT_SECONDS_MAX} seconds")));
        }
        Ok(Duration::from_secs(seconds))
    }
}
