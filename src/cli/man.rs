//! `wskeeper man [FOLDER]`: the manual, made from the same description that parses the command line. Packages call it.

use std::path::Path;

use clap::CommandFactory;

use super::{Failure, args::Cli, output::Output};

/// Prints the page of the program, or writes one for it and one for each verb.
pub(super) fn run(folder: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return Ok(output.raw(&page)?);
    };
    std::fs::create_dir_all(folder)?;
    Ok(clap_mangen::generate_to(Cli::command(), folder)?)
}
