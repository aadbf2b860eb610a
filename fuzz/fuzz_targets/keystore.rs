#![no_main]

use shardpay_keystore::Keystore;

// Keystore files come from disks, browsers and the service. What is read is written the same way again.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(keystore) = Keystore::parse(bytes) {
        assert!(Keystore::parse(keystore.to_json().as_bytes()).is_ok_and(|again| again == keystore));
    }
});
