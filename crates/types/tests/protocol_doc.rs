//! Holds `docs/PROTOCOL.md` to its word: an interpreter of the tables in its chapters 2 and 3 decodes
//! generated encodings of every wire type, without any code of the crate, and must find the fields
//! that were encoded. Wherever a table names a bound (a list's length, a largest number, the known
//! tags), the code must refuse the value beyond it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests read files; the crate does not")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use common::fields::{Fields, hex};
use common::{Rng, Sample};
use shardpay_types::*;

const SAMPLES: usize = 100;

/// What a table says about a type.
#[derive(Debug)]
enum Layout {
    /// An encoding, and the largest value if it is a number.
    Alias(String, Option<u128>),
    Struct(Vec<(String, String)>),
    Enum(BTreeMap<u8, (String, String)>),
}

/// The tables of the document by the type they describe.
struct Document(BTreeMap<String, Layout>);

impl Document {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
        let text = std::fs::read_to_string(path).expect("docs/PROTOCOL.md is there");
        let mut layouts = BTreeMap::new();
        let (mut kind, mut title) = ("", "");
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("#### ") {
                (kind, title) = ("", name);
            }
            let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            match cells.as_slice() {
                ["", head @ ("type" | "field" | "tag"), ..] => kind = head,
                ["", "---", ..] => {}
                ["", name, encoding, largest, ..] if kind == "type" => {
                    layouts.insert((*name).to_owned(), Layout::Alias((*encoding).to_owned(), power(largest)));
                }
                ["", field, encoding, ..] if kind == "field" => {
                    let entry = layouts.entry(title.to_owned()).or_insert_with(|| Layout::Struct(Vec::new()));
                    let Layout::Struct(fields) = entry else { panic!("{title} has two kinds of table") };
                    fields.push(((*field).to_owned(), (*encoding).to_owned()));
                }
                ["", tag, variant, contents, ..] if kind == "tag" => {
                    let entry = layouts.entry(title.to_owned()).or_insert_with(|| Layout::Enum(BTreeMap::new()));
                    let Layout::Enum(variants) = entry else { panic!("{title} has two kinds of table") };
                    let tag = tag.parse().expect("tags are numbers");
                    variants.insert(tag, ((*variant).to_owned(), (*contents).to_owned()));
                }
                _ => kind = "",
            }
        }
        Self(layouts)
    }
}

/// `2^62` or a plain number.
fn power(text: &str) -> Option<u128> {
    match text.split_once('^') {
        Some((base, exponent)) => Some(base.parse::<u128>().ok()?.pow(exponent.parse().ok()?)),
        None => text.parse().ok(),
    }
}

/// A place in an encoding where the document forbids a number: its bytes instead of those at `at`.
struct Forbidden {
    at: usize,
    bytes: Vec<u8>,
    /// The largest number allowed; `None` for a tag that is not known.
    max: Option<u128>,
}

impl Forbidden {
    /// Whether `error` is the refusal that the document asks for, number by number.
    fn explains(&self, error: &DecodeError) -> bool {
        match (error, self.max) {
            (DecodeError::OutOfRange { value, max, .. }, Some(largest)) => {
                u128::from(*value) == largest + 1 && u128::from(*max) == largest
            }
            (DecodeError::UnknownTag { tag, .. }, None) => self.bytes == [*tag],
            _ => false,
        }
    }
}

/// Decodes by the document.
struct Interpreter<'a> {
    document: &'a Document,
    bytes: &'a [u8],
    at: usize,
    forbidden: Vec<Forbidden>,
}

impl Interpreter<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    fn number(&mut self, width: usize) -> u128 {
        self.take(width).iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    /// Notes that the number of `width` bytes which ends here may not be above `max`.
    fn bound(&mut self, width: usize, max: u128) {
        if width == 16 || max + 1 < 1 << (8 * width) {
            let bytes = (max + 1).to_le_bytes()[..width].to_vec();
            self.forbidden.push(Forbidden { at: self.at - width, bytes, max: Some(max) });
        }
    }

    fn count(&mut self, max: &str) -> usize {
        let count = self.number(4);
        let max = max.trim().parse::<u128>().expect("a list has a bound");
        assert!(count <= max);
        self.bound(4, max);
        count as usize
    }

