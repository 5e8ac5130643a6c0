//! Feeds libFuzzer's inputs to the target `key_file` of src/fuzzing.rs.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dyngate::fuzzing::run("key_file", octets));
