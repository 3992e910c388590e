//! A session, and a server that says anything.

#![no_main]

#[path = "../sessions.rs"]
mod sessions;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sessions::session(data));
