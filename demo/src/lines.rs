//! Line protocol, read in one pass without copying.
//!
//! Guarantees: any bytes give points and complaints, never a panic; a line that cannot be read costs that
//! line only. Names keep their escapes: `Key::parse` takes them apart, once per series, not per point.
//! A test compares the points with those of the `influxdb-line-protocol` crate, which servers write with.

use std::borrow::Cow;

/// Lines in one part of a body.
const POINTS_MAX: usize = 1_024;
/// Fields of a line at most; one of ours has some fifty.
const FIELDS_MAX: usize = 1_024;

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An integer, signed or not.
    Integer(i64),
    /// A float; a boolean is 0 or 1.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
}

/// One line.
#[derive(Debug, Clone)]
pub struct Point<'a> {
    /// Measurement and tags, as written.
    pub key: &'a [u8],
    /// Where its fields stand in [`Batch::fields`].
    pub fields: std::ops::Range<usize>,
    /// Its timestamp in the unit of the request.
    pub time: Option<i64>,
    /// The whole line without its end.
    pub raw: &'a [u8],
}

/// The lines of one request.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Points, in order.
    pub points: Vec<Point<'a>>,
    /// The fields of all points: names as written, and values.
    pub fields: Vec<(&'a [u8], Value<'a>)>,
    /// Lines that could not be read.
    pub bad: usize,
    /// The first of them: its number from 1, and why.
    pub first_bad: Option<(usize, &'static str)>,
}

/// A body that is read part by part: one of tiny lines takes no more memory than one of large ones.
#[derive(Debug)]
pub struct Lines<'a> {
    body: &'a [u8],
    at: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    /// Nothing read yet.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, number: 0 }
    }

    /// Reads the next lines into `batch`, in place of what is there; false when there are no more.
    pub fn fill(&mut self, batch: &mut Batch<'a>) -> bool {
        self.fill_to(batch, POINTS_MAX)
    }

    fn fill_to(&mut self, batch: &mut Batch<'a>, points_max: usize) -> bool {
        batch.points.clear();
        batch.fields.clear();
        (batch.bad, batch.first_bad) = (0, None);
        let body = self.body;
        if self.at >= body.len() {
            return false;
        }
        while self.at < body.len() && batch.points.len() + batch.bad < points_max {
            self.number += 1;
            let start = self.at;
            if matches!(body[start], b'\n' | b'\r' | b' ' | b'\t') {
                // lines without anything, and space in front
                self.number -= usize::from(body[start] != b'\n');
                self.at += 1;
                continue;
            }
            if body[start] == b'#' {
                self.at = end_of_line(body, start) + 1;
                continue;
            }
            let fields = batch.fields.len();
            match batch.line(body, start) {
                Ok((end, lines)) => {
                    self.number += lines;
                    self.at = end + 1;
                }
                Err(why) => {
                    batch.fields.truncate(fields);
                    batch.bad += 1;
                    batch.first_bad.get_or_insert((self.number, why));
                    self.at = end_of_line(body, start) + 1;
                }
            }
        }
        true
    }
}

impl<'a> Batch<'a> {
    /// Reads a whole body at once.
    pub fn parse(body: &'a [u8]) -> Self {
        let mut batch = Self::default();
        Lines::new(body).fill_to(&mut batch, usize::MAX);
        batch
    }

