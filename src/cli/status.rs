//! `wskeeper status`: what the links are doing, as a table, once or each second.
//!
//! What a reader would get wrong: many links are shown as one row per endpoint, because nobody reads 10,000 rows; the API is
//! still asked for all of them, page by page, so that every number is a sum of what is.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    Failure, args,
    client::{Client, ClientError, escape},
    output::Output,
};
use crate::api::wire::{Link, List, Status, Store};

mod table;

/// More links than this become one row per endpoint.
const MANY: usize = 40;
/// Where the daemon tells its version and uptime.
const DAEMON: &str = "/livez";
/// Where it tells how its store is.
pub(super) const STORE: &str = "/v1/store";
/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Alternate screen, cursor hidden; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// Shows the pool.
pub(super) async fn run(args: args::Status, mut client: Client, output: &Output) -> Result<(), Failure> {
    if args.json {
        let links: Vec<Value> = fetch(&mut client, args.endpoint.as_deref()).await?;
        let endpoints: List<Value> = client.get("/v1/endpoints").await?;
        let daemon: Value = client.get(DAEMON).await?;
        let store: Value = client.get(STORE).await?;
        let endpoints = endpoints.items;
        return Ok(output.line(json!({ "daemon": daemon, "store": store, "endpoints": endpoints, "links": links }))?);
    }
    if !args.watch {
        return Ok(output.line(drawn(&args, &mut client, output).await?)?);
    }
    output.raw(ENTER)?;
    let ended = tokio::select! {
        ended = watch(&args, &mut client, output) => ended,
        () = super::stopped() => Ok(()),
    };
    output.raw(LEAVE)?;
    ended
}

async fn watch(args: &args::Status, client: &mut Client, output: &Output) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        tick.tick().await;
        let picture = match drawn(args, client, output).await {
            Ok(picture) => picture,
            Err(error) if error.is_transport() => format!("{error}\n\ntrying again each second, Ctrl-C ends"),
            Err(error) => return Err(error.into()),
        };
        // Each line clears its rest, and the end clears what was longer before: no flicker.
        let picture = picture.replace('\n', "\x1b[K\r\n");
        output.raw(format!("\x1b[H{picture}\x1b[K\x1b[J").as_bytes())?;
    }
}

async fn fetch<T: serde::de::DeserializeOwned>(
    client: &mut Client,
    endpoint: Option<&str>,
) -> Result<Vec<T>, ClientError> {
    let filter = endpoint.map(|name| format!("&endpoint={}", escape(name))).unwrap_or_default();
    client.pages(&format!("/v1/links?limit=1000{filter}")).await
}

async fn drawn(args: &args::Status, client: &mut Client, output: &Output) -> Result<String, ClientError> {
    let daemon: Status = client.get(DAEMON).await?;
    let links: Vec<Link> = fetch(client, args.endpoint.as_deref()).await?;
    let store: Store = client.get(STORE).await?;
    let mut summary = vec![table::summary(&daemon, &links, &client.address())];
    summary.extend(table::store(&store, output));
    let summary = summary.join("\n");
    if links.is_empty() {
        let hint = match &args.endpoint {
            Some(name) => format!("no endpoint is named {name:?}; `wskeeper status` lists all"),
            None => "the configuration has no endpoints".to_owned(),
        };
        return Ok(format!("{summary}\n{hint}"));
    }
    let rows = if links.len() > MANY && !args.links && args.endpoint.is_none() {
        table::endpoints(&links, output)
    } else {
        table::links(&links, SystemTime::now(), output)
    };
    Ok(format!("{summary}\n\n{rows}"))
}
