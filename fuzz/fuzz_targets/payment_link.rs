#![no_main]

use shardpay_keystore::{Address, Mnemonic, PaymentLink, parse_amount, parse_reference, reference_text};

// What people paste, scan and type: addresses, links, amounts, references, words.
libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(link) = text.parse::<PaymentLink>() {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(amount) = parse_amount(text) {
        assert_eq!(parse_amount(&amount.to_string()), Ok(amount));
    }
    if let Ok(reference) = parse_reference(text) {
        assert_eq!(parse_reference(&reference_text(&reference)), Ok(reference));
    }
    if let Ok(mnemonic) = Mnemonic::parse(text) {
        assert_eq!(Mnemonic::parse(&mnemonic.phrase()), Ok(mnemonic));
    }
});
