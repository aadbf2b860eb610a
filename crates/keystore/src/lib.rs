//! Floor 5: mnemonics, key derivation, the encrypted keystore file, addresses, payment links, amounts as text.
//!
//! One definition of what a user holds in hand, shared by the service, the command-line wallet and (as a
//! format, written down in `docs/KEYSTORE.md` with vectors) the browser pages.
//!
//! - `Mnemonic`: 24 words, and the keys derived from them.
//! - `Keystore`: the same entropy encrypted under a passphrase, as a JSON file.
//! - `Address`, `PaymentLink`, `parse_amount`, `parse_reference`: what people type, scan and copy.
//!
//! Secrets are wiped when dropped and never printed. What the hash and cipher crates keep on the stack while
//! they work is not wiped.

mod address;
mod amount;
mod derive;
mod keystore;
mod link;
mod mnemonic;
mod reference;

pub use address::{ADDRESS_CHARS, ADDRESS_PREFIX, Address, AddressError};
pub use amount::{AmountError, parse_amount};
pub use derive::{ACCOUNT_MAX, account_path};
pub use keystore::{
    FILE_BYTES_MAX, ITERATIONS, ITERATIONS_MAX, ITERATIONS_MIN, Keystore, KeystoreError, PASSPHRASE_CHARS_MIN,
    SealRandomness,
};
pub use link::{LINK_CHARS_MAX, LINK_SCHEME, LinkError, PaymentLink};
pub use mnemonic::{MNEMONIC_WORDS, Mnemonic, MnemonicError, word_list};
pub use reference::{ReferenceError, parse_reference, reference_text};
