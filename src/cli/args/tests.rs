//! The description of the command line, looked at as a whole.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

fn commands(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands() {
        commands(sub, &format!("{name} {}", sub.get_name()), found);
    }
    found.push((name.to_owned(), command.clone()));
}

/// A paragraph is one line, which is wrapped where it is shown; only what is indented, as an example, keeps its lines.
#[test]
fn footers_are_wrapped_once() {
    let mut all = Vec::new();
    commands(&Cli::command(), "wskeeper", &mut all);
    assert!(all.len() > 25);
    for (name, command) in all {
        let Some(footer) = command.get_after_help().map(ToString::to_string) else { continue };
        let lines: Vec<&str> = footer.lines().collect();
        for pair in lines.windows(2) {
            let both = pair.iter().all(|line| !line.is_empty() && !line.starts_with(' '));
            assert!(!both, "{name}: a paragraph is broken by hand: {pair:?}");
        }
        for line in lines.iter().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 80, "{name}: {line:?}");
        }
    }
}
