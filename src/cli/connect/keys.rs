//! Keys that the command line asks for, and how they stand.
//!
//! What a reader would get wrong: a key says nothing by itself. What asks a server for it is a message, which a preset or `--set` makes of it.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{NAME, status::Status};
use crate::{
    cli::{Failure, args, output::Paint, single},
    config::preset::{self, Preset},
};
use wskeeper_core::subscriptions::State;
use wskeeper_link::pool::{Pool, SubscriptionView};

/// Keys that are looked at.
const KEYS: usize = 10_000;
/// How often it is looked whether a key stands otherwise.
const LOOK: Duration = Duration::from_millis(200);

/// The endpoint asks for the keys of `--subscribe`, where something says how.
pub(super) fn want(endpoint: &mut Value, args: &args::Connect) -> Result<(), Failure> {
    let Some(first) = args.subscribe.first() else { return Ok(()) };
    let preset = args.preset.as_deref().and_then(Preset::find);
    // What is wrong with a preset that there is not is said where it is looked up.
    let is_unknown = args.preset.is_some() && preset.is_none();
    let is_said = endpoint.pointer("/subscriptions/add").is_some() || preset.is_some_and(Preset::subscribes);
    if !is_said && !is_unknown {
        let of_preset = preset.map(|preset| format!("preset {} has no subscriptions, and ", preset.name));
        let presets: Vec<&str> =
            preset::ALL.iter().filter(|preset| preset.subscribes()).map(|preset| preset.name).collect();
        return Err(Failure::Failed(format!(
            "{}nothing says how {first:?} is asked for: give its message, as in \
             --set 'subscriptions.add={{\"json\":{{\"op\":\"subscribe\",\"channel\":\"${{key}}\"}}}}', or a --preset that knows one: {}",
            of_preset.unwrap_or_default(),
            presets.join(", ")
        )));
    }
    single::set(endpoint, "subscriptions.keys", &json!(args.subscribe).to_string());
    Ok(())
}

/// Tells how each key stands, whenever that changes.
pub(super) async fn watch(pool: &Pool, status: &Status) -> Infallible {
    let mut stood = BTreeMap::new();
    loop {
        let (keys, _) = pool.subscriptions(NAME, 0, KEYS).unwrap_or_default();
        for SubscriptionView { key, state, why, .. } in keys {
            if stood.insert(key.clone(), state) == Some(state) {
                continue;
            }
            match state {
                State::Pending => {}
                State::Active => status.note(format!("subscribed to {key}"), Paint::Green),
                State::Refused => {
                    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                    status.fault(format!("{key} was refused{why}"), Paint::Red);
                }
            }
        }
        sleep(LOOK).await;
    }
}
