//! A decoded value as named fields, written as JSON: integers and bytes are strings, so that no JSON
//! parser rounds them.

use std::fmt::Write;

/// A value taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// A number in decimal, bytes in hexadecimal, or the name of a variant.
    Leaf(String),
    /// An option that is `None`.
    Null,
    /// The elements of a list.
    List(Vec<Self>),
    /// Named fields in the order of the encoding.
    Object(Vec<(&'static str, Self)>),
}

impl Fields {
    /// A leaf.
    pub fn leaf(value: impl ToString) -> Self {
        Self::Leaf(value.to_string())
    }

    /// Appends the value as JSON, its lines indented by `indent` levels.
    pub fn write_json(&self, out: &mut String, indent: usize) {
        let pad = "  ".repeat(indent + 1);
        let mut block = |open: char, close: char, items: Vec<(String, &Self)>| {
            out.push(open);
            for (i, (name, item)) in items.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                write!(out, "{comma}\n{pad}{name}").expect("strings can be written to");
                item.write_json(out, indent + 1);
            }
            write!(out, "\n{}{close}", "  ".repeat(indent)).expect("strings can be written to");
        };
        match self {
            Self::Leaf(text) => write!(out, "\"{text}\"").expect("strings can be written to"),
            Self::Null => out.push_str("null"),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::List(items) => block('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
            Self::Object(fields) => {
                block('{', '}', fields.iter().map(|(name, item)| (format!("\"{name}\": "), item)).collect());
            }
        }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings can be written to");
        text
    })
}
