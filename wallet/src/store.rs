//! The keystore file on disk.
//!
//! Guarantees: a file appears whole or not at all, readable by its owner only, and never replaces another.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use shardpay_keystore::Keystore;

use crate::failure::Failure;

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| Failure::Environment(format!("{}: {error}", path.display()))
}

/// Where the keystore lies when nothing else is said.
pub(crate) fn default_path() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(config.join("shardpay").join("keystore.json"))
}

/// Reads a keystore; its secret stays encrypted.
pub(crate) fn read(path: &Path) -> Result<Keystore, Failure> {
    let text = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let path = path.display();
            Failure::Environment(format!("{path}: there is no keystore; 'wallet new' or 'wallet restore' makes one"))
        }
        _ => failed(path)(error),
    })?;
    Keystore::parse(&text).map_err(|error| Failure::Keystore(format!("{}: {error}", path.display())))
}

/// Says early that [`write_new`] would fail.
pub(crate) fn must_be_free(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Err(Failure::Usage(format!("{} exists already; it is never overwritten", path.display())));
    }
    Ok(())
}

/// Writes a file that is the owner's only.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    must_be_free(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let name = path.file_name().ok_or_else(|| Failure::Usage(format!("{} names no file", path.display())))?;
    let temporary = directory.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // unlike a rename, a link does not replace what is there
        fs::hard_link(&temporary, path)?;
        fs::File::open(directory)?.sync_all()
    };
    let written = write().map_err(failed(path));
    // a file left behind here holds nothing that the keystore does not
    let _ = fs::remove_file(&temporary);
    written
}
