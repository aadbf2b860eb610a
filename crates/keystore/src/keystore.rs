//! The keystore file: a mnemonic's entropy under a passphrase, as JSON. Browser, service backup and
//! command line share it; `docs/KEYSTORE.md` describes it for other implementations.
//!
//! PBKDF2-HMAC-SHA-512 makes the key (WebCrypto has nothing stronger), AES-256-GCM encrypts; the parameters
//! stand in the file. Guarantees: a file with weaker parameters than ours, or so strong that opening it
//! would never end, is refused before any work; address and path are authenticated with the ciphertext, and
//! the decrypted key must have that address. A wrong passphrase and a damaged ciphertext look alike.

use std::borrow::Cow;
use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::derive::{ACCOUNT_MAX, account_path};
use crate::mnemonic::Mnemonic;

/// Iterations of new files.
pub const ITERATIONS: u32 = 600_000;
/// Fewer are refused.
pub const ITERATIONS_MIN: u32 = 600_000;
/// More are refused: opening would take minutes.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// Longest file that is read.
pub const FILE_BYTES_MAX: usize = 4_096;
/// Shortest passphrase of new files.
pub const PASSPHRASE_CHARS_MIN: usize = 10;

const FORMAT: &str = "shardpay-keystore";
const VERSION: u32 = 1;
const KDF: &str = "PBKDF2-HMAC-SHA-512";
const CIPHER: &str = "AES-256-GCM";
const SALT_BYTES: usize = 32;
const SALT_BYTES_MIN: usize = 16;
const SALT_BYTES_MAX: usize = 64;
const NONCE_BYTES: usize = 12;
/// 32 bytes of entropy and the tag.
const CIPHERTEXT_BYTES: usize = 48;

/// Why a keystore cannot be made, read or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Longer than any keystore file.
    #[error("a keystore file has at most {FILE_BYTES_MAX} bytes, this has {0}")]
    TooLong(usize),
    /// Not the JSON of a keystore.
    #[error("not a keystore file: {0}")]
    Malformed(String),
    /// Another format or version.
    #[error("a keystore of another kind: {0}")]
    Unsupported(String),
    /// So weak that the passphrase could be guessed.
    #[error("the keystore's protection is too weak: {0}")]
    TooWeak(String),
    /// So strong that it cannot be meant.
    #[error("the keystore's parameters are absurd: {0}")]
    Absurd(String),
    /// The ciphertext does not open.
    #[error("wrong passphrase, or the file is damaged")]
    WrongPassphrase,
    /// It opens, but the key is not the one it says.
    #[error("the keystore holds another key than its address says")]
    WrongAddress,
    /// A new passphrase is too short.
    #[error("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters")]
    ShortPassphrase,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// What may never be used twice: drawn anew for every file.
#[derive(Clone, Copy)]
pub struct SealRandomness {
    /// Of the key derivation.
    pub salt: [u8; SALT_BYTES],
    /// Of the cipher.
    pub nonce: [u8; NONCE_BYTES],
}

impl SealRandomness {
    /// From the operating system.
    pub fn draw() -> Result<Self, KeystoreError> {
        let mut drawn = Self { salt: [0; SALT_BYTES], nonce: [0; NONCE_BYTES] };
        getrandom::fill(&mut drawn.salt).map_err(|_| KeystoreError::Randomness)?;
        getrandom::fill(&mut drawn.nonce).map_err(|_| KeystoreError::Randomness)?;
        Ok(drawn)
    }
}

/// An encrypted keystore. Holds no secret that is not encrypted; its parameters have been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Keystore {
    address: Address,
    account: u32,
    iterations: u32,
    salt: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: Cow<'a, str>,
    version: u32,
    address: String,
    account: u32,
    path: String,
    kdf: Kdf<'a>,
    cipher: Cipher<'a>,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf<'a> {
    name: Cow<'a, str>,
    iterations: u64,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher<'a> {
    name: Cow<'a, str>,
    nonce: String,
}

