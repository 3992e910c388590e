//! `wskeeper completions SHELL`: made from the same description that parses the command line, so it cannot fall behind.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failure, args::Cli, output::Output};

/// Prints the script for a shell.
pub(super) fn run(shell: Shell, output: &Output) -> Result<(), Failure> {
    // Rendered first: the generator panics where its writer fails, and a closed pipe is no bug.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wskeeper", &mut script);
    Ok(output.raw(&script)?)
}
