//! BIP-39: 256 bits of entropy as 24 English words with a checksum of 8 bits.
//!
//! Only 24 words are taken, without a BIP-39 passphrase. The word list is the `bip39` crate's; bits are cut
//! here, so that nothing secret stays behind in values that are not wiped. The crate is the tests' oracle.

use std::fmt;

use bip39::Language;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;
use shardpay_crypto::{Keypair, Signer, sha256};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::derive::account_secret;

/// Words of a mnemonic.
pub const MNEMONIC_WORDS: usize = 24;

const ENTROPY_BYTES: usize = 32;
const BITS_PER_WORD: usize = 11;
/// Entropy and checksum.
const BYTES: usize = ENTROPY_BYTES + 1;

/// Why words are no mnemonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    /// Not 24 words.
    #[error("a mnemonic has {MNEMONIC_WORDS} words, these are {0}")]
    WordCount(usize),
    /// A word that is not on the list. Says which, not what: the others are secret.
    #[error("word {0} is not on the list of words (check its spelling)")]
    UnknownWord(usize),
    /// All words are on the list, but do not belong together.
    #[error("these words do not belong together: one is wrong, or two are swapped")]
    Checksum,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// The 2,048 words, in order.
pub fn word_list() -> &'static [&'static str; 2048] {
    Language::English.word_list()
}

/// What a wallet is: 256 secret bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Mnemonic {
    entropy: Zeroizing<[u8; ENTROPY_BYTES]>,
}

impl Mnemonic {
    /// A new one from the operating system's randomness.
    pub fn generate() -> Result<Self, MnemonicError> {
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        getrandom::fill(&mut *entropy).map_err(|_| MnemonicError::Randomness)?;
        Ok(Self { entropy })
    }

    /// The one with this entropy. The caller wipes its copy.
    pub fn from_entropy(entropy: &[u8; ENTROPY_BYTES]) -> Self {
        Self { entropy: Zeroizing::new(*entropy) }
    }

    /// Reads 24 words, in any case, separated by blanks or line breaks.
    pub fn parse(text: &str) -> Result<Self, MnemonicError> {
        let count = text.split_whitespace().count();
        if count != MNEMONIC_WORDS {
            return Err(MnemonicError::WordCount(count));
        }
        let mut bytes = Zeroizing::new([0; BYTES]);
        for (position, word) in text.split_whitespace().enumerate() {
            let word = Zeroizing::new(word.to_ascii_lowercase());
            let index = word_list().binary_search(&word.as_str());
            let index = index.map_err(|_| MnemonicError::UnknownWord(position + 1))?;
            for bit in 0..BITS_PER_WORD {
                if index >> (BITS_PER_WORD - 1 - bit) & 1 == 1 {
                    let place = position * BITS_PER_WORD + bit;
                    bytes[place / 8] |= 0x80 >> (place % 8);
                }
            }
        }
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        entropy.copy_from_slice(&bytes[..ENTROPY_BYTES]);
        if sha256(&[&*entropy])[0] != bytes[ENTROPY_BYTES] {
            return Err(MnemonicError::Checksum);
        }
        Ok(Self { entropy })
    }

    /// The words, separated by blanks. Secret.
    pub fn phrase(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        bytes[..ENTROPY_BYTES].copy_from_slice(&*self.entropy);
        bytes[ENTROPY_BYTES] = sha256(&[&*self.entropy])[0];
        // as large as it will get: a string that grows leaves unwiped copies
        let mut phrase = Zeroizing::new(String::with_capacity(MNEMONIC_WORDS * 9));
        for position in 0..MNEMONIC_WORDS {
            let bits = position * BITS_PER_WORD..(position + 1) * BITS_PER_WORD;
            let index = bits.fold(0, |index, bit| index << 1 | usize::from(bytes[bit / 8] >> (7 - bit % 8) & 1));
            if position > 0 {
                phrase.push(' ');
            }
            phrase.push_str(word_list()[index]);
        }
        phrase
    }

    /// The key pair of account number `account`.
    ///
    /// # Panics
    /// When `account` is above [`crate::ACCOUNT_MAX`].
    pub fn keypair(&self, account: u32) -> Keypair {
        Keypair::from_seed(&account_secret(&self.seed(""), account))
    }

    /// The address of account number `account`.
    ///
    /// # Panics
    /// When `account` is above [`crate::ACCOUNT_MAX`].
    pub fn address(&self, account: u32) -> Address {
        Address(self.keypair(account).public_key())
    }

    pub(crate) fn entropy(&self) -> &[u8; ENTROPY_BYTES] {
        &self.entropy
    }

    /// BIP-39's seed.
    fn seed(&self, passphrase: &str) -> Zeroizing<[u8; 64]> {
        let mut seed = Zeroizing::new([0; 64]);
        let salt = Zeroizing::new(format!("mnemonic{passphrase}"));
        pbkdf2_hmac::<Sha512>(self.phrase().as_bytes(), salt.as_bytes(), 2_048, &mut *seed);
        seed
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mnemonic(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_are_those_of_the_bip() {
        let mnemonic = Mnemonic::from_entropy(&[0; 32]);
        assert_eq!(&**mnemonic.phrase(), format!("{}art", "abandon ".repeat(23)));
        let seed = "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3\
                    de6f5d4a10be8ed2a5e608d68f92fcc8";
        assert_eq!(hex::encode(*mnemonic.seed("TREZOR")), seed);
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(word_list().is_sorted(), "words are looked up by halving");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_the_crate(entropy: [u8; 32]) {
            let ours = Mnemonic::from_entropy(&entropy);
            let oracle = bip39::Mnemonic::from_entropy(&entropy).expect("256 bits");
            prop_assert_eq!(&**ours.phrase(), oracle.to_string());
            prop_assert_eq!(*ours.seed(""), oracle.to_seed(""));
            prop_assert_eq!(Mnemonic::parse(&oracle.to_string().to_uppercase()), Ok(ours));
        }

        #[test]
        fn one_other_word_passes_as_often_as_the_crate_says(entropy: [u8; 32], place in 0..24usize, word in 0..2048usize) {
            let phrase = Mnemonic::from_entropy(&entropy).phrase().to_string();
            let mut words: Vec<&str> = phrase.split(' ').collect();
            words[place] = word_list()[word];
            let changed = words.join(" ");
            prop_assert_eq!(Mnemonic::parse(&changed).is_ok(), bip39::Mnemonic::parse(changed.as_str()).is_ok());
        }
    }
}
