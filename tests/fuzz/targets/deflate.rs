//! Compressed messages, both ways, on the side of a client and of a server.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wskeeper_link::link::fuzzing::deflate(data));