impl Keystore {
    /// Encrypts a mnemonic for the use of account number `account`. Takes a second or so.
    ///
    /// # Panics
    /// When `account` is above [`ACCOUNT_MAX`].
    pub fn seal(
        mnemonic: &Mnemonic,
        account: u32,
        passphrase: &str,
        randomness: SealRandomness,
    ) -> Result<Self, KeystoreError> {
        if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
            return Err(KeystoreError::ShortPassphrase);
        }
        let mut keystore = Self {
            address: mnemonic.address(account),
            account,
            iterations: ITERATIONS,
            salt: randomness.salt.to_vec(),
            nonce: randomness.nonce,
            ciphertext: Vec::new(),
        };
        let header = keystore.authenticated();
        let message = Payload { msg: mnemonic.entropy(), aad: header.as_bytes() };
        let encrypted = keystore.cipher(passphrase).encrypt(&Nonce::<Aes256Gcm>::from(keystore.nonce), message);
        keystore.ciphertext = encrypted.expect("32 bytes are within the cipher's limits");
        Ok(keystore)
    }

    /// Decrypts. Takes as long as the file's parameters say.
    pub fn open(&self, passphrase: &str) -> Result<Mnemonic, KeystoreError> {
        let header = self.authenticated();
        let message = Payload { msg: &self.ciphertext, aad: header.as_bytes() };
        let opened = self.cipher(passphrase).decrypt(&Nonce::<Aes256Gcm>::from(self.nonce), message);
        let opened = Zeroizing::new(opened.map_err(|_| KeystoreError::WrongPassphrase)?);
        let entropy = opened.as_slice().try_into().map_err(|_| KeystoreError::WrongPassphrase)?;
        let mnemonic = Mnemonic::from_entropy(entropy);
        if mnemonic.address(self.account) == self.address { Ok(mnemonic) } else { Err(KeystoreError::WrongAddress) }
    }

    /// Reads a keystore file and checks everything that can be checked without the passphrase.
    pub fn parse(text: &[u8]) -> Result<Self, KeystoreError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(KeystoreError::TooLong(text.len()));
        }
        let malformed = |error: &dyn fmt::Display| KeystoreError::Malformed(error.to_string());
        let file: File<'_> = serde_json::from_slice(text).map_err(|error| malformed(&error))?;
        for (found, known) in [(&file.format, FORMAT), (&file.kdf.name, KDF), (&file.cipher.name, CIPHER)] {
            if found != known {
                return Err(KeystoreError::Unsupported(format!("{found:?} instead of {known:?}")));
            }
        }
        if file.version != VERSION {
            return Err(KeystoreError::Unsupported(format!("version {}", file.version)));
        }
        if file.account > ACCOUNT_MAX || file.path != account_path(file.account) {
            return Err(KeystoreError::Unsupported(format!("path {:?}", file.path)));
        }
        let address = file.address.parse::<Address>().map_err(|error| malformed(&error))?;
        if address.to_string() != file.address {
            return Err(malformed(&"the address must be in lower case"));
        }
        let bytes =
            |what: &str, text: &str| BASE64.decode(text).map_err(|error| malformed(&format!("{what}: {error}")));
        let salt = bytes("salt", &file.kdf.salt)?;
        let nonce = bytes("nonce", &file.cipher.nonce)?;
        let ciphertext = bytes("ciphertext", &file.ciphertext)?;
        let iterations = iterations_within_bounds(file.kdf.iterations)?;
        match salt.len() {
            ..SALT_BYTES_MIN => return Err(KeystoreError::TooWeak(format!("salt of {} bytes", salt.len()))),
            SALT_BYTES_MIN..=SALT_BYTES_MAX => {}
            _ => return Err(KeystoreError::Absurd(format!("salt of {} bytes", salt.len()))),
        }
        let nonce = nonce.try_into().map_err(|_| malformed(&format!("the nonce has not {NONCE_BYTES} bytes")))?;
        if ciphertext.len() != CIPHERTEXT_BYTES {
            return Err(malformed(&format!("the ciphertext has not {CIPHERTEXT_BYTES} bytes")));
        }
        Ok(Self { address, account: file.account, iterations, salt, nonce, ciphertext })
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            version: VERSION,
            address: self.address.to_string(),
            account: self.account,
            path: account_path(self.account),
            kdf: Kdf { name: KDF.into(), iterations: self.iterations.into(), salt: BASE64.encode(&self.salt) },
            cipher: Cipher { name: CIPHER.into(), nonce: BASE64.encode(self.nonce) },
            ciphertext: BASE64.encode(&self.ciphertext),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("strings and numbers are JSON");
        text.push('\n');
        text
    }

    /// Whose it is; readable without the passphrase.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The account number within the mnemonic.
    pub fn account(&self) -> u32 {
        self.account
    }

    /// What is authenticated with the ciphertext, beside it.
    fn authenticated(&self) -> String {
        format!("{FORMAT}/v{VERSION}\n{}\n{}", self.address, account_path(self.account))
    }

    fn cipher(&self, passphrase: &str) -> Aes256Gcm {
        let mut normal = Cow::Borrowed(passphrase);
        bip39::Mnemonic::normalize_utf8_cow(&mut normal); // NFKD; typed on another keyboard it is the same
        let normal = Zeroizing::new(normal.into_owned());
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2_hmac::<Sha512>(normal.as_bytes(), &self.salt, self.iterations, &mut *key);
        Aes256Gcm::new_from_slice(&*key).expect("32 bytes are a key")
    }
}

fn iterations_within_bounds(iterations: u64) -> Result<u32, KeystoreError> {
    match u32::try_from(iterations) {
        Ok(..ITERATIONS_MIN) => Err(KeystoreError::TooWeak(format!("{iterations} iterations"))),
        Ok(within @ ITERATIONS_MIN..=ITERATIONS_MAX) => Ok(within),
        _ => Err(KeystoreError::Absurd(format!("{iterations} iterations"))),
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({}, encrypted)", self.address)
    }
}
