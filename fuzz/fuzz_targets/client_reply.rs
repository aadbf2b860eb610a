#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    shardpay_fuzz::check::<shardpay_types::ClientReply>(bytes);
});
