//! What a wallet asks of a service beyond single requests, and how its refusals become failures.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shardpay_client::service::{ServiceClient, ServiceError, bytes, field};
use shardpay_types::PublicKey;

use crate::failure::Failure;

/// How long a payment, purchase or payout is followed.
const FOLLOW_MAX: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
/// The code of a refusal that another signature of the same key caused.
pub(crate) const SEQUENCE_USED: &str = "sequence_used";

/// The service at `url`; `ca` is a PEM file with the only certificate authority that is trusted.
pub(crate) fn at(url: &str, ca: Option<&Path>) -> Result<ServiceClient, Failure> {
    let failed = |path: &Path, error| Failure::Environment(format!("{}: {error}", path.display()));
    let pem = ca.map(|path| std::fs::read(path).map_err(|error| failed(path, error))).transpose()?;
    ServiceClient::new(url, pem.as_deref()).map_err(|error| Failure::Usage(format!("--service {error}")))
}

/// The key of a user of the service.
pub(crate) async fn key_of(service: &ServiceClient, name: &str) -> Result<PublicKey, Failure> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(Failure::Usage(format!("{name:?} is neither an address, a payment link nor a user name")));
    }
    let user = service.get(&format!("/v1/users/{name}")).await.map_err(|error| match error {
        ServiceError::Refused { code, .. } if code == "not_found" => {
            Failure::Refused(format!("the service knows no user {name:?} with a wallet (not_found)"))
        }
        error => error.into(),
    })?;
    Ok(PublicKey(bytes(field(&user, "public_key")?)?))
}

/// Asks until `settled` says that the answer will not change any more.
pub(crate) async fn follow(
    service: &ServiceClient,
    path: &str,
    settled: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let following = async {
        loop {
            match service.get(path).await {
                Ok(answer) if settled(&answer) => return Ok(answer),
                Ok(_) => {}
                Err(error) => match Failure::from(error) {
                    // the service may be starting again; what was accepted is not forgotten
                    Failure::Environment(_) => {}
                    failure => return Err(failure),
                },
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let late = |_| Failure::Unknown(format!("not settled in time; look again at {path}"));
    tokio::time::timeout(FOLLOW_MAX, following).await.map_err(late)?
}

/// Whether a refusal says that the account's sequence was used by another signature: then nothing was paid with this
/// one, and nothing ever will be.
pub(crate) fn sequence_used(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Refused { code, .. } if code == SEQUENCE_USED)
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let message = match &error {
            ServiceError::Refused { retry_after: Some(wait), .. } => {
                format!("{error}; try again in {} s", wait.as_secs_f64().ceil())
            }
            error => error.to_string(),
        };
        match error {
            ServiceError::Address { .. } => Self::Usage(message),
            ServiceError::Refused { status, .. } if status < 500 => Self::Refused(message),
            ServiceError::ForeignAccount { .. } => Self::Refused(message),
            ServiceError::Refused { .. } | ServiceError::Unreachable(_) | ServiceError::Answer { .. } => {
                Self::Environment(message)
            }
        }
    }
}
