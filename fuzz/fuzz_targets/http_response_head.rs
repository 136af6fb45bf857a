//! See `adit_fuzz_targets::http_response_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_fuzz_targets::http_response_head(data));
