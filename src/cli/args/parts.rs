//! What all verbs have: a word, and where they find the daemon.
//!
//! What a reader would get wrong: a verb that asks no daemon has no `--api`, so that none is offered that does nothing.

use super::{Cli, Remote, Verb};

impl Cli {
    /// Where the daemon is: as said behind the verb, else before it, else by the environment. `None`: the verb asks none.
    pub(crate) fn remote(&self) -> Option<Remote> {
        let (_, own) = self.verb.parts();
        let unsaid = Remote::unsaid();
        own.map(|own| Remote {
            api: own.api.clone().or_else(|| self.api.clone()).or(unsaid.api),
            token_file: own.token_file.clone().or_else(|| self.token_file.clone()).or(unsaid.token_file),
        })
    }
}

impl Remote {
    /// Where the environment says that the daemon is.
    pub(crate) fn unsaid() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { api: variable("WSKEEPER_API"), token_file: variable("WSKEEPER_TOKEN_FILE").map(Into::into) }
    }
}

impl Verb {
    /// Its word, and where it finds the daemon, if it asks one.
    pub(crate) fn parts(&self) -> (&'static str, Option<&Remote>) {
        match self {
            Self::Run(_) => ("run", None),
            Self::Demo(_) => ("demo", None),
            Self::Connect(_) => ("connect", None),
            Self::Check(_) => ("check", None),
            Self::Presets(_) => ("presets", None),
            Self::Rehearse(_) => ("rehearse", None),
            Self::Status(args) => ("status", Some(&args.remote)),
            Self::Explain(args) => ("explain", Some(&args.remote)),
            Self::Send(args) => ("send", Some(&args.remote)),
            Self::Request(args) => ("request", Some(&args.remote)),
            Self::Tail(args) => ("tail", Some(&args.remote)),
            Self::Subscribe(args) => ("subscribe", Some(&args.held.remote)),
            Self::Unsubscribe(args) => ("unsubscribe", Some(&args.held.remote)),
            Self::Subscriptions(args) => ("subscriptions", Some(&args.remote)),
            Self::Close(args) => ("close", Some(&args.remote)),
            Self::Reconnect(args) => ("reconnect", Some(&args.remote)),
            Self::Rotate(args) => ("rotate", Some(&args.remote)),
            Self::Pause(args) => ("pause", Some(&args.remote)),
            Self::Resume(args) => ("resume", Some(&args.remote)),
            Self::Chaos(args) => ("chaos", Some(&args.remote)),
            Self::Plan(args) => ("plan", Some(&args.remote)),
            Self::Reload(args) => ("reload", Some(&args.remote)),
            Self::Endpoints(args) => ("endpoints", Some(&args.remote)),
            Self::Dead(args) => ("dead", Some(&args.remote)),
            Self::Orphans(args) => ("orphans", Some(&args.remote)),
            Self::Echo(_) => ("echo", None),
            Self::Completions(_) => ("completions", None),
            Self::Man(_) => ("man", None),
        }
    }
}
