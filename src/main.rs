//! The `wskeeper` program: parse, run, exit code; no logic.

fn main() {}