    /// Reads the line at `start`; returns where it ends, and how many ends of lines its texts hold.
    fn line(&mut self, body: &'a [u8], start: usize) -> Result<(usize, usize), &'static str> {
        let first_field = self.fields.len();
        let key_end = scan(body, start, |byte| byte == b' ').ok_or("fields are missing")?;
        if key_end == start || body[start] == b',' {
            return Err("the measurement is missing");
        }
        let mut at = key_end + 1;
        let mut lines = 0;
        let ended = loop {
            let equals = scan(body, at, |byte| byte == b'=').ok_or("a field has no value")?;
            if equals == at {
                return Err("a field has no name");
            }
            if self.fields.len() - first_field >= FIELDS_MAX {
                return Err("it has too many fields");
            }
            let (value, after) = value(body, equals + 1)?;
            if matches!(value, Value::Text(_)) {
                lines += body[equals..after].iter().filter(|byte| **byte == b'\n').count();
            }
            self.fields.push((&body[at..equals], value));
            match body.get(after) {
                Some(b',') => at = after + 1,
                Some(b' ') => break after + 1,
                _ => break after,
            }
        };
        let (time, end) = timestamp(body, ended)?;
        let raw = body[start..end].trim_ascii_end();
        let fields = first_field..self.fields.len();
        self.points.push(Point { key: &body[start..key_end], fields, time, raw });
        Ok((end, lines))
    }
}

fn end_of_line(body: &[u8], from: usize) -> usize {
    body[from..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| from + at)
}

/// The first unescaped byte on this line that `stops`.
fn scan(body: &[u8], from: usize, stops: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = from;
    while let Some(&byte) = body.get(at) {
        if byte == b'\\' {
            at += 2;
            continue;
        }
        if byte == b'\n' {
            return None;
        }
        if stops(byte) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The value at `at`, and where it ends.
fn value(body: &[u8], at: usize) -> Result<(Value<'_>, usize), &'static str> {
    if body.get(at) == Some(&b'"') {
        return text(body, at + 1);
    }
    let rest = &body[at..];
    let length = rest.iter().position(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\r')).unwrap_or(rest.len());
    let word = &rest[..length];
    let value = match word {
        [digits @ .., b'i'] => Value::Integer(integer(digits).ok_or("an integer is wrong or too large")?),
        [digits @ .., b'u'] => match integer(digits) {
            Some(value) if value >= 0 => Value::Integer(value),
            _ => return Err("an unsigned integer is wrong or too large"),
        },
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Value::Float(1.0),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Value::Float(0.0),
        word => {
            let number = std::str::from_utf8(word).ok().filter(|text| text.bytes().any(|byte| byte.is_ascii_digit()));
            let number = number.and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
            Value::Float(number.ok_or("a value is neither number, boolean nor text")?)
        }
    };
    Ok((value, at + length))
}

fn text(body: &[u8], start: usize) -> Result<(Value<'_>, usize), &'static str> {
    let mut at = start;
    let mut escaped = false;
    loop {
        match body.get(at) {
            None => return Err("a text has no end"),
            Some(b'"') => break,
            Some(b'\\') if matches!(body.get(at + 1), Some(b'"' | b'\\')) => {
                escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
        }
    }
    let raw = std::str::from_utf8(&body[start..at]).map_err(|_| "a text is not UTF-8")?;
    let text = if escaped { Cow::Owned(unescape(raw, &['"', '\\'])) } else { Cow::Borrowed(raw) };
    Ok((Value::Text(text), at + 1))
}

/// The timestamp at `at`, if there is one, and the end of the line.
fn timestamp(body: &[u8], at: usize) -> Result<(Option<i64>, usize), &'static str> {
    let end = end_of_line(body, at.min(body.len()));
    let word = body[at.min(end)..end].trim_ascii();
    if word.is_empty() {
        return Ok((None, end));
    }
    Ok((Some(integer(word).ok_or("the timestamp is wrong")?), end))
}

fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // downwards, as there is one more negative number
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

fn unescape(text: &str, escapable: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && escapable.contains(next) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// Measurement and tags, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The measurement.
    pub measurement: String,
    /// Tags in the order in which they stand.
    pub tags: Vec<(String, String)>,
}

impl Key {
    /// Takes [`Point::key`] apart.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(key).ok()?;
        let mut parts = split(text, ',').into_iter();
        let measurement = unescape(parts.next()?, &[',', ' ']);
        let mut tags = Vec::new();
        for part in parts {
            let [name, value] = split(part, '=')[..] else { return None };
            let plain = |text| unescape(text, &[',', '=', ' ']);
            if name.is_empty() || value.is_empty() {
                return None;
            }
            tags.push((plain(name), plain(value)));
        }
        Some(Self { measurement, tags })
    }

    /// A tag's value.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Parts between unescaped separators.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut skip) = (0, false);
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut skip) {
            continue;
        }
        if c == '\\' {
            skip = true;
        } else if c == separator {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
