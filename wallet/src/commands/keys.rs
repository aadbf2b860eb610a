//! Commands that need no network: keys, addresses, receipts.

use std::path::Path;

use serde_json::json;
use shardpay_keystore::{Keystore, Mnemonic, MnemonicError, PaymentLink, SealRandomness};

use super::{amount, keystore, keystore_path, reference};
use crate::cli::{AddressArgs, Answer, ExportArgs, NewArgs, RestoreArgs, Shared};
use crate::failure::Failure;
use crate::{offline, secrets, store};

pub(crate) fn new(shared: &Shared, args: &NewArgs) -> Result<Answer, Failure> {
    store::must_be_free(&keystore_path(shared)?)?;
    let mnemonic = Mnemonic::generate().map_err(|error| Failure::Environment(error.to_string()))?;
    let (keystore, path) = seal(shared, &mnemonic, args.account)?;
    let phrase = mnemonic.phrase();
    let words: Vec<&str> = phrase.split(' ').collect();
    let lines = words.chunks(6).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n");
    let address = keystore.address();
    Ok(Answer {
        text: format!(
            "Write these 24 words on paper. Whoever has them has your coins; without them a lost file is lost.\n\n\
             {lines}\n\naddress   {address}\nkeystore  {path}"
        ),
        json: json!({ "address": address.to_string(), "keystore": path, "mnemonic": *phrase }),
    })
}

pub(crate) fn restore(shared: &Shared, args: &RestoreArgs) -> Result<Answer, Failure> {
    let path = keystore_path(shared)?;
    store::must_be_free(&path)?;
    let (keystore, path) = match &args.from {
        Some(from) => {
            let keystore = store::read(from)?;
            let passphrase = secrets::line(shared.passphrase_file.as_deref(), "--passphrase-file", "Passphrase")?;
            keystore.open(&passphrase)?;
            store::write_new(&path, keystore.to_json().as_bytes())?;
            (keystore, path.display().to_string())
        }
        None => {
            let words = match &args.words_file {
                Some(file) => secrets::whole(file)?,
                None => secrets::typed("--words-file", "The 24 words")?,
            };
            let mnemonic = Mnemonic::parse(&words).map_err(|error| match error {
                MnemonicError::Randomness => Failure::Environment(error.to_string()),
                _ => Failure::Keystore(error.to_string()),
            })?;
            seal(shared, &mnemonic, args.account)?
        }
    };
    let address = keystore.address();
    Ok(Answer {
        text: format!("address   {address}\nkeystore  {path}"),
        json: json!({ "address": address.to_string(), "keystore": path }),
    })
}

/// Encrypts under a new passphrase and writes the file.
fn seal(shared: &Shared, mnemonic: &Mnemonic, account: u32) -> Result<(Keystore, String), Failure> {
    let path = keystore_path(shared)?;
    let file = shared.passphrase_file.as_deref();
    let passphrase = secrets::new_line(file, "--passphrase-file", "New passphrase")?;
    let keystore = Keystore::seal(mnemonic, account, &passphrase, SealRandomness::draw()?)?;
    store::write_new(&path, keystore.to_json().as_bytes())?;
    Ok((keystore, path.display().to_string()))
}

pub(crate) fn address(shared: &Shared, args: &AddressArgs) -> Result<Answer, Failure> {
    let address = keystore(shared)?.address();
    let amount = args.amount.as_deref().map(amount).transpose()?;
    let reference = reference(args.reference.as_deref())?;
    let link = PaymentLink { address, amount, reference };
    let plain = amount.is_none() && reference.is_none();
    Ok(Answer {
        text: if plain { address.to_string() } else { link.to_string() },
        json: json!({ "address": address.to_string(), "public_key": address.0.to_string(), "link": link.to_string() }),
    })
}

pub(crate) fn export(shared: &Shared, args: &ExportArgs) -> Result<Answer, Failure> {
    let keystore = keystore(shared)?;
    let address = keystore.address().to_string();
    if let Some(to) = &args.to {
        store::write_new(to, keystore.to_json().as_bytes())?;
        let to = to.display().to_string();
        return Ok(Answer {
            text: format!("{to}  (opens with the same passphrase)"),
            json: json!({ "address": address, "keystore": to }),
        });
    }
    let passphrase = secrets::line(shared.passphrase_file.as_deref(), "--passphrase-file", "Passphrase")?;
    let phrase = keystore.open(&passphrase)?.phrase();
    Ok(Answer { text: phrase.to_string(), json: json!({ "address": address, "mnemonic": *phrase }) })
}

pub(crate) fn verify_receipt(shared: &Shared, file: &Path) -> Result<Answer, Failure> {
    let genesis = shared.genesis.as_deref();
    let genesis = genesis.ok_or_else(|| Failure::Usage("say against which ledger: --genesis FILE".to_owned()))?;
    let genesis = offline::genesis(genesis)?;
    let bytes = std::fs::read(file).map_err(|error| Failure::Environment(format!("{}: {error}", file.display())))?;
    let (proof, applied) = offline::check(&bytes, &genesis)?;
    let outcome = if applied { "carried out" } else { "NOT carried out: the balance was too small" };
    let shown = |name: &str| proof[name].as_str().unwrap_or("-").to_owned();
    let credit = match (proof["credit_needed_from"].as_u64(), proof["credited"].as_bool()) {
        (None, _) => "by the same committee".to_owned(),
        (Some(committee), Some(true)) => format!("proven by committee {committee}"),
        (Some(committee), Some(false)) => format!("refused by committee {committee}"),
        (Some(committee), None) => format!("by committee {committee}, not proven by this file"),
    };
    Ok(Answer {
        text: format!(
            "The proof holds: {} {outcome}.\n\namount     {}\nfrom       {}\nto         {}\nreference  {}\n\
             committee  {}, height {}\ncredit     {credit}\ntxid       {}",
            shown("kind"),
            shown("amount"),
            shown("sender"),
            shown("recipient"),
            shown("reference"),
            proof["committee"],
            proof["height"],
            shown("txid"),
        ),
        json: proof,
    })
}
