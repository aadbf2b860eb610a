//! Passphrases, passwords and words: from the terminal without echo, or from a file.

use std::io::IsTerminal as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;

const SECRET_BYTES_MAX: u64 = 4_096;

/// The first line of `file`, or what is typed after `prompt`.
pub(crate) fn line(file: Option<&Path>, option: &str, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let text = match file {
        Some(path) => whole(path)?,
        None => typed(option, prompt)?,
    };
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        Err(Failure::Usage(format!("{prompt}: nothing was given")))
    } else {
        Ok(Zeroizing::new(line.to_owned()))
    }
}

/// As [`line`], typed twice when it is typed.
pub(crate) fn new_line(file: Option<&Path>, option: &str, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let first = line(file, option, prompt)?;
    if file.is_none() && *typed(option, &format!("{prompt}, again"))? != *first {
        return Err(Failure::Usage("the two differ".to_owned()));
    }
    Ok(first)
}

/// All of a file that holds a secret.
pub(crate) fn whole(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Environment(format!("{}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > SECRET_BYTES_MAX {
        return Err(failed(&"too long for a secret"));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| failed(&error))
}

/// What is typed at the terminal, not shown.
pub(crate) fn typed(option: &str, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{prompt}: there is no terminal to ask on; give {option} FILE")));
    }
    let text = rpassword::prompt_password(format!("{prompt}: "));
    text.map(Zeroizing::new).map_err(|error| Failure::Environment(format!("terminal: {error}")))
}
