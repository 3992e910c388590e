//! The answer to an upgrade.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wskeeper_link::link::fuzzing::upgrade(data));
