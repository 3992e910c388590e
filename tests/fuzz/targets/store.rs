//! The files of a store.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wskeeper_link::store::fuzzing::store(data));
