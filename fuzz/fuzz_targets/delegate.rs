#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loadline_fuzz::delegate(data));
