//! IBANs: country, length, and the check digits of ISO 7064 (mod 97-10). And names as SEPA takes them.

use std::fmt;

use crate::error::{Code, Problem};

/// Length of an IBAN by country (the registry's SEPA members).
#[rustfmt::skip]
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AT", 20), ("BE", 16), ("BG", 22), ("CH", 21), ("CY", 28), ("CZ", 24), ("DE", 22), ("DK", 18),
    ("EE", 20), ("ES", 24), ("FI", 18), ("FR", 27), ("GB", 22), ("GI", 23), ("GR", 27), ("HR", 21), ("HU", 28),
    ("IE", 22), ("IS", 26), ("IT", 27), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("MC", 27), ("MT", 31),
    ("NL", 18), ("NO", 15), ("PL", 28), ("PT", 25), ("RO", 24), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27),
    ("VA", 22),
];

/// A checked IBAN: capitals and digits only.
#[derive(Clone, PartialEq, Eq)]
pub struct Iban(String);

impl Iban {
    /// Reads an IBAN; blanks do not count, small letters are raised.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| Problem::field(Code::BadIban, "iban", why);
        let iban: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect();
        if !iban.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) || iban.len() < 5 {
            return Err(wrong("an IBAN has letters and digits only"));
        }
        let Some((_, length)) = LENGTHS.iter().find(|(country, _)| iban.starts_with(country)) else {
            return Err(wrong("not an IBAN of a country that takes part in SEPA"));
        };
        if iban.len() != *length {
            return Err(wrong(&format!("an IBAN of {} has {length} characters, this has {}", &iban[..2], iban.len())));
        }
        let digits = iban.as_bytes()[2..4].iter().all(u8::is_ascii_digit);
        if !digits || remainder(&iban) != 1 {
            return Err(wrong("the IBAN is mistyped: its check digits do not fit"));
        }
        Ok(Self(iban))
    }

    /// The IBAN without blanks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Country and last four characters, the rest hidden.
    pub fn masked(&self) -> String {
        format!("{}…{}", &self.0[..4], &self.0[self.0.len() - 4..])
    }
}

impl fmt::Debug for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// The number that the rearranged IBAN is, modulo 97.
fn remainder(iban: &str) -> u32 {
    let rearranged = iban.bytes().skip(4).chain(iban.bytes().take(4));
    rearranged.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

/// Checks the name of an account's holder: SEPA's characters, 1 to 70.
pub fn holder(text: &str) -> Result<String, Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-?:().,'+ ".contains(c);
    let name = text.trim();
    if name.is_empty() || name.len() > 70 || !name.chars().all(allowed) {
        return Err(Problem::bad("holder", "1 to 70 of the characters A-Z a-z 0-9 / - ? : ( ) . , ' + and blank"));
    }
    if name.starts_with('/') || name.ends_with('/') || name.contains("//") {
        return Err(Problem::bad("holder", "no slash at the ends, no two in a row"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of the IBAN registry.
    const GOOD: &[&str] = &[
        "DE89 3704 0044 0532 0130 00",
        "GB33 BUKB 2020 1555 5555 55",
        "NL91 ABNA 0417 1643 00",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    ];

    #[test]
    fn examples_of_the_registry_pass() {
        for text in GOOD {
            let iban = Iban::parse(text).unwrap();
            assert_eq!(iban.as_str(), text.replace(' ', ""));
            assert!(Iban::parse(&text.to_lowercase()).is_ok());
        }
    }

    #[test]
    fn a_changed_or_swapped_character_is_found() {
        for text in GOOD {
            let good = text.replace(' ', "");
            for place in 4..good.len() {
                let mut bytes = good.clone().into_bytes();
                bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
                if bytes[place] != good.as_bytes()[place] {
                    assert!(Iban::parse(std::str::from_utf8(&bytes).unwrap()).is_err());
                }
                let mut bytes = good.clone().into_bytes();
                bytes.swap(place, place - 1);
                if bytes != good.as_bytes() {
                    assert!(Iban::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "{good} {place}");
                }
            }
        }
        for text in ["", "DE", "DE893704004405320130001", "US89370400440532013000", "DE89-3704-0044", "ＤＥ89"] {
            assert_eq!(Iban::parse(text).unwrap_err().code, Code::BadIban);
        }
    }

    #[test]
    fn holders_keep_to_the_sepa_set() {
        assert_eq!(holder(" Ann O'Neil ").unwrap(), "Ann O'Neil");
        for text in ["", "Änne", "a\nb", "/x", "x//y", &"x".repeat(71), "<b>"] {
            assert!(holder(text).is_err(), "{text:?}");
        }
    }
}
