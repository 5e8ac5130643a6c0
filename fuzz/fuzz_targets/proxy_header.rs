//! Feeds libFuzzer's inputs to the target `proxy_header` of src/fuzzing.rs.

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dyngate::fuzzing::run("proxy_header", octets));
