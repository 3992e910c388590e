//! `wskeeper completions SHELL`, and the words that a script of it asks for while somebody types.
//!
//! What a reader would get wrong: except nushell's, a script holds no verbs and no options. It runs `wskeeper` with `WSKEEPER_COMPLETE`
//! set, which answers from the description that parses the command line, and asks the daemon for the names of endpoints and links.
//! A daemon that does not answer at once has no names to offer; a completion never fails and never waits longer than [`PATIENCE`].

use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use clap_complete_nushell::Nushell;
use serde_json::Value;

use super::{
    Failure,
    args::{Cli, Remote, Shell},
    client::Client,
    output::Output,
};

/// Says which shell asks for words.
const ASKED: &str = "WSKEEPER_COMPLETE";
/// So long a daemon has for its names: somebody waits at a prompt.
const PATIENCE: Duration = Duration::from_millis(500);

/// Prints the script for a shell.
pub(super) fn run(shell: Shell, output: &Output) -> Result<(), Failure> {
    // Rendered first: a generator panics where its writer fails, and a closed pipe is no bug.
    let mut script = Vec::new();
    match Shells::builtins().completer(shell.as_str()) {
        Some(completer) => completer.write_registration(ASKED, "wskeeper", "wskeeper", "wskeeper", &mut script)?,
        None => clap_complete::generate(Nushell, &mut Cli::command(), "wskeeper", &mut script),
    }
    Ok(output.raw(&script)?)
}

/// If a shell asks for words, prints them and ends the process.
pub(super) fn answer() {
    CompleteEnv::with_factory(|| named(Cli::command())).var(ASKED).complete();
}

/// The command with names of the daemon wherever an endpoint or a link is meant.
fn named(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "endpoint" | "all" => arg.add(ArgValueCandidates::new(endpoints)),
        "link" if arg.is_positional() => arg.add(ArgValueCandidates::new(links)),
        _ => arg,
    });
    command.mut_subcommands(named)
}

fn endpoints() -> Vec<CompletionCandidate> {
    let name = |endpoint: &Value| {
        let url = endpoint.pointer("/config/urls/0").and_then(Value::as_str).map(|url| url.to_owned().into());
        Some(CompletionCandidate::new(endpoint["name"].as_str()?).help(url))
    };
    listed("/v1/endpoints?limit=1000").iter().filter_map(name).collect()
}

fn links() -> Vec<CompletionCandidate> {
    let name = |link: &Value| {
        let phase = link["phase"].as_str().map(|phase| phase.to_owned().into());
        Some(CompletionCandidate::new(format!("{}/{}", link["endpoint"].as_str()?, link["index"])).help(phase))
    };
    listed("/v1/links?limit=1000").iter().filter_map(name).collect()
}

/// The first page of a list of the daemon that `WSKEEPER_API` names or that answers; nothing if it does not.
fn listed(path: &str) -> Vec<Value> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let page = runtime.block_on(async {
        let mut client = Client::new(&Remote::unsaid()).ok()?;
        tokio::time::timeout(PATIENCE, client.get::<Value>(path)).await.ok()?.ok()
    });
    page.and_then(|mut page| Some(page["items"].as_array_mut()?.drain(..).collect())).unwrap_or_default()
}
