//! `wskeeper rehearse ENDPOINT`: what a session does, step by step, against the real server or against a transcript.
//!
//! The link is that of the core, with the machine that every connection runs; here are only the two who stand in for the driver: one with
//! a socket and the clock, one with a file and none. What a reader would get wrong: it asks no daemon, and its connection is its own.

mod dial;
mod live;
mod names;
mod stage;
mod teller;
mod transcript;
mod words;

use self::{teller::Teller, transcript::Transcript};
use std::sync::Arc;

use super::{
    Failure, args, check,
    output::{Output, Paint},
    single,
};
use crate::{
    app,
    config::{self, Config, ConfiguredEndpoint, Loaded, suggestion},
};
use wskeeper_link::endpoint::Endpoint;

/// What a preset is rehearsed with where no server is asked.
const NOWHERE: &str = "ws://rehearsal.invalid/";

/// Rehearses it; an error says that it has not become ready.
pub(super) async fn run(args: args::Rehearse, output: &Output) -> Result<(), Failure> {
    let ConfiguredEndpoint { held: endpoint, keys, .. } = endpoint(&args)?;
    let Some(session) = endpoint.session.clone() else {
        return Err(Failure::Failed(format!("{} has no session: there is nothing to rehearse", endpoint.name)));
    };
    let keys_asked = asked(&endpoint, &args)?;
    let mut teller = Teller::new(output, &args, config::session::in_clear(&keys))?;
    let verdict = match &args.transcript {
        Some(path) => Transcript::read(path, output)?.play(&endpoint, &session, &keys_asked, &mut teller)?,
        None => live::run(&endpoint, &args, &keys_asked, &mut teller).await?,
    };
    teller.verdict(&verdict)?;
    if verdict.is_fine() { Ok(()) } else { Err(Failure::Told) }
}

fn endpoint(args: &args::Rehearse) -> Result<ConfiguredEndpoint, Failure> {
    let config = match (&args.preset, &args.endpoint) {
        (Some(preset), _) => of_preset(args, preset)?,
        (None, _) => {
            config::load(&args.config, &app::environment()).map_err(|faults| Failure::Failed(check::listed(&faults)))?
        }
    };
    let Loaded { config: Config { endpoints, .. }, .. } = config;
    let name = args.endpoint.as_deref().unwrap_or(PRESET);
    let names: Vec<&str> = endpoints.keys().map(|name| &**name).collect();
    endpoints.get(name).cloned().ok_or_else(|| {
        Failure::Failed(format!("{} has no endpoint {name:?}; {}", args.config.display(), suggestion(name, &names)))
    })
}

/// The keys that it asks for.
fn asked(endpoint: &Endpoint, args: &args::Rehearse) -> Result<Vec<Arc<str>>, Failure> {
    let Some(subscriptions) = &endpoint.subscriptions else {
        return match args.subscribe.first() {
            None => Ok(Vec::new()),
            Some(_) => Err(Failure::Usage(format!("{} has no subscriptions to ask for keys with", endpoint.name))),
        };
    };
    let more = args.subscribe.iter().map(|key| key.as_str().into());
    Ok(subscriptions.keys.iter().cloned().chain(more).collect())
}

/// The name of the endpoint that a preset is given.
const PRESET: &str = "preset";

fn of_preset(args: &args::Rehearse, preset: &str) -> Result<Loaded, Failure> {
    let url = match (&args.url, &args.transcript) {
        (Some(url), _) => url,
        (None, Some(_)) => NOWHERE,
        (None, None) => return Err(Failure::Usage("--preset needs --url, or --transcript".into())),
    };
    single::loaded(PRESET, &single::endpoint(url, Some(preset), &args.values))
}

fn note(output: &Output, text: &str) {
    output.note(text, Paint::Yellow);
}
