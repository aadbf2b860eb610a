//! What each command does.

pub(crate) mod account;
pub(crate) mod keys;
pub(crate) mod pay;

use std::path::PathBuf;

use shardpay_client::service::ServiceClient;
use shardpay_crypto::Keypair;
use shardpay_keystore::{AmountError, Keystore, parse_amount, parse_reference};
use shardpay_types::{Amount, Reference};

use crate::cli::Shared;
use crate::failure::Failure;
use crate::{secrets, service as services, store};

fn keystore_path(shared: &Shared) -> Result<PathBuf, Failure> {
    let known = shared.keystore.clone().or_else(store::default_path);
    known.ok_or_else(|| Failure::Usage("no home directory; say --keystore FILE".to_owned()))
}

fn keystore(shared: &Shared) -> Result<Keystore, Failure> {
    store::read(&keystore_path(shared)?)
}

/// Asks for the passphrase and opens the key.
fn open(shared: &Shared) -> Result<Keypair, Failure> {
    let keystore = keystore(shared)?;
    let passphrase = secrets::line(shared.passphrase_file.as_deref(), "--passphrase-file", "Passphrase")?;
    Ok(keystore.open(&passphrase)?.keypair(keystore.account()))
}

fn service(shared: &Shared) -> Result<ServiceClient, Failure> {
    let url = shared.service.as_deref();
    let url = url.ok_or_else(|| Failure::Usage("this needs a service: --service URL".to_owned()))?;
    services::at(url, shared.service_ca.as_deref())
}

fn user(shared: &Shared) -> Result<&str, Failure> {
    shared.user.as_deref().ok_or_else(|| Failure::Usage("this needs an account at the service: --user NAME".to_owned()))
}

/// Logs in, with the account tied to this wallet's key.
async fn logged_in(shared: &Shared, keypair: &Keypair) -> Result<ServiceClient, Failure> {
    let mut service = service(shared)?;
    let name = user(shared)?;
    let password = secrets::line(shared.password_file.as_deref(), "--password-file", "Password at the service")?;
    let user = service.log_in(name, &password).await?;
    service.claim_key(&user, keypair).await?;
    Ok(service)
}

fn amount(text: &str) -> Result<Amount, Failure> {
    let amount = parse_amount(text).map_err(|error: AmountError| Failure::Usage(format!("{text}: {error}")))?;
    if amount == Amount::ZERO {
        return Err(Failure::Usage("the amount must be more than nothing".to_owned()));
    }
    Ok(amount)
}

fn reference(text: Option<&str>) -> Result<Option<Reference>, Failure> {
    let parsed = text.map(parse_reference).transpose();
    parsed.map_err(|error| Failure::Usage(format!("--reference: {error}")))
}
