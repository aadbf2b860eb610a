//! Floor 5 of shardpay: configuration files of servers, what may be wrong with them, and how programs tell errors.
//!
//! Guarantees: every error names the key, or the file, that it is about.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{key}: {path:?}: {source}")]
    Read {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no TOML, or has unknown keys or values of wrong types.
    #[error("{path:?}: {why}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        why: String,
    },
    /// A value is wrong or missing.
    #[error("{key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// The reason.
        why: String,
    },
}

/// The value of a key is wrong or missing.
pub fn wrong(key: &str, why: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), why: why.into() }
}

/// Reads the file that a key names.
pub fn read(key: &'static str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { key, path: path.to_owned(), source })
}

/// The configuration file, and the directory that paths in it are relative to. Without a file: the default.
pub fn read_config<F: DeserializeOwned + Default>(path: Option<&Path>) -> Result<(F, PathBuf), ConfigError> {
    let Some(path) = path else { return Ok((F::default(), PathBuf::new())) };
    let text = read("config", path)?;
    let syntax = |error: toml::de::Error| ConfigError::Syntax { path: path.to_owned(), why: error.to_string() };
    Ok((toml::from_str(&text).map_err(syntax)?, path.parent().unwrap_or(Path::new("")).to_owned()))
}

/// An error with its causes, as one line; a cause that what stands before it tells already is left out.
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let told = read("key", Path::new("/absent")).unwrap_err();
        let expected = "key: \"/absent\": No such file or directory (os error 2)";
        assert_eq!(reason(&told), expected);
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Outer(&'static str, #[source] ConfigError);
        assert_eq!(reason(&Outer("starting", told)), format!("starting: {expected}"));
    }

    type Table = std::collections::BTreeMap<String, u8>;

    #[test]
    fn a_file_an_unreadable_one_and_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "a = 1").expect("written");
        let (table, base) = read_config::<Table>(Some(&path)).expect("good");
        assert_eq!((table["a"], base.as_path()), (1, dir.path()));
        std::fs::write(&path, "a = 1\nb = \"x\"").expect("written");
        let error = read_config::<Table>(Some(&path)).expect_err("no number").to_string();
        assert!(error.contains("c.toml") && error.contains("line 2"), "{error}");
        let error = read_config::<Table>(Some(&dir.path().join("absent"))).expect_err("absent").to_string();
        assert!(error.starts_with("config: "), "{error}");
        assert!(read_config::<Table>(None).expect("default").0.is_empty());
    }
}
