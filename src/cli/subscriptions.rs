//! `wskeeper subscribe`, `unsubscribe` and `subscriptions`: what links have asked their peers for.
//!
//! What a reader would get wrong: a key that is refused is no failure of `subscribe`. It is held, and asked for again on the next connection;
//! `subscriptions` says what became of it.

use bytes::Bytes;
use comfy_table::Cell;
use http::Method;
use serde_json::Value;

use super::{
    Failure,
    args::{HeldKeys, Subscribe, Subscriptions, Unsubscribe},
    client::{Call, Client, escape},
    grid::{bold, empty, trimmed},
    output::Output,
};
use crate::{
    api::wire::{Holder, Subscription},
    observe::visible,
};

/// Holds each key.
pub(super) async fn subscribe(args: Subscribe, mut client: Client, output: &Output) -> Result<(), Failure> {
    let Subscribe { held, lease, json } = args;
    let lease = lease.map(|lease| format!("&lease={}ms", lease.as_millis())).unwrap_or_default();
    for key in &held.keys {
        let body = say(&mut client, Method::PUT, &held, key, &lease).await?;
        if json {
            output.line(String::from_utf8_lossy(&body))?;
        } else {
            show(&client.read(&body)?, &held.endpoint, output)?;
        }
    }
    Ok(())
}

/// Says of one key that it is held, or released; answers with what the daemon says.
async fn say(client: &mut Client, method: Method, held: &HeldKeys, key: &str, more: &str) -> Result<Bytes, Failure> {
    let holder = escape(held.holder.as_deref().unwrap_or_default());
    let path = format!("{}?holder={holder}{more}", path(&held.endpoint, key));
    let text = |text: &String| ("text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()));
    let call = Call { path: &path, body: held.message.as_ref().map(text), ..Call::default() };
    Ok(client.call(method, call).await?.1)
}

/// One in a line, and what would help below it.
fn show(subscription: &Subscription, endpoint: &str, output: &Output) -> Result<(), Failure> {
    let Subscription { key, state, why, link, holders, advice } = subscription;
    let why = why.as_ref().map(|why| format!(": {}", visible(why))).unwrap_or_default();
    let shared = if holders.len() > 1 { format!(", held by {}", holders.len()) } else { String::new() };
    let on = link.map(|link| format!(" on {endpoint}/{link}")).unwrap_or_default();
    output.line(format_args!("{} {state}{on}{shared}{why}", visible(key)))?;
    if let Some(advice) = advice {
        output.line(format_args!("  {}", visible(advice)))?;
    }
    Ok(())
}

/// Releases each key.
pub(super) async fn unsubscribe(args: Unsubscribe, mut client: Client, output: &Output) -> Result<(), Failure> {
    let Unsubscribe { held } = args;
    for key in &held.keys {
        say(&mut client, Method::DELETE, &held, key, "").await?;
        output.line(format_args!("{} released", visible(key)))?;
    }
    Ok(())
}

/// Lists all keys, or shows one.
pub(super) async fn list(args: Subscriptions, mut client: Client, output: &Output) -> Result<(), Failure> {
    if let Some(key) = &args.key {
        let (_, body) = client.call(Method::GET, Call { path: &path(&args.endpoint, key), ..Call::default() }).await?;
        if args.json {
            return Ok(output.line(String::from_utf8_lossy(&body))?);
        }
        return show(&client.read(&body)?, &args.endpoint, output);
    }
    let path = format!("/v1/endpoints/{}/subscriptions?limit=1000", escape(&args.endpoint));
    if args.json {
        let keys: Vec<Value> = client.pages(&path).await?;
        return keys.iter().try_for_each(|key| Ok(output.line(key)?));
    }
    let keys: Vec<Subscription> = client.pages(&path).await?;
    if keys.is_empty() {
        return Ok(output.line("there are no subscriptions")?);
    }
    let mut table = empty(&["KEY", "STATE", "LINK", "HELD BY", "WHY"], output);
    for Subscription { key, state, why, link, holders, advice: _ } in &keys {
        let holders: Vec<String> = holders.iter().map(holder).collect();
        table.add_row(vec![
            bold(visible(key)),
            Cell::new(state),
            Cell::new(link.map_or_else(|| "-".to_owned(), |link| format!("{}/{link}", args.endpoint))),
            Cell::new(holders.join(", ")),
            Cell::new(why.as_deref().map(|why| visible(why).to_string()).unwrap_or_default()),
        ]);
    }
    Ok(output.line(trimmed(&table))?)
}

fn holder(holder: &Holder) -> String {
    let name = holder.name.as_ref().unwrap_or(&holder.kind);
    let lease = holder.lease_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    format!("{}{lease}", visible(name))
}

fn path(endpoint: &str, key: &str) -> String {
    format!("/v1/endpoints/{}/subscriptions/{}", escape(endpoint), escape(key))
}
