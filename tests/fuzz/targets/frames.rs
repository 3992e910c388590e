//! What a server sends, beside tungstenite alone.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wskeeper_link::link::fuzzing::frames(data));
