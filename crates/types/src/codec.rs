//! The canonical binary codec of every type that is signed, hashed, stored or sent.
//!
//! Guarantees: one value has exactly one encoding (`decode(encode(x)) == x` and every accepted byte
//! string re-encodes to itself); decoding any byte string ends in a value or a [`DecodeError`],
//! never in a panic, and allocates at most a small multiple of the input's length.
//!
//! Rules: integers are little-endian and of fixed width; a list is a `u32` count and its elements;
//! an option is a byte 0 or 1 and the value; an enum is a tag byte and the variant's fields.

use thiserror::Error;

/// Why a byte string is not the canonical encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ended before the value did.
    #[error("input ends {missing} bytes early")]
    Truncated {
        /// How many more bytes the next field needed.
        missing: usize,
    },
    /// Bytes were left over after the value.
    #[error("{extra} bytes after the value")]
    Trailing {
        /// How many bytes were left.
        extra: usize,
    },
    /// A tag byte (enum, option, bool, version) has no meaning.
    #[error("{what}: unknown tag {tag}")]
    UnknownTag {
        /// The type that was being read.
        what: &'static str,
        /// The tag that was found.
        tag: u8,
    },
    /// A number or count lies outside its bounds.
    #[error("{what}: {value} is above the maximum {max}")]
    OutOfRange {
        /// The type that was being read.
        what: &'static str,
        /// The value that was found.
        value: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// The fields do not form a canonical value (order, duplicates, inconsistent parts).
    #[error("{what}: {why}")]
    NotCanonical {
        /// The type that was being read.
        what: &'static str,
        /// The rule that was broken.
        why: &'static str,
    },
}

/// A cursor over the bytes being decoded.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len > self.rest.len() {
            return Err(DecodeError::Truncated { missing: len - self.rest.len() });
        }
        let (head, tail) = self.rest.split_at(len);
        self.rest = tail;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// Fails unless every byte was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// A type with one canonical encoding.
pub trait Codec: Sized {
    /// The fewest bytes an encoding can have; bounds what a list's count may make us reserve.
    const MIN_LEN: usize;

    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads one value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding as a new vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::MIN_LEN);
        self.encode(&mut out);
        out
    }

    /// Decodes a value that must fill `bytes` exactly.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

macro_rules! integer_codec {
    ($($int:ty),*) => {$(
        impl Codec for $int {
            const MIN_LEN: usize = size_of::<$int>();
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(<$int>::from_le_bytes(reader.array()?))
            }
        }
    )*};
}
integer_codec!(u8, u16, u32, u64, u128);

impl<const N: usize> Codec for [u8; N] {
    const MIN_LEN: usize = N;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl Codec for bool {
    const MIN_LEN: usize = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::UnknownTag { what: "bool", tag }),
        }
    }
}

impl<T: Codec> Codec for Option<T> {
    const MIN_LEN: usize = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(reader)? { Some(T::decode(reader)?) } else { None })
    }
}

impl<T: Codec> Codec for Box<T> {
    const MIN_LEN: usize = T::MIN_LEN;
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode(self, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

impl<T: Codec> Codec for std::sync::Arc<T> {
    const MIN_LEN: usize = T::MIN_LEN;
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode(self, out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

/// A list of at most `MAX` elements. The bound is part of the type, so no decoder can forget it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// The largest number of elements.
    pub const MAX: usize = MAX;

    /// Wraps `items`; `None` when there are more than `MAX`.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// Wraps `items` that the caller has bounded already.
    ///
    /// # Panics
    /// When there are more than `MAX`: the caller's own bound is wrong.
    pub fn bounded(items: Vec<T>) -> Self {
        assert!(items.len() <= MAX, "list of {} elements, bound {MAX}", items.len());
        Self(items)
    }

    /// The elements as a vector.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Codec, const MAX: usize> Codec for List<T, MAX> {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.0.len()).expect("list bounds fit u32");
        count.encode(out);
        for item in &self.0 {
            item.encode(out);
        }
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = u32::decode(reader)? as usize;
        if count > MAX {
            return Err(DecodeError::OutOfRange { what: "list", value: count as u64, max: MAX as u64 });
        }
        let mut items = Vec::with_capacity(count.min(reader.remaining() / T::MIN_LEN.max(1)));
        for _ in 0..count {
            items.push(T::decode(reader)?);
        }
        Ok(Self(items))
    }
}

/// Declares structs whose encoding is that of their fields in order.
#[macro_export]
macro_rules! wire_struct {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $crate::Codec for $name {
            const MIN_LEN: usize = 0 $(+ <$ty as $crate::Codec>::MIN_LEN)*;
            fn encode(&self, out: &mut Vec<u8>) {
                $(<$ty as $crate::Codec>::encode(&self.$field, out);)*
            }
            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                $(let $field = <$ty as $crate::Codec>::decode(reader)?;)*
                Ok(Self { $($field),* })
            }
        }
    )*};
}

/// Declares enums encoded as a tag byte and the variant's single value.
#[macro_export]
macro_rules! wire_enum {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $tag:literal => $variant:ident($ty:ty)),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant($ty)),* }

        impl $crate::Codec for $name {
            const MIN_LEN: usize = {
                let mut least = usize::MAX;
                $(if <$ty as $crate::Codec>::MIN_LEN < least {
                    least = <$ty as $crate::Codec>::MIN_LEN;
                })*
                1 + least
            };
            fn encode(&self, out: &mut Vec<u8>) {
                match self { $(Self::$variant(value) => {
                    out.push($tag);
                    <$ty as $crate::Codec>::encode(value, out);
                })* }
            }
            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                match <u8 as $crate::Codec>::decode(reader)? {
                    $($tag => <$ty as $crate::Codec>::decode(reader).map(Self::$variant),)*
                    tag => Err($crate::DecodeError::UnknownTag { what: stringify!($name), tag }),
                }
            }
        }
    )*};
}

/// Declares enums without fields, encoded as one tag byte.
#[macro_export]
macro_rules! unit_enum {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $tag:literal => $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $crate::Codec for $name {
            const MIN_LEN: usize = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$variant => $tag),* });
            }
            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                match <u8 as $crate::Codec>::decode(reader)? {
                    $($tag => Ok(Self::$variant),)*
                    tag => Err($crate::DecodeError::UnknownTag { what: stringify!($name), tag }),
                }
            }
        }
    )*};
}