    fn tag(&mut self, known: impl Fn(u8) -> bool) -> u8 {
        let tag = self.number(1) as u8;
        assert!(known(tag), "tag {tag} at {} is not in the document", self.at - 1);
        for other in (0..=255).filter(|other| !known(*other)) {
            self.forbidden.push(Forbidden { at: self.at - 1, bytes: vec![other], max: None });
        }
        tag
    }

    fn read(&mut self, encoding: &str) -> Fields {
        let inside = |open: &str, close: &str| encoding.strip_prefix(open)?.strip_suffix(close);
        if let Some(len) = inside("bytes[", "]") {
            Fields::Leaf(hex(self.take(len.parse().expect("a length"))))
        } else if let Some(max) = inside("bytes<", ">") {
            let len = self.count(max);
            Fields::Leaf(hex(self.take(len)))
        } else if let Some((element, max)) = inside("list<", ">").and_then(|both| both.rsplit_once(',')) {
            let count = self.count(max);
            Fields::List((0..count).map(|_| self.read(element)).collect())
        } else if let Some(some) = inside("option<", ">") {
            if self.tag(|tag| tag < 2) == 0 { Fields::Null } else { self.read(some) }
        } else if let Some(only) = encoding.strip_prefix("const ") {
            let only: u8 = only.parse().expect("a constant is a byte");
            Fields::leaf(self.tag(|tag| tag == only))
        } else if let Some(bits) = encoding.strip_prefix('u').and_then(|bits| bits.parse::<usize>().ok()) {
            Fields::leaf(self.number(bits / 8))
        } else if encoding == "bool" {
            Fields::leaf(self.tag(|tag| tag < 2) == 1)
        } else {
            self.named(encoding)
        }
    }

    fn named(&mut self, name: &str) -> Fields {
        let document = self.document;
        match document.0.get(name).unwrap_or_else(|| panic!("{name} is not in the document")) {
            Layout::Alias(encoding, largest) => {
                let start = self.at;
                let value = self.read(encoding);
                if let Some(largest) = largest {
                    self.bound(self.at - start, *largest);
                }
                value
            }
            Layout::Struct(fields) => {
                Fields::Object(fields.iter().map(|(field, encoding)| (intern(field), self.read(encoding))).collect())
            }
            Layout::Enum(variants) => {
                let (variant, contents) = &variants[&self.tag(|tag| variants.contains_key(&tag))];
                if contents.is_empty() {
                    return Fields::leaf(variant);
                }
                Fields::Object(vec![(intern(variant), self.read(contents))])
            }
        }
    }
}

/// Field names are `&'static str` in [`Fields`]; a test may leak the few that the document has.
fn intern(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

fn check_type<T: Sample + Debug>(document: &Document, name: &str) {
    let mut rng = Rng::for_type(name);
    for _ in 0..SAMPLES {
        let value = T::sample(&mut rng);
        let bytes = value.to_bytes();
        let mut interpreter = Interpreter { document, bytes: &bytes, at: 0, forbidden: Vec::new() };
        assert_eq!(interpreter.named(name), value.fields(), "{name}: fields by the document and by the code");
        assert_eq!(interpreter.at, bytes.len(), "{name}: the document does not cover the whole encoding");
        for forbidden in interpreter.forbidden.iter().filter(|_| rng.below(8) == 0) {
            let Forbidden { at, bytes: instead, .. } = forbidden;
            let mut wrong = bytes.clone();
            wrong[*at..*at + instead.len()].copy_from_slice(instead);
            let error = T::from_bytes(&wrong).expect_err("the document forbids it");
            assert!(forbidden.explains(&error), "{name}, {instead:02x?} at {at}: the code says {error}");
        }
    }
}

macro_rules! check_all {
    ($($module:ident: $($name:ident),+;)+) => {
        #[test]
        fn the_document_describes_every_type() {
            let document = Document::read();
            $($(check_type::<$name>(&document, stringify!($name));)+)+
        }

        /// No table describes a type that does not exist (any more).
        #[test]
        fn every_table_is_about_a_type() {
            let known = [$($(stringify!($name)),+),+];
            for name in Document::read().0.keys() {
                assert!(known.contains(&name.as_str()) || name == "LeaderList", "{name} is no wire type");
            }
        }
    };
}
for_wire_types!(check_all);
