//! The node's secret key in a file: 64 hexadecimal digits, readable by its owner only.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use shardpay_crypto::{Keypair, Signer};
use shardpay_types::PublicKey;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key_file {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("key_file {path}: mode {mode:o} lets others read the key; set 0600")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("key_file {path}: not 64 hexadecimal digits")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// No randomness.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// Reads the secret seed and its key pair.
pub fn read(path: &Path) -> Result<([u8; 32], Keypair), KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    // Kubernetes mounts a secret as root's, readable by the group that the pod runs in
    let others = if metadata.uid() == 0 && !rustix::process::geteuid().is_root() { 0o037 } else { 0o077 };
    if mode & others != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).map_err(|_| KeyError::Malformed { path: path.to_owned() })?;
    Ok((seed, Keypair::from_seed(&seed)))
}

/// Draws a key and writes it to a new file; an existing one is left alone and is an error.
pub fn create(path: &Path) -> Result<PublicKey, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyError::Randomness)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{}", hex::encode(seed)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(Keypair::from_seed(&seed).public_key())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_is_read_back_and_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/key");
        let public = create(&path).expect("created");
        assert_eq!(read(&path).expect("read").1.public_key(), public);
        assert!(matches!(create(&path), Err(KeyError::Io { .. })));
    }

    #[test]
    fn others_must_not_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        create(&path).expect("created");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("set");
        assert!(matches!(read(&path), Err(KeyError::Exposed { mode: 0o640, .. })));
        std::fs::write(&path, "nonsense").expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        assert!(matches!(read(&path), Err(KeyError::Malformed { .. })));
    }
}
