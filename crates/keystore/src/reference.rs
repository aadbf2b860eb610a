//! The 16 bytes a payer adds to a payment, as text: a short note, or 32 hexadecimal digits.
//!
//! A note is at most 16 bytes of UTF-8 without control characters, filled up with zeros. No note is as long
//! as 32 digits, so the two cannot be confused.

use shardpay_types::Reference;

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Longer than 16 bytes and not 32 hexadecimal digits.
    #[error("a reference is a note of at most 16 characters (fewer with accents), or 32 hexadecimal digits")]
    TooLong,
    /// A note with a control character.
    #[error("a reference contains no control characters")]
    Control,
}

/// Reads a reference; an empty text is all zeros.
pub fn parse_reference(text: &str) -> Result<Reference, ReferenceError> {
    let mut bytes = [0; 16];
    if text.len() == 32 && hex::decode_to_slice(text, &mut bytes).is_ok() {
        return Ok(Reference(bytes));
    }
    if text.len() > bytes.len() {
        return Err(ReferenceError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(ReferenceError::Control);
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(Reference(bytes))
}

/// The note, when it is one; else 32 hexadecimal digits. [`parse_reference`] reads it back.
pub fn reference_text(reference: &Reference) -> String {
    let end = reference.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    match std::str::from_utf8(&reference.0[..end]) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => reference.to_string(),
    }
}
