//! Addresses, amounts, references, links and keystore files: examples, what is refused, round trips.

use proptest::prelude::*;
use shardpay_keystore::*;
use shardpay_types::{Amount, PublicKey, Reference};

const PASSPHRASE: &str = "correct horse battery staple";

fn mnemonic() -> Mnemonic {
    Mnemonic::from_entropy(&[7; 32])
}

fn sealed() -> &'static Keystore {
    static SEALED: std::sync::OnceLock<Keystore> = std::sync::OnceLock::new();
    SEALED.get_or_init(|| {
        let randomness = SealRandomness { salt: [1; 32], nonce: [2; 12] };
        Keystore::seal(&mnemonic(), 0, PASSPHRASE, randomness).expect("the passphrase is long")
    })
}

#[test]
fn nothing_secret_is_printed() {
    let phrase = mnemonic().phrase().to_string();
    let shown = format!("{:?} {:?} {:?}", mnemonic(), sealed(), mnemonic().keypair(0));
    assert!(phrase.split(' ').all(|word| !shown.contains(word)), "{shown}");
    assert!(!shown.contains("0707"), "{shown}");
}

#[test]
fn a_keystore_opens_with_its_passphrase_only() {
    let read = Keystore::parse(sealed().to_json().as_bytes()).expect("own files are read");
    assert_eq!(read, *sealed());
    assert_eq!(read.address(), mnemonic().address(0));
    assert_eq!(read.open(PASSPHRASE), Ok(mnemonic()));
    assert_eq!(read.open("correct horse battery stapler"), Err(KeystoreError::WrongPassphrase));
}

#[test]
fn composed_and_decomposed_accents_are_one_passphrase() {
    let randomness = SealRandomness { salt: [3; 32], nonce: [4; 12] };
    let keystore = Keystore::seal(&mnemonic(), 1, "caf\u{e9} cr\u{e8}me br\u{fb}l\u{e9}e", randomness).expect("long");
    assert_eq!(keystore.open("cafe\u{301} cre\u{300}me bru\u{302}le\u{301}e"), Ok(mnemonic()));
    assert_eq!(keystore.account(), 1);
    assert_ne!(keystore.address(), sealed().address());
}

#[test]
fn short_passphrases_are_refused() {
    let randomness = SealRandomness::draw().expect("the system has randomness");
    assert_eq!(Keystore::seal(&mnemonic(), 0, "ninechars", randomness), Err(KeystoreError::ShortPassphrase));
}

/// A keystore whose JSON was changed, as it is read.
fn changed(from: &str, to: &str) -> Result<Keystore, KeystoreError> {
    let text = sealed().to_json();
    assert!(text.contains(from), "{from} in {text}");
    Keystore::parse(text.replace(from, to).as_bytes())
}

#[test]
fn weak_absurd_and_foreign_parameters_are_refused() {
    let iterations = |count: &str| changed("\"iterations\": 600000", &format!("\"iterations\": {count}"));
    assert!(matches!(iterations("599999"), Err(KeystoreError::TooWeak(_))));
    assert!(matches!(iterations("0"), Err(KeystoreError::TooWeak(_))));
    assert!(matches!(iterations("10000001"), Err(KeystoreError::Absurd(_))));
    assert!(matches!(iterations("18446744073709551615"), Err(KeystoreError::Absurd(_))));
    assert!(matches!(iterations("-1"), Err(KeystoreError::Malformed(_))));
    assert!(matches!(iterations("6e5"), Err(KeystoreError::Malformed(_))));
    let salt = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    assert!(matches!(changed(salt, "AQEB"), Err(KeystoreError::TooWeak(_))));
    assert!(matches!(changed(salt, &"AQEB".repeat(30)), Err(KeystoreError::Absurd(_))));
    assert!(matches!(changed(salt, "?"), Err(KeystoreError::Malformed(_))));
    assert!(matches!(changed("AES-256-GCM", "AES-128-GCM"), Err(KeystoreError::Unsupported(_))));
    assert!(matches!(changed("SHA-512", "SHA-1"), Err(KeystoreError::Unsupported(_))));
    assert!(matches!(changed("shardpay-keystore", "keystore"), Err(KeystoreError::Unsupported(_))));
    assert!(matches!(changed("\"version\": 1", "\"version\": 2"), Err(KeystoreError::Unsupported(_))));
    assert!(matches!(changed("m/44'/1'/0'", "m/44'/1'/1'"), Err(KeystoreError::Unsupported(_))));
    assert!(matches!(changed("\"format\"", "\"fromat\""), Err(KeystoreError::Malformed(_))));
    assert!(matches!(changed("shard1", "SHARD1"), Err(KeystoreError::Malformed(_))));
    assert!(matches!(Keystore::parse(&[b' '; FILE_BYTES_MAX + 1]), Err(KeystoreError::TooLong(_))));
}

