//! Feeds libFuzzer's inputs to the target `dialects` of src/fuzzing.rs.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dyngate::fuzzing::run("dialects", octets));
