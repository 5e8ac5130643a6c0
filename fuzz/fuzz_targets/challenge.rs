//! Feeds libFuzzer's inputs to the target `challenge` of src/fuzzing.rs.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dyngate::fuzzing::run("challenge", octets));