#[test]
fn another_address_or_account_does_not_open() {
    let other = Mnemonic::from_entropy(&[8; 32]).address(0).to_string();
    let swapped = changed(&mnemonic().address(0).to_string(), &other).expect("well-formed");
    assert_eq!(swapped.open(PASSPHRASE), Err(KeystoreError::WrongPassphrase));
    let account = sealed().to_json().replace("\"account\": 0", "\"account\": 1").replace("1'/0'", "1'/1'");
    let account = Keystore::parse(account.as_bytes()).expect("well-formed");
    assert_eq!(account.open(PASSPHRASE), Err(KeystoreError::WrongPassphrase));
}

#[test]
fn mnemonics_say_what_is_wrong() {
    let phrase = mnemonic().phrase().to_string();
    let words: Vec<&str> = phrase.split(' ').collect();
    assert_eq!(Mnemonic::parse(&words[..23].join(" ")), Err(MnemonicError::WordCount(23)));
    assert_eq!(Mnemonic::parse(""), Err(MnemonicError::WordCount(0)));
    let mut misspelt = words.clone();
    misspelt[4] = "shardpay";
    assert_eq!(Mnemonic::parse(&misspelt.join(" ")), Err(MnemonicError::UnknownWord(5)));
    let mut swapped = words.clone();
    swapped.swap(0, 23);
    assert_eq!(Mnemonic::parse(&swapped.join(" ")), Err(MnemonicError::Checksum));
    assert_eq!(Mnemonic::parse(&words.join("\n\t ")), Ok(mnemonic()));
}

#[test]
fn amounts_are_read_exactly() {
    for (text, micros) in [("0", 0), ("12", 12_000_000), ("0.000001", 1), ("12.5", 12_500_000), ("007", 7_000_000)] {
        assert_eq!(parse_amount(text), Ok(Amount::from_micros(micros)), "{text}");
    }
    assert_eq!(parse_amount("18446744073709.551615"), Ok(Amount::from_micros(u64::MAX)));
    assert_eq!(parse_amount("18446744073709.551616"), Err(AmountError::TooLarge));
    assert_eq!(parse_amount("99999999999999999999999"), Err(AmountError::TooLarge));
    assert_eq!(parse_amount("1.0000001"), Err(AmountError::TooManyPlaces));
    for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "NaN", "1,5", " 1", "1.2.3", "１", "0x1", "1_000"] {
        assert_eq!(parse_amount(text), Err(AmountError::Malformed), "{text:?}");
    }
}

#[test]
fn links_say_what_is_wrong() {
    let address = mnemonic().address(0);
    let read = |rest: &str| format!("shardpay:{address}{rest}").parse::<PaymentLink>();
    let reference = parse_reference("order 7").expect("short");
    let full = PaymentLink { address, amount: Some(Amount::from_micros(12_500_000)), reference: Some(reference) };
    assert_eq!(full.to_string(), format!("shardpay:{address}?amount=12.500000&reference=order%207"));
    assert_eq!(read("?amount=12.5&reference=order%207"), Ok(full));
    assert_eq!(read(""), Ok(PaymentLink { address, amount: None, reference: None }));
    assert_eq!(format!("SHARDPAY:{}", address.to_string().to_uppercase()).parse(), read(""));
    assert_eq!(read("?amount=1&amount=2"), Err(LinkError::Twice("amount".to_owned())));
    assert_eq!(read("?amount=1&fee=2"), Err(LinkError::Unknown("fee".to_owned())));
    assert_eq!(read("?amount=-1"), Err(LinkError::Amount(AmountError::Malformed)));
    assert_eq!(read("?reference=%zz"), Err(LinkError::Encoding));
    assert_eq!(read("?reference=%ff"), Err(LinkError::Encoding));
    assert_eq!(read("?reference=%0a"), Err(LinkError::Reference(ReferenceError::Control)));
    assert_eq!(read(&"&".repeat(600)), Err(LinkError::TooLong));
    assert_eq!("bitcoin:x".parse::<PaymentLink>(), Err(LinkError::Scheme));
    assert_eq!("shardpay:x".parse::<PaymentLink>(), Err(LinkError::Address(AddressError::Length(1))));
}

