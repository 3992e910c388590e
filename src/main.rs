//! The `wskeeper` program: parse, run, exit code; no logic.

use std::process::ExitCode;

fn main() -> ExitCode {
    wskeeper::cli::main()
}
