//! A client of the local API that sends anything.

#![no_main]

#[path = "../api.rs"]
mod api;

libfuzzer_sys::fuzz_target!(|data: &[u8]| api::api(data));