/// Every address with one character replaced, by any printable character, or two neighbours swapped.
#[test]
fn every_typo_of_one_character_is_refused() {
    for key in [[0; 32], [0xff; 32], mnemonic().address(0).0.0] {
        let address = Address(PublicKey(key)).to_string();
        assert_eq!(address.len(), ADDRESS_CHARS);
        for place in 0..address.len() {
            for other in (0x21..0x7f).map(char::from).filter(|other| !address[place..].starts_with(*other)) {
                let typo = format!("{}{other}{}", &address[..place], &address[place + 1..]);
                assert!(typo.parse::<Address>().is_err(), "{typo}");
            }
            let mut swapped: Vec<char> = address.chars().collect();
            if place > 0 && swapped[place] != swapped[place - 1] {
                swapped.swap(place, place - 1);
                assert!(String::from_iter(&swapped).parse::<Address>().is_err(), "{swapped:?}");
            }
            let missing = format!("{}{}", &address[..place], &address[place + 1..]);
            assert_eq!(missing.parse::<Address>(), Err(AddressError::Length(63)));
        }
    }
}

proptest! {
    #[test]
    fn addresses_round_trip(key: [u8; 32]) {
        let address = Address(PublicKey(key));
        prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
        prop_assert_eq!(address.to_string().to_uppercase().parse::<Address>(), Ok(address));
    }

    #[test]
    fn a_typo_of_up_to_three_characters_is_refused(
        key: [u8; 32],
        typos in prop::collection::btree_map(6..64usize, prop::sample::select(b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".to_vec()), 1..=3),
    ) {
        let address = Address(PublicKey(key)).to_string();
        let mut typed = address.clone().into_bytes();
        for (place, other) in typos {
            typed[place] = other;
        }
        let typed = String::from_utf8(typed).expect("ASCII");
        prop_assert_eq!(typed.parse::<Address>().is_ok(), typed == address);
    }

    #[test]
    fn amounts_round_trip(micros: u64) {
        let amount = Amount::from_micros(micros);
        prop_assert_eq!(parse_amount(&amount.to_string()), Ok(amount));
    }

    #[test]
    fn references_round_trip(bytes: [u8; 16], length in 0..=16usize) {
        let mut reference = Reference(bytes);
        reference.0[length..].fill(0);
        prop_assert_eq!(parse_reference(&reference_text(&reference)), Ok(reference));
    }

    #[test]
    fn notes_round_trip(note in "[ -~é]{0,16}") {
        prop_assume!(note.len() <= 16);
        let reference = parse_reference(&note).expect("short");
        prop_assert_eq!(reference_text(&reference), note);
    }

    #[test]
    fn links_round_trip(key: [u8; 32], amount: Option<u64>, reference: Option<[u8; 16]>) {
        let address = Address(PublicKey(key));
        let link = PaymentLink { address, amount: amount.map(Amount::from_micros), reference: reference.map(Reference) };
        prop_assert_eq!(link.to_string().parse(), Ok(link));
    }

    #[test]
    fn foreign_text_is_refused_without_a_panic(text in "\\PC{0,80}", bytes: Vec<u8>) {
        prop_assert!(text.parse::<Address>().is_err());
        prop_assert!(Keystore::parse(&bytes).is_err());
        let _ = (text.parse::<PaymentLink>(), parse_amount(&text), parse_reference(&text), Mnemonic::parse(&text));
    }
}
