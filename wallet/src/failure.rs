//! Why a command failed, and with which exit code.

use shardpay_client::{ClientError, ReceiptFileError};
use shardpay_keystore::KeystoreError;

/// A failed command. Exit code 0 is success, 2 a command line that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 1: a file, the network or the system failed; nothing was paid.
    #[error("{0}")]
    Environment(String),
    /// 2: what was asked for cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// 3: the ledger, the service, the card or the bank refused.
    #[error("{0}")]
    Refused(String),
    /// 4: the keystore cannot be opened: wrong passphrase or words, damaged or foreign file.
    #[error("{0}")]
    Keystore(String),
    /// 5: a proof does not hold.
    #[error("{0}")]
    Proof(String),
    /// 6: a payment was sent, and what became of it is not known.
    #[error("{0}")]
    Unknown(String),
}

impl Failure {
    /// The process's exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Keystore(_) => 4,
            Self::Proof(_) => 5,
            Self::Unknown(_) => 6,
        }
    }

    /// A stable name, for `--json`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Environment(_) => "environment",
            Self::Usage(_) => "usage",
            Self::Refused(_) => "refused",
            Self::Keystore(_) => "keystore",
            Self::Proof(_) => "proof",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        match error {
            KeystoreError::Randomness => Self::Environment(error.to_string()),
            _ => Self::Keystore(error.to_string()),
        }
    }
}

impl From<ReceiptFileError> for Failure {
    fn from(error: ReceiptFileError) -> Self {
        match error {
            ReceiptFileError::Client(error) => Self::Environment(error.to_string()),
            _ => Self::Proof(error.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(reason) => Self::Refused(format!("the ledger refused: {reason}")),
            ClientError::TimedOut => Self::Unknown(error.to_string()),
            _ => Self::Environment(error.to_string()),
        }
    }
}
