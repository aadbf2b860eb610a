//! How protocol values stand in JSON: canonical encodings as hexadecimal strings, counters as numbers.
//!
//! Guarantees: what is read here decodes to a valid value or the reading fails with a message that says
//! why; nothing panics on foreign text. Strings are lower-case when written; either case is read.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shardpay_types::Codec;

/// A value that stands in JSON as the hexadecimal string of its canonical encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<T>(pub T);

impl<T> Deref for Hex<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Codec> Serialize for Hex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.to_bytes()))
    }
}

impl<'de, T: Codec> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor(PhantomData))
    }
}

struct HexVisitor<T>(PhantomData<T>);

impl<T: Codec> Visitor<'_> for HexVisitor<T> {
    type Value = Hex<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hexadecimal string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hex<T>, E> {
        let bytes = hex::decode(text).map_err(|err| E::custom(format_args!("not hexadecimal: {err}")))?;
        T::from_bytes(&bytes).map(Hex).map_err(E::custom)
    }
}

/// Counters and indices as JSON numbers: for `#[serde(with = "number")]`.
pub(crate) mod number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use shardpay_types::{CommitteeId, Epoch, Height, MemberIndex, Round};

    /// A newtype around a bounded number.
    pub(crate) trait Number: Sized {
        fn from_number(number: u64) -> Option<Self>;
        fn number(&self) -> u64;
    }

    macro_rules! counters {
        ($($name:ident),*) => {$(
            impl Number for $name {
                fn from_number(number: u64) -> Option<Self> {
                    (number <= shardpay_types::COUNTER_MAX).then(|| Self::new(number))
                }
                fn number(&self) -> u64 {
                    self.get()
                }
            }
        )*};
    }
    counters!(Epoch, Height, Round);

    macro_rules! indices {
        ($($name:ident),*) => {$(
            impl Number for $name {
                fn from_number(number: u64) -> Option<Self> {
                    usize::try_from(number).ok().and_then(Self::new)
                }
                fn number(&self) -> u64 {
                    self.index() as u64
                }
            }
        )*};
    }
    indices!(CommitteeId, MemberIndex);

    pub(crate) fn serialize<T: Number, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.number())
    }

    pub(crate) fn deserialize<'de, T: Number, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let number = u64::deserialize(deserializer)?;
        T::from_number(number).ok_or_else(|| D::Error::custom(format_args!("{number} is out of range")))
    }
}

#[cfg(test)]
mod tests {
    use shardpay_types::{PlanApproval, PublicKey};

    use super::*;

    #[test]
    fn hex_is_strict_about_length_and_digits() {
        let key = Hex(PublicKey([0xab; 32]));
        let text = serde_json::to_string(&key).expect("serialises");
        assert_eq!(text, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Hex<PublicKey>>(&text).expect("reads"), key);
        let upper = text.to_uppercase();
        assert_eq!(serde_json::from_str::<Hex<PublicKey>>(&upper).expect("reads"), key);
        for bad in ["\"\"", "\"abc\"", "\"zz\"", "5", "null", &format!("\"{}\"", "ab".repeat(33))] {
            assert!(serde_json::from_str::<Hex<PublicKey>>(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<Hex<PlanApproval>>(bad).is_err(), "{bad}");
        }
    }
}
