//! See `adit_fuzz_targets::forwarder`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_fuzz_targets::forwarder(data));
