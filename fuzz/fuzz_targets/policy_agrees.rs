//! See `adit_fuzz_targets::policy_agrees`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_fuzz_targets::policy_agrees(data));
