//! The verbs of the command line.
//!
//! What a reader would get wrong: only `run` and `demo` hold a daemon. Every other verb is a client of the local API, like
//! any program, and knows nothing of the pool.

use std::{io, process::ExitCode};

use clap::Parser;

use args::{Cli, Remote, Verb};
use client::{Client, ClientError};
use output::{Output, Paint};

use crate::process::{
    logging,
    passed::{self, Passed},
};

mod args;
mod check;
mod client;
mod completions;
mod connect;
mod dead;
pub mod demo;
pub mod echo;
mod endpoints;
mod explain;
mod facts;
mod grid;
mod man;
mod operate;
mod orphans;
mod output;
mod plan;
mod presets;
mod rehearse;
mod request;
mod run;
mod send;
mod single;
mod sse;
mod status;
mod subscriptions;
mod tail;
mod trouble;
mod words;

/// Why a verb did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Exit code 1; everything has been said.
    #[error("failed")]
    Told,
    /// Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The daemon was given a configuration that does not validate. Exit code 2, which says to a service manager that
    /// trying again mends nothing: the unit's `RestartPreventExitStatus=`.
    #[error("{0}")]
    Configuration(String),
    /// The daemon was not reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Printing or reading failed; a closed pipe is a quiet end.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Configuration(_) => 2,
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Told | Self::Client(_) | Self::Io(_) => 1,
        }
    }
}

/// Parses the command line, does what it says, and answers with the exit code: 0 fine, 1 failed, 2 usage.
pub fn main() -> ExitCode {
    completions::answer();
    let cli = Cli::parse();
    let output = Output::detect();
    let (verb, _) = cli.verb.parts();
    // Before there are threads.
    let is_daemon = matches!(cli.verb, Verb::Run(_));
    let socket = if is_daemon { passed::take() } else { Ok(None) };
    let runtime = match runtime(&cli.verb) {
        Ok(runtime) => runtime,
        Err(error) => {
            output.note(format_args!("wskeeper: cannot start a runtime: {error}"), Paint::Red);
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(dispatch(cli, socket, &output));
    // A read of stdin that nobody waits for must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            if code != 0 && !matches!(failure, Failure::Told) {
                let note = move || output.note(format_args!("wskeeper {verb}: {failure}"), Paint::Red);
                // The daemon ends even if nobody reads why.
                if is_daemon { logging::last_words(note) } else { note() }
            }
            ExitCode::from(code)
        }
    }
}

/// The daemon uses every core; a client needs one thread.
fn runtime(verb: &Verb) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match verb {
        Verb::Run(_) | Verb::Demo(_) | Verb::Connect(_) => tokio::runtime::Builder::new_multi_thread(),
        Verb::Check(_)
        | Verb::Presets(_)
        | Verb::Rehearse(_)
        | Verb::Status(_)
        | Verb::Explain(_)
        | Verb::Send(_)
        | Verb::Request(_)
        | Verb::Tail(_)
        | Verb::Subscribe(_)
        | Verb::Unsubscribe(_)
        | Verb::Subscriptions(_)
        | Verb::Close(_)
        | Verb::Reconnect(_)
        | Verb::Rotate(_)
        | Verb::Pause(_)
        | Verb::Resume(_)
        | Verb::Chaos(_)
        | Verb::Plan(_)
        | Verb::Reload(_)
        | Verb::Endpoints(_)
        | Verb::Dead(_)
        | Verb::Orphans(_)
        | Verb::Echo(_)
        | Verb::Completions(_)
        | Verb::Man(_) => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

async fn dispatch(cli: Cli, socket: Result<Option<Passed>, passed::Error>, output: &Output) -> Result<(), Failure> {
    let Some(remote) = cli.remote() else {
        if cli.api.is_some() || cli.token_file.is_some() {
            let (verb, _) = cli.verb.parts();
            return Err(Failure::Usage(format!(
                "--api and --token-file say which daemon to ask, and `{verb}` asks none"
            )));
        }
        return perform(cli.verb, &Remote::default(), socket, output).await;
    };
    let subject = trouble::Subject::of(&cli.verb);
    match perform(cli.verb, &remote, socket, output).await {
        Err(Failure::Client(ClientError::Problem(problem))) => {
            Err(trouble::explained(problem, &subject, &remote).await)
        }
        ended => ended,
    }
}

async fn perform(
    verb: Verb,
    remote: &Remote,
    socket: Result<Option<Passed>, passed::Error>,
    output: &Output,
) -> Result<(), Failure> {
    let client = || Client::new(remote);
    match verb {
        Verb::Run(args) => {
            let socket = socket.map_err(|error| Failure::Failed(error.to_string()))?;
            run::run(args, socket).await
        }
        Verb::Demo(args) => demo::run(args, output).await,
        Verb::Connect(args) => connect::run(args, output).await,
        Verb::Check(args) => check::run(&args, output),
        Verb::Presets(args) => presets::run(&args, output),
        Verb::Rehearse(args) => rehearse::run(args, output).await,
        Verb::Status(args) => status::run(args, client()?, output).await,
        Verb::Explain(args) => explain::run(&args.link, client()?, output).await,
        Verb::Send(args) => send::run(args, client()?, output).await,
        Verb::Request(args) => request::run(args, client()?, output).await,
        Verb::Tail(args) => tail::run(args, client()?, output).await,
        Verb::Subscribe(args) => subscriptions::subscribe(args, client()?, output).await,
        Verb::Unsubscribe(args) => subscriptions::unsubscribe(args, client()?, output).await,
        Verb::Subscriptions(args) => subscriptions::list(args, client()?, output).await,
        Verb::Close(args) => operate::close(&args, client()?, output).await,
        Verb::Rotate(args) => operate::verb("rotate", &args.link, client()?, output).await,
        Verb::Reconnect(args) => operate::verb("reconnect", &args.link, client()?, output).await,
        Verb::Pause(args) => operate::verb("pause", &args.link, client()?, output).await,
        Verb::Resume(args) => operate::verb("resume", &args.link, client()?, output).await,
        Verb::Chaos(args) => operate::chaos(&args, client()?, output).await,
        Verb::Plan(args) => plan::plan(&args, client()?, output).await,
        Verb::Reload(args) => plan::reload(&args, client()?, output).await,
        Verb::Endpoints(args) => endpoints::run(args.verb, client()?, output).await,
        Verb::Dead(args) => dead::run(args.verb, client()?, output).await,
        Verb::Orphans(args) => orphans::run(args.verb, client()?, output).await,
        Verb::Echo(args) => echo::verb::run(args, output).await,
        Verb::Completions(args) => completions::run(args.shell, output),
        Verb::Man(args) => man::run(args.folder.as_deref(), output),
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
