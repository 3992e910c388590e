//! A configuration in one of its languages.

#![no_main]

#[path = "../configuration.rs"]
mod configuration;

libfuzzer_sys::fuzz_target!(|data: &[u8]| configuration::config(data));
